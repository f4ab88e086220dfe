"""infrasim: simulated bare-metal servers on stock QEMU and OpenIPMI."""

__version__ = "0.1.0"
