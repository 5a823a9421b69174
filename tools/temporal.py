"""How steady and how quick the harmonized person is: ``python -m tools.temporal CLIP --background demo ...``.

CLIP is a video, ``demo``, or ``synthetic`` for clips with a known truth, made here from portraits. Writes
``temporal--CLIP.json``, a table beside it, and a plot of the person's mean colour over time where matplotlib is there.
Stages are described in `tools.temporal_stages`, measures in `tools.temporal_metrics`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from livecomp.api import make_folder
from livecomp.bench.facts import load_average
from livecomp.composite.fused import FusedCompositor
from livecomp.config import Config
from livecomp.correction import Correction
from livecomp.errors import InputError, LiveCompError
from livecomp.models import MODELS
from livecomp.smooth.vector import stack, unstack
from tools.temporal_clips import SCRIPTS, Portrait, Script, demo_portrait, load_portrait, play
from tools.temporal_metrics import F64Array, StepResponse, mean_lab, step_response
from tools.temporal_play import PLAYED, Take
from tools.temporal_record import record_clip, record_takes
from tools.temporal_report import Series, plot, table
from tools.temporal_stages import STAGES, Judged, judge
from training.arguments import positive

SYNTHETIC = "synthetic"
RESULTS = Path(__file__).parent / "results" / metadata.version("livecomp")
BEFORE_STEP_S, AFTER_STEP_S = 1.0, 1.5


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns 0, or 3 when a clip, a background, a model or the output cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m tools.temporal", description=__doc__.splitlines()[0])
    parser.add_argument("clip", help=f"a video, demo, or {SYNTHETIC}")
    parser.add_argument("--background", "-b", action="append", help="a picture, a video, a colour; may be repeated")
    parser.add_argument("--frames", type=positive, default=600, help="read at most so many (default 600)")
    parser.add_argument("--lines", type=positive, default=360, help="rows of the pictures compared (default 360)")
    parser.add_argument("--portraits", type=Path, help=f"for {SYNTHETIC}: folder of NAME.jpg with mattes NAME.png")
    parser.add_argument("--count", type=positive, default=5, help=f"for {SYNTHETIC}: so many of them (default 5)")
    parser.add_argument("--script", action="append", choices=list(SCRIPTS), help=f"for {SYNTHETIC}: only this one")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the result files")
    parser.add_argument("--plots", type=Path, help="folder for plots; the result's by default, '-' for none")
    options = parser.parse_args(argv)
    try:
        make_folder(options.output)  # told now, not after the work
        if options.clip == SYNTHETIC:
            result, series = _synthetic(options.portraits, options.count, options.script or list(SCRIPTS))
        else:
            backgrounds = options.background or ["demo"]
            result, series = _clip(options.clip, backgrounds, frames=options.frames, lines=options.lines)
    except LiveCompError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    stem = f"temporal--{Path(options.clip).stem}"
    (options.output / f"{stem}.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    text = table(result)
    (options.output / f"{stem}.md").write_text(text, "utf-8")
    sys.stdout.write(text)
    if str(options.plots) != "-":
        drawn = plot((options.plots or options.output) / f"{stem}.png", series)
        sys.stdout.write(f"\n{drawn or 'no plot: it needs matplotlib'}\n")
    return 0


def _clip(clip: str, backgrounds: Sequence[str], *, frames: int, lines: int) -> tuple[dict[str, Any], Series]:
    recordings = record_clip(clip, backgrounds, frames=frames, lines=lines)
    for recording in recordings:
        if all(recording.starts[1:]):
            raise InputError(
                f"{clip} over {recording.background}: expected two frames without a cut between them, "
                f"received {len(recording.frames)} with none"
            )
    judged = judge(recordings)
    rows = [
        {"background": recording.background, "stage": stage, **_numbers(found[stage], found)}
        for recording, found in zip(recordings, judged, strict=True)
        for stage in STAGES
    ]
    series: Series = {
        recording.background: (recording.seconds, {stage: found[stage].labs for stage in STAGES})
        for recording, found in zip(recordings, judged, strict=True)
    }
    worst = {
        f"{measure} of {stage}": max(row[measure] for row in rows if row["stage"] == stage)
        for measure in ("tl_ratio", "tl_ratio_composite", "flicker_ratio", "flicker_ratio_composite")
        for stage in PLAYED
    }
    return {
        **_facts(Path(clip).stem, lines),
        "frames": len(recordings[0].frames),
        "rows": rows,
        "worst": worst,
    }, series


def _synthetic(folder: Path | None, count: int, scripts: Sequence[str]) -> tuple[dict[str, Any], Series]:
    portraits = [demo_portrait(), *_portraits(folder, count)]
    rows: list[dict[str, Any]] = []
    series: dict[str, tuple[F64Array, dict[str, F64Array]]] = {}
    for number, portrait in enumerate(portraits):
        for name in scripts:
            script = SCRIPTS[name]
            takes = list(play(portrait, script))
            recording = record_takes(name, takes, lines=portrait.rgb.shape[0])
            (found,) = judge([recording], with_motion=False)
            answers = _answers(takes, script, found)
            for stage in STAGES:
                row = {"portrait": number, "script": name, "stage": stage, **_numbers(found[stage], found)}
                rows.append({**row, **(asdict(answers[stage]) if stage in answers else {})})
            if number == 0:
                series[name] = (recording.seconds, {stage: found[stage].labs for stage in STAGES})
            sys.stderr.write(f"portrait {number} of {len(portraits) - 1}: {name}\n")
    return {**_facts(SYNTHETIC, portraits[0].rgb.shape[0]), "portraits": len(portraits), "rows": rows}, series


def _portraits(folder: Path | None, count: int) -> list[Portrait]:
    """Some of a folder, evenly spread.

    Raises:
        InputError: There are none, or one cannot be used.
    """
    if folder is None:
        return []
    found = sorted(path for path in folder.glob("*.jpg") if path.with_suffix(".png").exists())
    if not found:
        raise InputError(f"{folder}: expected portraits NAME.jpg with mattes NAME.png, found none")
    return [load_portrait(found[index * len(found) // count]) for index in range(min(count, len(found)))]


def _answers(takes: Sequence[Take], script: Script, found: dict[str, Judged]) -> dict[str, StepResponse]:
    """The answers to a step, by stage; empty for a script without one."""
    if script.step_s is None:
        return {}
    at_s = script.step_s
    seconds = np.array([take.frame.pts_ns / 1e9 for take in takes])
    inside = np.flatnonzero((seconds >= at_s - BEFORE_STEP_S) & (seconds < at_s + AFTER_STEP_S)).tolist()
    since = (seconds[inside] >= at_s - 1e-6).tolist()
    raw = [found["raw"].corrections[index] for index in inside]
    old = _mean([correction for correction, later in zip(raw, since, strict=True) if not later])
    new = _mean([correction for correction, later in zip(raw, since, strict=True) if later])
    compositor = FusedCompositor(threads=1)

    def colours(after: Correction) -> F64Array:
        labs = []
        for index, later in zip(inside, since, strict=True):
            frame, scene, _ = takes[index]
            shown = compositor.compose(frame, scene, after if later else old)
            labs.append(mean_lab(shown.rgb, frame.require_alpha()))
        return np.stack(labs)

    ideal, uncorrected = colours(new), colours(old)
    return {
        stage: step_response(found[stage].labs[inside], ideal, uncorrected, seconds[inside], at_s) for stage in PLAYED
    }


def _mean(corrections: Sequence[Correction]) -> Correction:
    mean = np.mean([stack(correction) for correction in corrections], axis=0)
    return unstack(mean.astype(np.float32), corrections[0])


def _numbers(judged: Judged, found: dict[str, Judged]) -> dict[str, Any]:
    reference, plain = found["input"], found["unharmonized"]
    lightness, a, b = judged.flicker.tolist()
    total = float(judged.flicker.sum())
    numbers: dict[str, Any] = {
        "flicker_L": lightness,
        "flicker_a": a,
        "flicker_b": b,
        "flicker": total,
        "flicker_ratio": total / max(float(reference.flicker.sum()), 1e-9),
        "flicker_ratio_composite": total / max(float(plain.flicker.sum()), 1e-9),
    }
    if judged.tl_input is not None and reference.tl_input is not None and plain.tl_input is not None:
        numbers["tl_input"] = judged.tl_input
        numbers["tl_ratio"] = judged.tl_input / max(reference.tl_input, 1e-9)
        numbers["tl_ratio_composite"] = judged.tl_input / max(plain.tl_input, 1e-9)
    if judged.fmse is not None:
        numbers["fmse"] = judged.fmse
    if judged.smooth_ms is not None:
        numbers["smooth_ms"] = judged.smooth_ms
    return numbers


def _facts(name: str, lines: int) -> dict[str, Any]:
    config = Config()
    return {
        "clip": name,
        "livecomp": metadata.version("livecomp"),
        "model": config.harmonize.model,
        "model_sha256": MODELS[config.harmonize.model].sha256 if config.harmonize.model in MODELS else "",
        "filter": config.smooth.filter,
        "harmonize_every": config.live.harmonize_every,
        "look_ahead_s": config.smooth.look_ahead_s,
        "flow": "OpenCV DIS, preset medium",
        "lines": lines,
        "load": load_average(),
    }


if __name__ == "__main__":
    sys.exit(main())
