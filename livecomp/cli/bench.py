"""The command that says how long everything takes: bench."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from livecomp.cli.common import Compute, app, say, show_progress, stdout
from livecomp.errors import ConfigError, DependencyError, InputError, OutputError

if TYPE_CHECKING:
    from livecomp.bench import Case, Measurement, Report
    from livecomp.config import Config

__all__: list[str] = []

SLOWER = 10
"""Exit code when something has become slower."""

_SIZES = {
    "360p": (640, 360),
    "540p": (960, 540),
    "720p": (1280, 720),
    "1080p": (1920, 1080),
    "1440p": (2560, 1440),
    "4k": (3840, 2160),
}

_README_SIZES = ("360p", "720p", "1080p", "4k")
_README_LIVE = ("720p", "1080p")
_README_PEERS = ("720p", "1080p")


class Preset(StrEnum):
    """Ready-made lists of cases."""

    quick = "quick"
    readme = "readme"


@app.command()
def bench(
    size: Annotated[
        list[str] | None,
        typer.Option(
            "--size", "-s", help=f"{', '.join(_SIZES)}, or WIDTHxHEIGHT, repeatable; default: 720p and 1080p."
        ),
    ] = None,
    segmenter: Annotated[
        list[str] | None,
        typer.Option(help="Matte: both, general, landscape, rvm, ..., repeatable; default: both."),
    ] = None,
    harmonizer: Annotated[
        list[str] | None, typer.Option(help="live, mkl, reinhard or identity, repeatable; default: live.")
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(help="What runs the networks: auto, onnxruntime, ..., repeatable; default: auto."),
    ] = None,
    compute: Annotated[
        list[Compute] | None,
        typer.Option(help="Where frames are processed: auto, cpu or gpu (NVIDIA), repeatable; default: auto."),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(min=1, max=30, help="Predict a correction for every n-th frame; default: as a call does."),
    ] = None,
    source: Annotated[str, typer.Option("--input", "-i", help="Whose frames: 'demo', a video or a picture.")] = "demo",
    background: Annotated[
        str, typer.Option("--background", "-b", help="The scene: 'demo', a picture, a video, a colour or 'blur'.")
    ] = "demo",
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="How long each case runs, after warm-up.")] = 5.0,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Measure calls: from the capture of a frame to a program that reads the virtual camera."
        ),
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(help="The virtual camera for --live, /dev/video10; default: a stand-in in memory."),
    ] = None,
    peers: Annotated[
        bool, typer.Option("--peers", help="Also measure reference recipes of what one would use instead.")
    ] = False,
    preset: Annotated[
        Preset, typer.Option(help="readme: 360p to 4K, calls and peers, some minutes; for a quiet machine.")
    ] = Preset.quick,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for JSON, table and plots, named after the machine.")
    ] = None,
    plots: Annotated[
        bool | None, typer.Option("--plots/--no-plots", help="Draw PNG files too; default: if matplotlib is there.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(help=f"JSON of an earlier run: exit with {SLOWER} if a case has become slower.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, max=10, help="By which share a median may grow; machines are noisy.")
    ] = 0.15,
) -> None:
    """Measure the pipeline: each stage and whole frames, rate, processor and memory.

    Frames lie in memory, and every case has a process of its own. About 20 s without options.

    For a gate: livecomp bench -o results, later livecomp bench --compare results/pipeline--MACHINE--auto.json

    With --live each picture carries its time of capture in its pixels, and a process that watches reads it.
    """
    from livecomp.bench import Report
    from livecomp.bench.facts import facts, load_average
    from livecomp.bench.readme import readme_tables
    from livecomp.bench.report import markdown, read_report
    from livecomp.config import Config

    before = None if compare is None else read_report(compare)
    config = Config.from_options({"live": {"device": device or "stand-in"}})
    every = every or config.live.harmonize_every
    cases = _cases(preset, _Wanted(size, segmenter, harmonizer, backend, compute, every, live, peers))
    _require_room(cases)
    _require_names(cases, config, background)
    if device is not None and not any(case.what == "live" for case in cases):
        raise ConfigError(f"--device {device}: nothing is written to it without --live")
    if before is not None:
        _require_common(before, [case.name for case in cases])
    if output is not None:
        _require_place(output, plots)
    machine = facts() | {"input": source, "background": background}
    with show_progress("bench") as progress:
        rows = _measure(cases, config, source, background, seconds, progress)
    report = Report(machine | {"load after": load_average()}, rows)
    stdout.print(markdown(report), highlight=False, soft_wrap=True)
    if preset is Preset.readme:
        stdout.print(readme_tables(report), highlight=False, soft_wrap=True)
    if output is not None:
        _write(report, output, preset.value if preset is not Preset.quick else "live" if live else "pipeline", plots)
    if before is not None:
        _judge(before, report, tolerance)


class _Wanted:
    """What the options ask for.

    Raises:
        ConfigError: A size is none.
    """

    def __init__(
        self,
        sizes: Sequence[str] | None,
        segmenters: Sequence[str] | None,
        harmonizers: Sequence[str] | None,
        backends: Sequence[str] | None,
        computes: Sequence[Compute] | None,
        every: int,
        live: bool,
        peers: bool,
    ) -> None:
        self.sizes = [_size(text) for text in sizes or ()]
        self.segmenters = segmenters or ("both",)
        self.harmonizers = harmonizers or ("live",)
        self.backends = backends or ("auto",)
        self.computes = [compute.value for compute in computes or (Compute.auto,)]
        self.every = every
        self.live = live
        self.peers = peers

    def cases(self, sizes: Sequence[tuple[int, int]], what: str) -> list[Case]:
        from livecomp.bench import Case

        return [
            Case(size_wh, segmenter, harmonizer, backend, self.every, what, compute)
            for size_wh in sizes
            for segmenter in self.segmenters
            for harmonizer in self.harmonizers
            for backend in self.backends
            for compute in self.computes
        ]

    def peer_cases(self, sizes: Sequence[tuple[int, int]]) -> list[Case]:
        from livecomp.bench import Case
        from livecomp.bench.peers import RECIPES

        return [Case(size_wh, backend=self.backends[0], what=name) for size_wh in sizes for name in RECIPES]


def _cases(preset: Preset, wanted: _Wanted) -> list[Case]:
    if preset is Preset.readme:
        sizes, live, peers = (
            wanted.sizes or [_SIZES[name] for name in names] for names in (_README_SIZES, _README_LIVE, _README_PEERS)
        )
        return wanted.cases(sizes, "pipeline") + wanted.cases(live, "live") + wanted.peer_cases(peers)
    sizes = wanted.sizes or [_SIZES["720p"], _SIZES["1080p"]]
    cases = wanted.cases(sizes, "live" if wanted.live else "pipeline")
    return cases + (wanted.peer_cases(sizes) if wanted.peers else [])


def _size(text: str) -> tuple[int, int]:
    if text.lower() in _SIZES:
        return _SIZES[text.lower()]
    width, _, height = text.lower().partition("x")
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise ConfigError(f"--size {text}: expected {', '.join(_SIZES)}, or WIDTHxHEIGHT such as 1280x720")
    size_wh = int(width), int(height)
    if not all(16 <= side <= 8192 and side % 2 == 0 for side in size_wh):
        raise ConfigError(f"--size {text}: expected even sides of 16 to 8192 pixels")
    return size_wh


def _require_room(cases: Sequence[Case]) -> None:
    """Refuse a call whose pictures cannot carry their time of capture, before anything is measured.

    Raises:
        ConfigError: A size is too small.
    """
    from livecomp.bench.stamp import stamp_size

    for width, height in [case.size_wh for case in cases if case.what == "live"]:
        needed = stamp_size(height)
        if width < needed[0] or height < needed[1]:
            raise ConfigError(
                f"--size {width}x{height}: too small for a call, whose pictures carry their time of capture; expected "
                f"at least {needed[0]}x{needed[1]}"
            )


def _require_names(cases: Sequence[Case], config: Config, background: str) -> None:
    """Refuse a case that cannot be put together, before others are measured for nothing.

    Raises:
        LiveCompError: A model or a backend is not known, or there is no such background.
    """
    from engine import BACKENDS
    from livecomp.bench.pipeline import config_for

    for case in cases:
        if case.backend not in ("auto", *BACKENDS):
            raise ConfigError(f"--backend {case.backend}: expected auto, {', '.join(BACKENDS)}")
        config_for(case, config).build(background)


def _require_common(before: Report, names: Sequence[str]) -> None:
    """Refuse to compare what cannot be compared.

    Raises:
        InputError: No case of these names was measured before.
    """
    if not {row.case.name for row in before.measurements} & set(names):
        raise InputError("the two runs have no case in common: measure the same sizes, models and backends as before")


def _require_place(folder: Path, plots: bool | None) -> None:
    """Make the folder for the results; what cannot be written is told now, not after minutes of measuring.

    Raises:
        OutputError: There cannot be files.
        DependencyError: Plots are wanted, and what draws them is not there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}") from error
    if plots and find_spec("matplotlib") is None:
        raise DependencyError("plots need matplotlib: python -m pip install 'livecomp[plots]'")


def _measure(
    cases: Sequence[Case],
    config: Config,
    source: str,
    background: str,
    seconds: float,
    progress: Any,  # noqa: ANN401  as `show_progress` gives it
) -> list[Measurement]:
    """Each case by what it is; a recipe whose network is not installed is left out, and said so."""
    from livecomp.bench.live import measure_live
    from livecomp.bench.peers import measure_peer
    from livecomp.bench.pipeline import measure, measure_apart

    rows: list[Measurement] = []
    for done, case in enumerate(cases):
        progress(done, len(cases))
        measurer = {"pipeline": measure, "live": measure_live}.get(case.what, measure_peer)
        try:
            rows += measure_apart([case], config, source, background, seconds, measurer=measurer)
        except DependencyError as error:
            if measurer is not measure_peer:
                raise
            say(f"left out: {case.name}: {error}", "yellow")
    progress(len(cases), len(cases))
    return rows


def _write(report: Report, folder: Path, what: str, plots: bool | None) -> None:
    from livecomp.bench.facts import machine_slug
    from livecomp.bench.report import draw, write_report

    cases = [row.case for row in report.measurements]
    # a run on the GPU does not replace that on the CPU
    ways = [case.backend if case.compute == "auto" else f"{case.backend}-{case.compute}" for case in cases]
    path = folder / f"{what}--{machine_slug()}--{'+'.join(dict.fromkeys(ways))}.json"
    write_report(path, report)
    stdout.print(f"{path}", soft_wrap=True, highlight=False)
    if plots is False:
        return
    try:
        drawn = draw(folder / path.stem, report)
    except DependencyError as error:
        if plots:
            raise
        say(f"no plots: {error}")
        return
    for picture in drawn:
        stdout.print(f"{picture}", soft_wrap=True, highlight=False)


def _judge(before: Report, now: Report, tolerance: float) -> None:
    """Print the comparison, and leave with `SLOWER` if a case is slower than `tolerance` allows."""
    from livecomp.bench.compare import compare, different_scenes

    _require_common(before, [row.case.name for row in now.measurements])
    found = compare(before, now, tolerance)
    if scenes := different_scenes(before, now):
        say(f"the two runs are not alike: {'; '.join(scenes)}; times may differ for that alone", "yellow")
    for row in found:
        stages = "".join(f"; {stage} x{ratio:.2f}" for stage, ratio in row.slower_stages.items())
        verdict = "SLOWER" if row.is_slower else "ok"
        stdout.print(
            f"{verdict}: {row.name}: {row.before_ms:.2f} -> {row.now_ms:.2f} ms (x{row.ratio:.2f}){stages}",
            highlight=False,
            soft_wrap=True,
        )
    if any(row.is_slower for row in found):
        raise typer.Exit(SLOWER)
