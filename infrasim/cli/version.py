"""``infrasim version``: what runs here. A missing program is said to be missing, not an error."""

from __future__ import annotations

import json

import click

# Every program infrasim drives, how it says its version, and where in its words that stands.
_PROGRAMS = {
    "QEMU": (["qemu-system-x86_64", "--version"], r"version (\S+)"),
    "ipmi_sim": (["ipmi_sim", "-v"], r"version (\S+)"),
    "socat": (["socat", "-V"], r"socat version (\S+)"),
    "ipmitool": (["ipmitool", "-V"], r"version (\S+)"),
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def version(as_json: bool) -> None:
    """Show the versions of infrasim and what it drives."""
    import platform

    from infrasim import __version__

    found = {"infrasim": __version__, "Python": platform.python_version(), "kernel": platform.release()}
    for name, (argv, pattern) in _PROGRAMS.items():
        found[name] = program_version(argv, pattern)
    # ipmi_sim counts for itself; bug reports and documents mean the package it comes in.
    found["OpenIPMI"] = program_version(["dpkg-query", "-W", "openipmi"], r"openipmi\S*\s+(\S+)")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, text in found.items():
        click.echo(f"{name:9} {text}")


def program_version(argv: list[str], pattern: str) -> str:
    """A program's version in its own words, or what is wrong with it."""
    import re

    from infrasim.errors import InfrasimError
    from infrasim.host.process import find_program, run

    program = find_program(argv[0])
    if program is None:
        return "not installed"
    try:
        done = run([program, *argv[1:]], timeout_s=10, check=False)
    except InfrasimError as exc:
        return f"does not run: {exc.message}"
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1).rstrip(",") if found else f"says no version (exit code {done.exit_code})"
