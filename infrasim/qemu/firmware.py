"""What the firmware of a host needs beside the board: UEFI's flash, a TPM, a port for debug output."""

from __future__ import annotations

from pathlib import Path

from infrasim.qemu.element import option

# Names of the blocks that the board finds its flash by.
CODE_NODE = "firmware-code"
VARIABLES_NODE = "firmware-variables"
# SeaBIOS and builds of OVMF for debugging write here. Source: SeaBIOS docs/Debugging, OVMF README.
_DEBUG_PORT = 0x402


def flash(code: Path, variables: Path, *, is_secure: bool) -> tuple[str, ...]:
    """The firmware's code and its variables; ``is_secure``: only the firmware itself may change these.

    Source: OVMF README, "SMM support".
    """
    blocks = ((CODE_NODE, code, True), (VARIABLES_NODE, variables, False))
    words = tuple(
        word
        for node, path, read_only in blocks
        for word in option(
            "-blockdev",
            driver="raw",
            node_name=node,
            read_only=read_only,
            file__driver="file",
            file__filename=path,
        )
    )
    guarded = option("-global", driver="cfi.pflash01", property="secure", value=True) if is_secure else ()
    return (*words, *guarded)


def trusted_platform_module(control: Path) -> tuple[str, ...]:
    """A TPM 2.0 whose emulator listens at ``control``."""
    return (
        *option("-chardev", "socket", id="tpm0", path=control),
        *option("-tpmdev", "emulator", id="tpm0", chardev="tpm0"),
        *option("-device", "tpm-crb", tpmdev="tpm0"),
    )


def debug_output(log: Path) -> tuple[str, ...]:
    """A port whose bytes go to ``log``, begun anew at each power-on."""
    return (
        *option("-chardev", "file", id="firmware-trace", path=log),
        *option("-device", "isa-debugcon", iobase=_DEBUG_PORT, chardev="firmware-trace"),
    )
