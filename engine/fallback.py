"""When a backend is lost while running, the next one takes over, for the very same inputs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from engine.errors import BackendError, EngineError, InferenceError, TensorError
from engine.runner import Runner
from engine.spec import ModelSpec, TensorMap

__all__ = ["FallbackRunner"]

_LOGGER = logging.getLogger(__name__)


class FallbackRunner:
    """Runs on the first of several runners that works; see `Runner`.

    A result is always that of the inputs it was asked for: a failed run is repeated elsewhere or raised.

    Args:
        runners: In order of preference, at least one, not open; owned from now on.
        on_fallback: Called with the names of the runner lost and of its successor, and the reason.
    """

    def __init__(self, runners: Sequence[Runner], on_fallback: Callable[[str, str, str], None] | None = None) -> None:
        if not runners:
            raise BackendError("there is no backend to run on; expected at least one")
        self._runners = list(runners)
        self._on_fallback = on_fallback
        self._current: Runner | None = None
        self._next = 0
        self.lost: dict[str, str] = {}
        """Why each runner that is no longer used was given up, by name."""

    @property
    def name(self) -> str:
        """The name of the backend that runs the model now."""
        return (self._current or self._runners[0]).name

    @property
    def spec(self) -> ModelSpec:
        """See `Runner.spec`."""
        return self._opened().spec

    @property
    def report(self) -> Mapping[str, str]:
        """See `Runner.report`; backends given up are listed as ``lost``."""
        lost = {"lost": "; ".join(f"{name}: {reason}" for name, reason in self.lost.items())} if self.lost else {}
        return {**self._opened().report, **lost}

    def open(self) -> None:
        """Open the first runner that works; see `Runner.open`.

        Raises:
            ModelFileError: No backend can read the model.
            BackendError: No backend works; shows every reason.
        """
        if self._current is None:
            self._next = 0
            self.lost = {}
            self._advance(None)

    def infer(self, feed: TensorMap) -> TensorMap:
        """See `Runner.infer`; raises only when no runner is left, or for a feed that fits none."""
        while True:
            runner = self._opened()
            try:
                return runner.infer(feed)
            except TensorError:
                raise
            except InferenceError as error:
                if self._next == len(self._runners):
                    # the last one stays: its next picture may work, and until then each failure is seen
                    raise
                self._advance(error)

    def close(self) -> None:
        """See `Runner.close`."""
        current, self._current = self._current, None
        if current is not None:
            current.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _opened(self) -> Runner:
        if self._current is None:
            raise InferenceError("no backend is open; call open() first")
        return self._current

    def _advance(self, failure: EngineError | None) -> None:
        """Open the next runner that works in place of the present one, if any.

        Raises:
            InferenceError: `failure`, when there is no successor; the present runner stays.
            EngineError: No runner could be opened at all.
        """
        previous = self._current
        reasons = dict(self.lost)
        for index in range(self._next, len(self._runners)):
            candidate = self._runners[index]
            try:
                candidate.open()
            except EngineError as error:
                failure = failure or error
                reasons[candidate.name] = str(error)
                _LOGGER.info("%s is skipped: %s", candidate.name, error)
                continue
            self._current, self._next = candidate, index + 1
            if previous is not None:
                reasons[previous.name] = str(failure)
                _LOGGER.warning("%s failed and %s takes over: %s", previous.name, candidate.name, failure)
            self.lost = reasons
            if previous is not None:
                previous.close()
                if self._on_fallback is not None:
                    self._on_fallback(previous.name, candidate.name, str(failure))
            return
        self._next = len(self._runners)
        self.lost = reasons
        assert failure is not None
        if previous is not None or len(self._runners) == 1:
            raise failure
        listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise type(failure)(f"no backend can run the model: {listed}") from failure
