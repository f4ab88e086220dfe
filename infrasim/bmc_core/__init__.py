"""The BMC core: where every IPMI message of a node meets, whichever door it came through."""
