"""ipmi_sim's configuration, its control scripts and the serial line to it. Pure."""
