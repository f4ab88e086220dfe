"""The one pure step from what a node file says to everything a node will be."""
