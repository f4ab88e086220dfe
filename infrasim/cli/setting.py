"""The option ``--set`` of the commands that read a node file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from infrasim.spec.document import Setting

set_option = click.option(
    "--set",
    "given",
    metavar="KEY=VALUE",
    multiple=True,
    help="Let KEY, such as compute.memory.size, have this value, whatever the node file says. Repeatable.",
)


def settings_of(given: tuple[str, ...]) -> tuple[Setting, ...]:
    """What the option was given.

    Raises:
        UsageError: a text is not KEY=VALUE.
        InvalidNodeFile: a value is not YAML.
    """
    if not given:
        return ()
    from infrasim.spec.setting import parse_settings

    return parse_settings(given)
