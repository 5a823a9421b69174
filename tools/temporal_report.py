"""What `tools.temporal` found, as tables in markdown and as a plot over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tools.temporal_metrics import F64Array
from tools.temporal_stages import STAGES

__all__ = ["Series", "plot", "table"]

Series = Mapping[str, tuple[F64Array, Mapping[str, F64Array]]]
"""By name, of a background or a script: times in seconds (N,), and the mean colours (N, 3) of each stage."""

_COLORS = {"input": "0.7", "raw": "tab:orange", "live": "tab:blue", "offline": "tab:green"}


def plot(path: Path, series: Series) -> Path | None:
    """Draw L*, a* and b* over time, a column for each background or script.

    Args:
        path: The picture to write.
        series: What to draw.

    Returns:
        `path`, or None where matplotlib is not installed.
    """
    try:
        import matplotlib as mpl

        mpl.use("agg")
        from matplotlib import pyplot as plt
    except ImportError:
        return None
    figure, axes = plt.subplots(3, len(series), figsize=(5 * len(series), 8), squeeze=False, sharex="col")
    for column, (name, (seconds, stages)) in enumerate(series.items()):
        for row, channel in enumerate(("L*", "a*", "b*")):
            axis = axes[row][column]
            for stage, color in _COLORS.items():
                if stage in stages:
                    axis.plot(seconds, stages[stage][:, row], color=color, linewidth=1, label=stage)
            axis.set_ylabel(channel)
            axis.grid(alpha=0.3)
        axes[0][column].set_title(name)
        axes[2][column].set_xlabel("s")
    axes[0][0].legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)
    return path


def table(result: dict[str, Any]) -> str:
    """The result in markdown."""
    head = (
        f"## {result['clip']}\n\nModel {result['model']} ({result['model_sha256'][:12]}), live: predicted for one in "
        f"{result['harmonize_every']} frames and steadied by {result['filter']}; offline: {result['look_ahead_s']} s "
        f"to both sides. {result['lines']} lines, optical flow by {result['flow']}; load average {result['load']}.\n\n"
    )
    return head + (_synthetic_table(result) if "portraits" in result else _clip_table(result))


def _clip_table(result: dict[str, Any]) -> str:
    lines = [
        f"{result['frames']} frames. Ratios are to the input clip, and to the unharmonized composite, whose edges",
        "flicker over the scene.",
        "",
        "| background | stage | tl_input | to input | to composite | flicker L* | a* | b* | to input | to composite "
        "| filter ms |",
        "|---" * 11 + "|",
    ]
    for row in result["rows"]:
        took = f"{row['smooth_ms']:.3f}" if "smooth_ms" in row else ""
        lines.append(
            f"| {row['background']} | {row['stage']} | {row['tl_input']:.2f} | {row['tl_ratio']:.3f} | "
            f"{row['tl_ratio_composite']:.3f} | "
            f"{row['flicker_L']:.4f} | {row['flicker_a']:.4f} | {row['flicker_b']:.4f} | {row['flicker_ratio']:.3f} | "
            f"{row['flicker_ratio_composite']:.3f} | "
            f"{took} |"
        )
    lines += ["", "Worst: " + ", ".join(f"{name} {value:.3f}" for name, value in result["worst"].items()) + "."]
    return "\n".join(lines) + "\n"


def _synthetic_table(result: dict[str, Any]) -> str:
    lines = [
        f"{result['portraits']} portraits, each script with each; means, and in brackets the worst. Steps: in light on",
        "the person (lamp on, lamp off) and in the light of a video behind them (scene).",
        "",
        "| script | stage | fMSE | flicker | 90 % after ms | overshoot | settled after ms | early ms |",
        "|---" * 8 + "|",
    ]
    scripts = list(dict.fromkeys(row["script"] for row in result["rows"]))
    for script in [*scripts, "all"]:
        for stage in STAGES[1:]:
            rows = [row for row in result["rows"] if script in (row["script"], "all") and row["stage"] == stage]
            cells = [
                f"{np.mean([row['fmse'] for row in rows]):.1f}",
                f"{np.mean([row['flicker'] for row in rows]):.4f}",
            ]
            if script != "all" and "overshoot" in rows[0]:
                cells += [_range(rows, "lag_ms", ".0f"), _range(rows, "overshoot", ".3f")]
                cells += [_range(rows, "settling_ms", ".0f"), _range(rows, "early_ms", ".0f")]
            else:
                cells += [""] * 4
            lines.append(f"| {script} | {stage} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _range(rows: Sequence[dict[str, Any]], measure: str, form: str) -> str:
    values = [row[measure] for row in rows]
    known = [value for value in values if value is not None]
    if not known:
        return "never"
    worst = "never" if len(known) < len(values) else format(max(known), form)
    return f"{format(float(np.mean(known)), form)} ({worst})"
