"""The ``infrasim`` command: finds the sub-command, turns errors into messages and exit codes.

Sub-commands are loaded when they are called, because every command pays for what is imported.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from infrasim.errors import NO_PERMISSION_HINT, ExitCode, HostError, InfrasimError, InvalidNodeFile

# name -> (where it lives, what it does). The one list of commands.
COMMANDS = {
    "node": ("infrasim.cli.node:node", "Start, stop and look at nodes."),
    "config": ("infrasim.cli.config:config", "Register, check and edit node files."),
    "type": ("infrasim.cli.type:type_group", "List, check and import server types."),
    "init": ("infrasim.cli.init:init", "Install what infrasim drives and write the default node file."),
    "doctor": ("infrasim.cli.doctor:doctor", "Check this machine and say what to mend."),
    "version": ("infrasim.cli.version:version", "Show the versions of infrasim and what it drives."),
}


# What a disk may say to any write, also to one that goes through a redirection.
_DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class _ReaderGone(Exception):
    """Nobody reads our output any more. click would make exit code 1 of the BrokenPipeError itself."""


class LazyGroup(click.Group):
    """A group whose commands are imported on first use."""

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        """As click does; a help text is printed here."""
        try:
            return super().make_context(*arguments, **extra)
        except BrokenPipeError as exc:
            raise _ReaderGone from exc

    def invoke(self, ctx: click.Context) -> Any:
        """As click does."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as exc:
            raise _ReaderGone from exc

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help's list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a guess at what a mistyped command meant."""
        if args[0] not in COMMANDS:
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, n=1)
            guess = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"No such command {args[0]!r}.{guess}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show every program that is run, and tracebacks.")
@click.pass_context
def infrasim(ctx: click.Context, debug: bool) -> None:
    """Simulated bare-metal servers on stock QEMU and OpenIPMI."""
    ctx.obj = {"debug": debug}
    if debug:
        os.environ["INFRASIM_DEBUG"] = "1"
        import logging

        logging.basicConfig(stream=sys.stderr, level=logging.DEBUG, format="%(name)s: %(message)s")


def report(error: InfrasimError, *, as_json: bool) -> None:
    """Print an error on stderr, for people or for programs."""
    if as_json:
        click.echo(json.dumps(error.as_json()), err=True)
        return
    prefix = "" if isinstance(error, InvalidNodeFile) else "infrasim: "
    click.echo(f"{prefix}{error.message}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave the process with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(words))


def run(words: list[str], work: Callable[[], Any] | None = None) -> int:
    """Run the command, or the ``work`` that was found to be its, and return its exit code."""
    try:
        if work is not None:
            work()
            return int(ExitCode.DONE)
        result: Any = infrasim.main(args=words, prog_name="infrasim", standalone_mode=False)
        return result if isinstance(result, int) else int(ExitCode.DONE)
    except InfrasimError as error:
        report(error, as_json="--json" in words)
        if os.environ.get("INFRASIM_DEBUG"):
            import traceback

            traceback.print_exc()
        return int(error.exit_code)
    except click.ClickException as error:
        if "--json" in words:
            usage = {"error": error.format_message(), "hint": "", "exit_code": int(ExitCode.USAGE)}
            click.echo(json.dumps(usage), err=True)
        else:
            error.show()
        return int(ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt):
        click.echo("infrasim: interrupted", err=True)
        return 130
    except PermissionError as error:
        place = error.filename or "this machine"
        report(HostError(f"{place}: {error.strerror}", hint=NO_PERMISSION_HINT), as_json="--json" in words)
        return int(ExitCode.HOST)
    except _ReaderGone:
        # The reader of our output went away, as `| head` does: no fault, nothing left to say.
        _give_output_up()
        return int(ExitCode.DONE)
    except OSError as error:
        if error.errno not in _DISK_FAULTS:
            return _bug()
        report(HostError(f"{error.filename or 'output'}: {error.strerror}"), as_json="--json" in words)
        if error.filename is None:
            _give_output_up()
        return int(ExitCode.HOST)
    except Exception:
        return _bug()


def _bug() -> int:
    import traceback

    traceback.print_exc()
    click.echo("infrasim: this is a bug; please report it with the traceback above", err=True)
    return int(ExitCode.BUG)


def _give_output_up() -> None:
    """What is still to be written out goes nowhere, or Python would fail once more on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
