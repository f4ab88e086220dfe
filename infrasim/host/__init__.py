"""The only door to processes, files, /proc and network facts."""
