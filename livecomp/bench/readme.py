"""The README's tables: what each size costs, how late a call is, and what other recipes cost in the same run."""

from __future__ import annotations

from collections.abc import Sequence

from livecomp.bench import Measurement, Report

__all__ = ["readme_tables"]

_FACTS = ("processor", "livecomp", "commit", "when", "onnxruntime", "opencv-python-headless", "load", "load after")


def readme_tables(report: Report) -> str:
    """Markdown: pipeline, calls and recipes, as far as they were measured, wins and losses alike."""
    rows = report.measurements
    pipelines = [row for row in rows if row.case.what == "pipeline"]
    calls = [row for row in rows if row.case.what == "live"]
    peers = [row for row in rows if row.case.what not in ("pipeline", "live")]
    facts = ", ".join(f"{name} {report.machine[name]}" for name in _FACTS if name in report.machine)
    parts = [f"Measured in one run: {facts}."]
    if pipelines:
        parts.append(_pipelines(pipelines))
    if calls:
        parts.append(_calls(calls))
    if peers:
        parts.append(_peers(peers, pipelines))
    return "\n\n".join(parts) + "\n"


def _pipelines(rows: Sequence[Measurement]) -> str:
    lines = [
        "Frames in memory, matte with refinement, live model, smoothing, light wrap and clean edges:",
        "",
        "| size | frames/s | median ms | p95 ms | ns/pixel | cores | harmonizing | compositor | peak memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        pixels = row.case.size_wh[0] * row.case.size_wh[1]
        harmonizing = "" if row.harmonizing is None else f"{100 * row.harmonizing:.0f} %"
        copies = "" if row.copies is None else f"{row.copies:.1f} copies"
        lines.append(
            f"| {_label(row)} | {row.fps:.0f} | {row.frame.p50_ms:.1f} | {row.frame.p95_ms:.1f} "
            f"| {1e6 * row.frame.p50_ms / pixels:.1f} | {row.cores:.2f} | {harmonizing} | {copies} "
            f"| {row.peak_mib:.0f} MiB |"
        )
    lines += [
        "",
        "Harmonizing: the share of a frame that predicting, smoothing and applying corrections take. Compositor: its "
        "time in copies of the frame and the background. Memory includes the frames that are fed.",
    ]
    return "\n".join(lines)


def _calls(rows: Sequence[Measurement]) -> str:
    lines = [
        f"A call at a camera's pace, from the capture of a frame to a program that has read it, {rows[0].note}:",
        "",
        "| size | pictures/s | median ms | p95 ms | p99 ms | to the virtual camera, p95 ms | cores | dropped |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        sink = next((stage.p95_ms for stage in row.stages if stage.stage == "sink"), float("nan"))
        frame = row.frame
        lines.append(
            f"| {_label(row)} | {row.fps:.1f} | {frame.p50_ms:.1f} | {frame.p95_ms:.1f} | {frame.p99_ms:.1f} "
            f"| {sink:.1f} | {row.cores:.2f} | {row.dropped} |"
        )
    return "\n".join(lines)


def _peers(rows: Sequence[Measurement], ours: Sequence[Measurement]) -> str:
    lines = [
        "Reference recipes, written for this measurement (nobody's own code), on the same frames with the same bounds "
        "on threads; above 1x LiveComp is faster:",
        "",
        "| size | recipe | frames/s | median ms | cores | LiveComp's median | LiveComp is |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        same = next((our for our in ours if our.case.size_wh == row.case.size_wh), None)
        against = (
            " | |" if same is None else f" {same.frame.p50_ms:.1f} | {row.frame.p50_ms / same.frame.p50_ms:.2f}x |"
        )
        lines.append(
            f"| {_size(row)} | {row.case.what} | {row.fps:.0f} | {row.frame.p50_ms:.1f} | {row.cores:.2f} |{against}"
        )
    notes = {row.case.what: row.note for row in rows}
    return "\n".join([*lines, "", *(f"- {name}: {note}." for name, note in notes.items())])


def _size(row: Measurement) -> str:
    return f"{row.case.size_wh[0]}x{row.case.size_wh[1]}"


def _label(row: Measurement) -> str:
    case = row.case
    usual = case.segmenter == "both" and case.harmonizer == "live"
    return _size(row) if usual else f"{_size(row)}, {case.segmenter} + {case.harmonizer}"
