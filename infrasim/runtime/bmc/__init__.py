"""The BMC core among real things: its sockets, ipmi_sim behind it, the host's wires, its state on disk."""
