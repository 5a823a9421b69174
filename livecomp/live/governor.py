"""Keeps frames in time: lowers the cost in named steps while they come too late, and climbs back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from livecomp.config import Config

__all__ = ["GPU_STEPS", "STEPS", "Governor", "Step"]


@dataclass(frozen=True, slots=True)
class Step:
    """How much is done for each frame; every step includes those before it.

    Args:
        name: What is given up.
        options: Sections and keys of the configuration that it replaces.
        harmonize_times: Predictions come this many times less often than the configuration says.
        frame_share: Share of the camera's frames that are processed, 0..1.
    """

    name: str
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    harmonize_times: int = 1
    frame_share: float = 1.0

    def limit(self, config: Config) -> Config:
        """A configuration with the cost of this step.

        Mattes that come from no network of ours, a green screen's for instance, are left alone.
        """
        changes: dict[str, BaseModel] = {}
        for section, values in self.options.items():
            given = getattr(config, section)
            if section != "segment" or config.segment.model in _NETWORKS:
                changes[section] = given.model_copy(update=dict(values))
        live = config.live
        changes["live"] = live.model_copy(
            update={
                "harmonize_every": live.harmonize_every * self.harmonize_times,
                "fps": live.fps * self.frame_share,
            }
        )
        return config.model_copy(update=changes)


_NETWORKS = ("both", "general", "landscape")

_Options = dict[str, dict[str, Any]]

_LEAN: _Options = {"segment": {"model": "landscape"}}
_COARSE: _Options = {"segment": {"model": "landscape", "refine": False}}
_PLAIN: _Options = {**_COARSE, "composite": {"decontaminate": False, "light_wrap": 0.0}}

STEPS: tuple[Step, ...] = (
    Step("full"),
    Step("fewer predictions", harmonize_times=3),
    Step("smaller matte", _LEAN, 3),
    Step("no refinement", _COARSE, 3),
    Step("plain edges", _PLAIN, 3),
    Step("half the frames", _PLAIN, 2, 0.5),
)
"""From full cost to least. The steps that touch the matte apply to our networks only, see `Step.limit`."""

GPU_STEPS: tuple[Step, ...] = (
    Step("full"),
    Step("fewer predictions", harmonize_times=3),
    Step("half the frames", harmonize_times=2, frame_share=0.5),
)
"""For whole frames on a GPU: any other change would have something built, on a GPU that is late already."""

_PATIENCE_NS = 2_000_000_000
_RECOVERY_NS = 10_000_000_000
_LONGEST_RECOVERY_NS = 160_000_000_000
_COMFORT = 0.6


class Governor:
    """Chooses the step from how late frames are.

    It goes down when the 95th percentile has been over the budget for two seconds, and up when it has been below
    60 % of it for ten. A climb that fails at once doubles the wait before the next, up to 160 s, so that a machine that
    cannot do more does not swing.

    Args:
        steps: From full cost to least.
    """

    def __init__(self, steps: Sequence[Step] = STEPS) -> None:
        self._steps = tuple(steps)
        self._index = 0
        self._since_ns: int | None = None
        self._late = False
        self._recovery_ns = _RECOVERY_NS
        self._climbed_ns: int | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of them, from full cost to least."""
        return self._steps

    @property
    def step(self) -> Step:
        """The step that holds now."""
        return self._steps[self._index]

    def update(self, now_ns: int, p95_ms: float, budget_ms: float) -> bool:
        """Look at the last seconds.

        Args:
            now_ns: Monotonic time.
            p95_ms: 95th percentile of the time from capture to write.
            budget_ms: What it should be at most.

        Returns:
            Whether the step changed.
        """
        if p95_ms > budget_ms:
            wanted, late = _PATIENCE_NS, True
        elif p95_ms < _COMFORT * budget_ms:
            wanted, late = self._recovery_ns, False
        else:
            self._since_ns = None
            return False
        if self._since_ns is None or late != self._late:
            self._since_ns, self._late = now_ns, late
            return False
        if now_ns - self._since_ns < wanted:
            return False
        self._since_ns = None
        return self._down(now_ns) if late else self._up(now_ns)

    def _down(self, now_ns: int) -> bool:
        if self._index == len(self._steps) - 1:
            return False
        failed = self._climbed_ns is not None and now_ns - self._climbed_ns < 2 * _RECOVERY_NS
        self._recovery_ns = min(2 * self._recovery_ns, _LONGEST_RECOVERY_NS) if failed else _RECOVERY_NS
        self._climbed_ns = None
        self._index += 1
        return True

    def _up(self, now_ns: int) -> bool:
        if self._index == 0:
            return False
        self._climbed_ns = now_ns
        self._index -= 1
        return True
