"""Which backend is fastest here: measured once for each model and machine, then remembered."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Self

from engine.backend import Backend, Options, Probe
from engine.backends import BACKENDS, REFERENCE
from engine.cache import EngineCache, cache_key
from engine.errors import BackendError, EngineError, InferenceError, ModelFileError
from engine.fallback import FallbackRunner
from engine.machine import cpu_features, cpu_name, gpu_fingerprint
from engine.model_file import ModelFile
from engine.model_runner import ModelRunner
from engine.spec import ModelSpec, TensorMap
from engine.timing import measure_together, relative_difference

__all__ = ["AutoRunner", "Choice", "Measured", "choose", "probe_all"]

_LOGGER = logging.getLogger(__name__)

BUDGET_S = 0.8
"""Time for all measured runs together; loading and building come on top."""

ROUNDS = 30

TOLERANCE = {"fp32": 1e-2, "fp16": 2e-2, "bf16": 2e-2, "int8": 5e-2}
"""Largest relative difference from the reference at which a result still counts as the model's.

Mattes have steep edges: on inputs far from any portrait, float32 on two backends was seen to differ by 6e-4.
"""

EXACT = "onnxruntime"
"""The backend that others are compared with, where it runs the model."""

HALF_MUST_GAIN = 1.25
"""How much faster than float32 another precision must be to be preferred."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One way to run a model that works here.

    Args:
        backend: Its name.
        precision: What it computes in.
        median_ms: Time of a run, milliseconds.
        difference: Largest relative difference from the reference.
    """

    backend: str
    precision: str
    median_ms: float
    difference: float


@dataclass(frozen=True, slots=True)
class Choice:
    """All backends, judged.

    Args:
        ranked: Those that work, best first.
        skipped: Why each other one is not used, by name (or by name and precision).
    """

    ranked: tuple[Measured, ...]
    skipped: Mapping[str, str]


def choose(path: Path | ModelFile, options: Options, *, refresh: bool = False) -> Choice:
    """The ranking for a model, from the cache or by measuring.

    Args:
        path: The ONNX file, or one in memory.
        options: Threads, precision (None: any that stays within tolerance), shapes.
        refresh: Measure even if the ranking is known.

    Raises:
        ModelFileError: No backend can read the file.
        BackendError: No backend works.
    """
    model = ModelFile.read(path)
    cache = EngineCache(EngineCache.default().folder.with_name("choices"))
    key = cache_key(_identity(model, options))
    known = None if refresh else _parse(cache.load(key))
    if known is not None:
        return known
    choice = _measure(path, options)
    cache.store(key, json.dumps(asdict(choice)).encode())
    return choice


def probe_all() -> dict[str, Probe | str]:
    """Every backend with what it found on this machine, or the reason why it cannot run here."""
    found: dict[str, Probe | str] = {}
    for backend in BACKENDS.values():
        try:
            found[backend.name] = backend.probe()
        except BackendError as error:
            found[backend.name] = str(error)
    return found


def _identity(model: ModelFile, options: Options) -> dict[str, str]:
    """All that the ranking depends on; versions without importing anything."""
    versions = {}
    for backend in BACKENDS.values():
        try:
            versions[backend.package] = metadata.version(backend.package)
        except metadata.PackageNotFoundError:
            versions[backend.package] = "none"
    return {
        "model": model.sha256,
        "cpu": " ".join((cpu_name(), *cpu_features())),
        "gpu": f"{gpu_fingerprint()} {os.environ.get('CUDA_VISIBLE_DEVICES')}",
        "options": f"{options.threads} {options.precision} {sorted(options.shapes.items())}",
        **versions,
    }


def _parse(stored: bytes | None) -> Choice | None:
    if stored is None:
        return None
    try:
        found = json.loads(stored)
        ranked = tuple(Measured(**entry) for entry in found["ranked"])
        if gone := {one.backend for one in ranked} - BACKENDS.keys():
            raise ValueError(f"there is no backend {', '.join(sorted(gone))}")
        return Choice(ranked, dict(found["skipped"])) if ranked else None
    except (ValueError, TypeError, KeyError) as error:
        _LOGGER.warning("a remembered choice of backends cannot be read and is measured again: %s", error)
        return None


def _measure(path: Path | ModelFile, options: Options) -> Choice:
    skipped: dict[str, str] = {}
    failures: list[EngineError] = []
    with ExitStack() as opened:
        runners: list[ModelRunner] = []
        for backend in BACKENDS.values():
            for precision in _precisions(backend, options, skipped):
                runner = _runner(backend.name, path, options, precision)
                try:
                    runner.open()
                except EngineError as error:
                    skipped[f"{backend.name} {precision}"] = str(error)
                    failures.append(error)
                    continue
                opened.callback(runner.close)
                runners.append(runner)
        if not runners:
            unreadable = bool(failures) and all(isinstance(error, ModelFileError) for error in failures)
            reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
            raise (ModelFileError if unreadable else BackendError)(f"no backend can run {path.name}: {reasons}")
        ranked = _rank(runners, skipped)
    if not ranked:
        raise InferenceError(f"no backend runs {path.name} rightly: {skipped}")
    return Choice(tuple(ranked), skipped)


def _precisions(backend: Backend, options: Options, skipped: dict[str, str]) -> tuple[str, ...]:
    """Precisions worth trying; notes why when there are none."""
    if backend.name == REFERENCE:
        skipped[backend.name] = "it is a reference to compare with, and never chosen by itself"
        return ()
    try:
        native = backend.probe().precisions
    except BackendError as error:
        skipped[backend.name] = str(error)
        return ()
    if options.precision is None:
        return native
    if options.precision not in native:
        skipped[backend.name] = f"it does not compute {options.precision} natively here, only {', '.join(native)}"
        return ()
    return (options.precision,)


def _rank(runners: list[ModelRunner], skipped: dict[str, str]) -> list[Measured]:
    if any(_is_open(runner.spec) for runner in runners):
        for runner in [runner for runner in runners if not _is_open(runner.spec)]:
            skipped[_way(runner)] = "it needs one shape for inputs that leave sides open; none was given"
            runners.remove(runner)
    feed = runners[0].spec.smooth_feed()
    feeds = (feed, runners[0].spec.example_feed())
    answers: list[tuple[ModelRunner, list[TensorMap]]] = []
    # what others are compared with comes first: float32, and of that ONNX Runtime
    for runner in sorted(runners, key=lambda one: (one.report["precision"] != "fp32", one.name != EXACT)):
        try:
            answers.append((runner, [runner.infer(one) for one in feeds]))
        except EngineError as error:
            skipped[_way(runner)] = str(error)
    good: list[ModelRunner] = []
    differences: list[float] = []
    for runner, answer in answers:
        exact, expected = answers[0]
        tolerance = TOLERANCE[runner.report["precision"]]
        difference = max(relative_difference(one, want) for one, want in zip(answer, expected, strict=True))
        if difference > tolerance:
            skipped[_way(runner)] = (
                f"its result differs by {difference:.1e} from {exact.name}'s, more than {tolerance:.0e}"
            )
            continue
        good.append(runner)
        differences.append(difference)
    found: list[Measured] = []
    latencies = measure_together(good, feed, rounds=ROUNDS, budget_s=BUDGET_S)
    for runner, latency, difference in zip(good, latencies, differences, strict=True):
        if isinstance(latency, EngineError):
            skipped[_way(runner)] = str(latency)
        else:
            found.append(Measured(runner.name, runner.report["precision"], latency.median_ms, difference))
    return sorted(found, key=lambda one: one.median_ms * (1 if one.precision == "fp32" else HALF_MUST_GAIN))


def _way(runner: ModelRunner) -> str:
    """Backend and precision, as `Choice.skipped` names them."""
    return f"{runner.name} {runner.report['precision']}"


def _is_open(spec: ModelSpec) -> bool:
    return any(side is None for tensor in spec.inputs for side in tensor.shape)


def _runner(
    backend: str,
    path: Path | ModelFile,
    options: Options,
    precision: str,
    on_time: Callable[[str, int], None] | None = None,
) -> ModelRunner:
    exact = replace(options, precision=precision)
    return ModelRunner(BACKENDS[backend], path, exact, on_time)


class AutoRunner:
    """Runs a model on the fastest backend, and on the next one should that fail; see `Runner`.

    Args:
        path: The ONNX file.
        options: Threads, precision, shapes.
        on_time: See `open_runner`.
        on_fallback: See `FallbackRunner`.
    """

    def __init__(
        self,
        path: Path | ModelFile,
        options: Options,
        on_time: Callable[[str, int], None] | None = None,
        on_fallback: Callable[[str, str, str], None] | None = None,
    ) -> None:
        self._path = path
        self._options = options
        self._on_time = on_time
        self._on_fallback = on_fallback
        self._runner: FallbackRunner | None = None

    @property
    def name(self) -> str:
        """The name of the backend that runs the model now; "auto" before it is open."""
        return "auto" if self._runner is None else self._runner.name

    @property
    def spec(self) -> ModelSpec:
        """See `Runner.spec`."""
        return self._opened().spec

    @property
    def report(self) -> Mapping[str, str]:
        """See `Runner.report`."""
        return self._opened().report

    def open(self) -> None:
        """See `Runner.open`."""
        if self._runner is not None:
            return
        choice = choose(self._path, self._options)
        runners = [
            _runner(one.backend, self._path, self._options, one.precision, self._on_time) for one in choice.ranked
        ]
        runner = FallbackRunner(runners, self._on_fallback)
        runner.open()
        self._runner = runner

    def infer(self, feed: TensorMap) -> TensorMap:
        """See `Runner.infer`."""
        return self._opened().infer(feed)

    def close(self) -> None:
        """See `Runner.close`."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _opened(self) -> FallbackRunner:
        if self._runner is None:
            raise InferenceError(f"{self._path.name} is not open; call open() first")
        return self._runner
