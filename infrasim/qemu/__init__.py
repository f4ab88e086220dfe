"""QEMU's command line from typed elements. Pure."""
