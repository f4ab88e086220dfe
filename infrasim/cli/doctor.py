"""``infrasim doctor``: look at this machine and say what to mend."""

from __future__ import annotations

import json

import click

from infrasim.paths import Home


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check programs, KVM, folders and ports. Exit code 4 when a node could not start here."""
    from infrasim.errors import ExitCode
    from infrasim.runtime.doctor import examine

    findings = examine(Home.from_environment())
    if as_json:
        click.echo(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(f"{finding.verdict.value:7} {finding.what}: {finding.found}")
            if finding.hint:
                click.echo(f"        {finding.hint}")
    if any(finding.is_fatal for finding in findings):
        ctx.exit(int(ExitCode.HOST))
