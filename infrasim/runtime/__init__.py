"""Nodes that run: workspace, state, supervisor, the BMC's sockets and the verbs on nodes."""
