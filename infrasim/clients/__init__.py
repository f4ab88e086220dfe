"""Clients of what a node runs: QMP, the control socket, ipmi_sim's channels."""
