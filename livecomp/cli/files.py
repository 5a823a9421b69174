"""Commands for files: process, demo, harmonize."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from livecomp.cli.common import (
    Background,
    ColorStrength,
    ComputeOption,
    Defocus,
    Down,
    Fit,
    Model,
    OnMiss,
    Right,
    ShadingStrength,
    Size,
    Strength,
    Yes,
    app,
    ends_tidily,
    say,
    show_progress,
    stdout,
)
from livecomp.errors import ConfigError, LiveCompError, OutputError
from livecomp.paths import is_dir
from livecomp.stats import peak_mib

__all__: list[str] = []

_TABLE = Path("-")  # as a file of timings: printed instead


@app.command()
@ends_tidily()
def process(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="A video, a picture, a folder of pictures, or 'demo'.")
    ],
    background: Background,
    output: Annotated[Path, typer.Option("--output", "-o", help="A video, a picture or a folder, like the input.")],
    model: Model = None,
    segmenter: Annotated[
        str | None, typer.Option(help="Matte: both, general, landscape, rvm, mediapipe or chroma.")
    ] = None,
    strength: Strength = None,
    color_strength: ColorStrength = None,
    shading_strength: ShadingStrength = None,
    smoother: Annotated[
        str | None, typer.Option(help="Filter over time: steady, one_euro, exponential or none.")
    ] = None,
    look_ahead: Annotated[
        float | None, typer.Option(min=0, max=10, help="Seconds that the filter steady looks ahead; 0 as in a call.")
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(min=0, max=0.9, help="How much the past counts where camera noise becomes stronger; 0 for none."),
    ] = None,
    fit: Annotated[Fit | None, typer.Option(help="How a background of another shape fills the picture.")] = None,
    defocus: Defocus = None,
    size: Size = None,
    right: Right = None,
    down: Down = None,
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
    compute: ComputeOption = None,
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
        Path | None,
        typer.Option(help="Write the time of each stage, and the most memory, as JSON; '-' prints a table."),
    ] = None,
    yes: Yes = False,
) -> None:
    """Put the person of a video, a picture or a folder of pictures into another scene.

    The room behind the person is never written: a frame without a valid matte
    of its own stops the run, or becomes a slate with --on-miss slate.
    """
    from livecomp import api
    from livecomp.config import Config

    if timings is not None and timings.parent not in (output, *output.parents) and not is_dir(timings.parent):
        # told now, not after the work, which may make the output's folder
        raise OutputError(f"cannot write {timings}: there is no folder {timings.parent}")
    if timings is not None and timings != _TABLE:
        if is_dir(timings):
            raise OutputError(f"cannot write {timings}: it is a folder")
        others = [output] if before_after is None else [output, before_after]
        api.check_targets([Path(source), Path(background)], [*others, timings], overwrite=yes)
    config = Config.from_options(
        {
            "segment": {
                "model": segmenter,
                "refine": refine,
                "backend": backend,
                "model_file": matte_file,
                "key_color": key_color,
            },
            "background": {"fit": fit, "defocus": defocus},
            "person": {"size": size, "right": right, "down": down},
            "harmonize": {"model": model, "backend": backend},
            "smooth": {"filter": smoother, "look_ahead_s": look_ahead, "noise": noise},
            "composite": {
                "color_strength": strength if color_strength is None else color_strength,
                "shading_strength": strength if shading_strength is None else shading_strength,
                "light_wrap": light_wrap,
                "decontaminate": decontaminate,
                "linear_light": linear_light,
            },
            "output": {"audio": audio, "quality": quality},
            "on_miss": on_miss,
            "compute": compute,
        }
    )
    with show_progress(str(output)) as progress:
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
@ends_tidily()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("livecomp-demo"),
    background: Annotated[
        str, typer.Option("--background", "-b", help="Another scene than the built-in one.")
    ] = "demo",
    model: Model = None,
    yes: Yes = False,
) -> None:
    """Harmonize the built-in portrait into the built-in scene: demo.mp4 and before-after.png."""
    from livecomp import api
    from livecomp.capture.demo import DemoSource
    from livecomp.config import Config

    config = Config.from_options({"harmonize": {"model": model}})
    api.make_folder(output)
    with show_progress("demo") as progress:
        report = api.process(
            DemoSource,  # itself, since a file or a folder of that name would go first
            background,
            output / "demo.mp4",
            config=config,
            before_after=output / "before-after.png",
            overwrite=yes,
            progress=progress,
        )
    _summarise(report, output / "demo.mp4", _TABLE)
    stdout.print(f"{output / 'before-after.png'}: the plain composite beside the harmonized one", soft_wrap=True)


@app.command()
@ends_tidily()
def harmonize(
    composite: Annotated[Path | None, typer.Argument(help="The composite picture.", show_default=False)] = None,
    mask: Annotated[
        Path | None, typer.Argument(help="Its mask, white where the person is.", show_default=False)
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The result.", show_default=False)] = None,
    composites: Annotated[Path | None, typer.Option(help="Folder of composites.", show_default=False)] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder of masks with the same stems.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results.", show_default=False)] = None,
    model: Model = None,
    strength: Strength = None,
    color_strength: ColorStrength = None,
    shading_strength: ShadingStrength = None,
    yes: Yes = False,
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
        stdout.print(f"{output}", soft_wrap=True, highlight=False)
    elif composites and masks and out and not (composite or mask or output):
        with show_progress(str(out)) as progress:
            failed = api.harmonize_folder(
                composites, masks, out, model=chosen, overwrite=yes, progress=progress, **strengths
            )
        report_failed(failed)
    else:
        raise ConfigError(
            "give either COMPOSITE MASK -o OUT for one picture, or --composites --masks --out for three folders"
        )


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def _summarise(report: Any, output: Path, timings: Path | None) -> None:  # noqa: ANN401 - a lazily imported type
    rate = report.frames / report.seconds if report.seconds else 0.0
    stdout.print(f"{output}: {report.frames} frames in {report.seconds:.1f} s, {rate:.1f} frames/s", soft_wrap=True)
    if report.slates:
        say(f"{report.slates} of {report.frames} frames had no valid matte and became slates", "yellow")
    most_mib = peak_mib()
    if timings is not None and timings != _TABLE:
        from livecomp.media.text import write_text

        payload = {
            "frames": report.frames,
            "seconds": report.seconds,
            "peak_mib": None if math.isnan(most_mib) else most_mib,  # NaN is no JSON
            "stages": [asdict(row) for row in report.stages],
        }
        try:
            write_text(timings, json.dumps(payload, indent=2) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {timings}: {error.strerror}") from error
    elif timings is not None:
        table = Table(box=None, pad_edge=False)
        for heading in ("stage", "frames", "mean ms", "p50", "p95", "p99"):
            table.add_column(heading, justify="left" if heading == "stage" else "right")
        for row in report.stages:
            numbers = (row.mean_ms, row.p50_ms, row.p95_ms, row.p99_ms)
            table.add_row(row.stage, str(row.count), *(f"{number:.2f}" for number in numbers))
        stdout.print(table)
        if not math.isnan(most_mib):
            stdout.print(f"most memory {most_mib:.0f} MiB", highlight=False)
    report_failed(report.failed)


def report_failed(failed: list[tuple[Path, LiveCompError]]) -> None:
    """Name the pictures of a folder that could not be processed, and leave with the first one's exit code."""
    for path, error in failed:
        say(f"livecomp: {path}: {error}", "red")
    if failed:
        raise typer.Exit(failed[0][1].exit_code)
