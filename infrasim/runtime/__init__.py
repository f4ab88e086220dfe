"""Nodes that run: workspace, state, supervisor, BMC front and the verbs on nodes."""
