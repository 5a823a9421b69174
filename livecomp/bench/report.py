"""A run as JSON, as a table and as pictures."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from livecomp.bench import SCHEMA, Case, Measurement, Report
from livecomp.errors import DependencyError, InputError, OutputError
from livecomp.media.text import write_text
from livecomp.stats import StageSummary

__all__ = ["draw", "markdown", "read_report", "write_report"]


def write_report(path: Path, report: Report) -> None:
    """Write JSON, and the table beside it as ``.md``; neither replaces an earlier one before it is complete.

    Raises:
        OutputError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(report), indent=1) + "\n")
        write_text(path.with_suffix(".md"), markdown(report))
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def read_report(path: Path) -> Report:
    """Read the JSON of an earlier run.

    Raises:
        InputError: It is missing, damaged, or of another version.
    """
    try:
        found = json.loads(path.read_text())
        if found["schema"] != SCHEMA:
            raise InputError(f"{path} has version {found['schema']} of the format, expected {SCHEMA}; measure again")
        return Report(found["machine"], [_measurement(row) for row in found["measurements"]])
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not the result of a measurement: {error}") from error


def _measurement(row: dict[str, Any]) -> Measurement:
    case = Case(**row["case"] | {"size_wh": tuple(row["case"]["size_wh"])})
    stages = [StageSummary(**stage) for stage in row["stages"]]
    return Measurement(**row | {"case": case, "stages": stages, "frame": StageSummary(**row["frame"])})


def markdown(report: Report) -> str:
    """Machine, one row for each case, and the stages of each."""
    lines = [f"- {name}: {value}" for name, value in report.machine.items()]
    lines += ["", "| case | frames/s | frame p50 ms | p95 | p99 | cores | peak MiB | harmonizing | compositor |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for row in report.measurements:
        frame = row.frame
        lines.append(
            f"| {row.case.name} | {row.fps:.1f} | {frame.p50_ms:.1f} | {frame.p95_ms:.1f} | {frame.p99_ms:.1f} "
            f"| {row.cores:.2f} | {row.peak_mib:.0f} | {_share(row.harmonizing)} | {_times(row.copies)} |"
        )
    lines += [
        "",
        "Harmonizing: the share of a frame that predicting, smoothing and applying corrections take. Compositor: its "
        "time by that of copying the frame and the background. Live: the age of a picture when whoever watches has "
        "read it.",
    ]
    lines += [f"- {row.case.name}: {row.note}" + _dropped(row) for row in report.measurements if row.note]
    names = list(dict.fromkeys(stage.stage for row in report.measurements for stage in row.stages))
    lines += [
        "",
        "Each stage, median / 95th percentile in ms, and how often per frame where it is not once:",
    ]
    lines += ["", f"| case | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for row in report.measurements:
        stages = {stage.stage: stage for stage in row.stages}
        cells = [_cell(stages.get(name), row.frames) for name in names]
        lines.append(f"| {row.case.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}x"


def _dropped(row: Measurement) -> str:
    return f"; {row.dropped} frames dropped, {row.frames} seen" if row.case.what == "live" else ""


def _cell(stage: StageSummary | None, frames: int) -> str:
    if stage is None:
        return ""
    often = "" if stage.count >= frames - 1 else f" (x{stage.count / frames:.2f})"
    return f"{stage.p50_ms:.2f} / {stage.p95_ms:.2f}{often}"


_NO_WORK = ("read", "sink")
"""In calls: the wait for the camera's next picture, and the age of a picture when it was written."""


def draw(folder: Path, report: Report) -> list[Path]:
    """Stage bars, a histogram of frame times, and frame times in order, as PNG.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise DependencyError("plots need matplotlib: python -m pip install 'livecomp[plots]'") from error
    folder.mkdir(parents=True, exist_ok=True)
    rows = report.measurements
    names = list(dict.fromkeys(stage.stage for row in rows for stage in row.stages if stage.stage not in _NO_WORK))
    labels = [row.case.name for row in rows]
    # strong colours before pale ones, and then the same again in dashes
    paired = mpl.colormaps["tab20"].colors  # type: ignore[attr-defined]  # of a ListedColormap
    looks = [(color, dashes) for dashes in ("-", "--", ":") for color in (*paired[::2], *paired[1::2])]

    bars, axes = plt.subplots(figsize=(9, 1.2 + 0.5 * len(rows)), layout="constrained")
    left = np.zeros(len(rows))
    for name in names:
        # what a stage takes of an average frame, so that the bars add up
        shares = []
        for row in rows:
            stage = next((stage for stage in row.stages if stage.stage == name), None)
            shares.append(0.0 if stage is None else stage.mean_ms * stage.count / row.frames)
        axes.barh(labels, shares, left=left, label=name)
        left += shares
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds of an average frame")
    axes.legend(ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=8)

    spread, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    for row, (color, dashes) in zip(rows, cycle(looks), strict=False):
        axes.hist(row.frame_ms, bins=80, histtype="step", color=color, linestyle=dashes, label=row.case.name)
    axes.set_xlabel("milliseconds of a frame")
    axes.set_ylabel("frames")
    axes.legend(fontsize=8, frameon=False)

    order, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    for row, (color, dashes) in zip(rows, cycle(looks), strict=False):
        axes.plot(row.frame_ms, linewidth=0.7, color=color, linestyle=dashes, label=row.case.name)
    axes.set_xlabel("frame")
    axes.set_ylabel("milliseconds")
    for line in axes.legend(fontsize=8, frameon=False).get_lines():
        line.set_linewidth(2)

    written = []
    for name, figure in (("stages", bars), ("histogram", spread), ("timeline", order)):
        written.append(folder / f"{name}.png")
        figure.savefig(written[-1], dpi=110)
        plt.close(figure)
    return written
