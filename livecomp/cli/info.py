"""Commands that look and change nothing: models, doctor."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from livecomp.cli.common import app, stdout

__all__: list[str] = []


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the networks: what they are for, whether they are installed, licence, size and hash."""
    from livecomp.models import list_models

    entries = list_models()
    if as_json:
        typer.echo(
            json.dumps([{"name": entry.name, "path": str(entry.path), **asdict(entry.spec)} for entry in entries])
        )
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "for", "installed", "licence", "MB", "SHA-256"):
        table.add_column(heading, justify="right" if heading == "MB" else "left", overflow="fold")
    for entry in entries:
        spec = entry.spec
        installed = "yes" if entry.path else f"no: {spec.install}"
        table.add_row(entry.name, spec.purpose, installed, spec.licence, f"{spec.size / 1e6:.1f}", spec.sha256[:16])
    stdout.print(table)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    measure: Annotated[bool, typer.Option("--measure/--no-measure", help="Find the fastest backend for each.")] = True,
) -> None:
    """Say what works on this machine, which backends are used for what and why not the others, and what to do next."""
    from livecomp.doctor import examine

    report = examine(measure=measure)
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=2))
        return
    for name, fact in report.system.items():
        stdout.print(f"{name}: {fact}", markup=False, highlight=False, soft_wrap=True)
    table = Table("backend", "here", "why not", box=None, pad_edge=False, title="Backends", title_justify="left")
    for backend in report.engines:
        table.add_row(backend.name, backend.found, escape(backend.reason))
    stdout.print(table)
    table = Table("network", "state", "engines, best first", box=None, pad_edge=False, title="Networks")
    table.title_justify = "left"
    for network in report.networks:
        table.add_row(network.name, escape(network.state), "\n".join(network.engines))
    stdout.print(table)
    missing = {backend.name for backend in report.engines if backend.reason}
    for network in report.networks:
        for backend_name, reason in network.skipped.items():
            if backend_name in missing:
                continue
            stdout.print(f"{network.name}: not {backend_name}: {reason}", markup=False, highlight=False, soft_wrap=True)
    for sentence in report.advice:
        stdout.print(sentence, style="yellow", markup=False, soft_wrap=True)
