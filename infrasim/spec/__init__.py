"""The node file: how it is read, what its keys mean, and what is wrong with it."""
