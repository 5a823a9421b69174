"""The pipeline alone: frames that are already in memory, each stage timed, nothing read or written."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from statistics import median

from livecomp.background import fit_to
from livecomp.bench import Case, Measurement
from livecomp.bench.owner import end_with_owner
from livecomp.capture import Source
from livecomp.capture.demo import DemoSource
from livecomp.capture.registry import open_source
from livecomp.config import Config, Stages
from livecomp.correction import Correction
from livecomp.errors import InputError
from livecomp.frame import Frame
from livecomp.pipeline import Pipeline
from livecomp.segment.presence import PresenceFilter
from livecomp.stats import StageTimer, peak_mib
from livecomp.threads import bound_threads

__all__ = ["Measurer", "at", "config_for", "load_frames", "measure", "measure_apart"]

Measurer = Callable[[Case, Config, str | Path, str | Path, float], Measurement]

_WARM_UP = 12
_YARDSTICK_FRAMES = 30
_FRAMES_MIB = 240
_FEWEST, _MOST = 8, 48
_KEPT = 2000


def load_frames(spec: str | Path, size_wh: tuple[int, int]) -> list[Frame]:
    """Frames of a source at one size, as many as fit into 240 MiB, but 8 to 48.

    Args:
        spec: What `open_source` takes; "demo" is drawn at the size, others are scaled and cut to it.
        size_wh: Width and height in pixels.

    Raises:
        InputError: The source cannot be read, or holds no frame.
    """
    width, height = size_wh
    count = max(_FEWEST, min(_MOST, _FRAMES_MIB * 2**20 // (3 * width * height)))
    source: Source = DemoSource(size_wh) if str(spec) == "demo" else open_source(spec)
    source.open()
    frames: list[Frame] = []
    try:
        while len(frames) < count and (frame := source.read()) is not None:
            frames.append(Frame(fit_to(frame.rgb, size_wh, "cover"), frame.pts_ns))
    finally:
        source.close()
    if not frames:
        raise InputError(f"{spec} holds no frame")
    return frames


def config_for(case: Case, config: Config) -> Config:
    """The configuration with what a case says in place of its own."""
    segment = config.segment.model_copy(update={"model": case.segmenter, "backend": case.backend})
    harmonize = config.harmonize.model_copy(update={"model": case.harmonizer, "backend": case.backend})
    width, height = case.size_wh
    live = config.live.model_copy(update={"width": width, "height": height, "harmonize_every": case.harmonize_every})
    changed = {"segment": segment, "harmonize": harmonize, "live": live, "compute": case.compute}
    return config.model_copy(update=changed)


def measure(case: Case, config: Config, spec: str | Path, background: str | Path, seconds: float) -> Measurement:
    """Measure one case in this process, as in a call.

    Args:
        case: What to measure; goes before what the configuration says.
        config: All other options.
        spec: Where frames come from.
        background: The scene.
        seconds: How long to measure, after warm-up.

    Raises:
        LiveCompError: A stage cannot be had, or fails.
    """
    bound_threads()
    frames = load_frames(spec, case.size_wh)
    presence = PresenceFilter()
    stages = config_for(case, config).build(background, presence=presence)
    pipeline = Pipeline(stages, on_miss="stop", harmonize_every=case.harmonize_every)
    begin = time.monotonic_ns()
    with closing(presence), closing(pipeline):
        presence.open()
        pipeline.open(case.size_wh)
        open_s = (time.monotonic_ns() - begin) / 1e9
        interval_ns = 33_333_333
        for index in range(_WARM_UP):
            pipeline.process(at(frames, index, interval_ns))
        pipeline.timer = StageTimer()
        whole = StageTimer()
        frame_ms: list[float] = []
        start_ns, start_cpu = time.monotonic_ns(), time.process_time()
        index = _WARM_UP
        while time.monotonic_ns() - start_ns < seconds * 1e9:
            before = time.monotonic_ns()
            pipeline.process(at(frames, index, interval_ns))
            frame_ms.append((time.monotonic_ns() - before) / 1e6)
            whole.add("frame", frame_ms[-1])
            index += 1
        wall = (time.monotonic_ns() - start_ns) / 1e9
        cores = (time.process_time() - start_cpu) / wall
        found = pipeline.timer.summary()
        copy_ms, plain_ms = _yardsticks(pipeline.stages, frames)
        return Measurement(
            case=case,
            frames=index - _WARM_UP,
            seconds=wall,
            fps=(index - _WARM_UP) / wall,
            cores=cores,
            peak_mib=peak_mib(),
            frame=whole.summary()[0],
            stages=found,
            frame_ms=[round(value, 3) for value in frame_ms[-_KEPT:]],
            open_s=open_s,
            copy_ms=copy_ms,
            plain_ms=plain_ms,
            note="" if pipeline.stages.whole is None else f"whole frames on {pipeline.stages.whole.backend}",
        )


def _yardsticks(stages: Stages, frames: Sequence[Frame]) -> tuple[float, float]:
    """What the compositor is held against, both in ms: memory copied, and a composite without a correction.

    On a GPU there is no compositor: both are 0.
    """
    if stages.whole is not None:
        return 0.0, 0.0
    copies, plains = [], []
    for index in range(_YARDSTICK_FRAMES):
        matted = stages.segmenter.segment(at(frames, index, 33_333_333))
        scene = stages.background.render(matted)
        start_ns = time.monotonic_ns()
        matted.rgb.copy()
        scene.copy()
        middle_ns = time.monotonic_ns()
        stages.compositor.compose(matted, scene, Correction.identity())
        copies.append((middle_ns - start_ns) / 1e6)
        plains.append((time.monotonic_ns() - middle_ns) / 1e6)
    return median(copies), median(plains)


def measure_apart(
    cases: Sequence[Case],
    config: Config,
    spec: str | Path,
    background: str | Path,
    seconds: float,
    *,
    measurer: Measurer = measure,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> list[Measurement]:
    """Measure each case in a process of its own, so that neither memory nor thread pools carry over.

    Args:
        cases: What to measure, one after the other.
        config: All other options.
        spec: Where frames come from.
        background: The scene.
        seconds: How long to measure each, after warm-up.
        measurer: Measures one case; a function of a module, as another process has to find it.
        progress: Called with the number of cases done, and of all.

    Raises:
        LiveCompError: As `measure`.
    """
    found = []
    context = multiprocessing.get_context("spawn")
    for done, case in enumerate(cases):
        progress(done, len(cases))
        with ProcessPoolExecutor(1, mp_context=context, initializer=end_with_owner) as pool:
            found.append(pool.submit(measurer, case, config, spec, background, seconds).result())
    progress(len(cases), len(cases))
    return found


def at(frames: Sequence[Frame], index: int, interval_ns: int) -> Frame:
    """Frame number `index` of an endless clip that runs to its end and back again, so that nothing jumps."""
    period = max(1, 2 * (len(frames) - 1))
    place = index % period
    frame = frames[place if place < len(frames) else period - place]
    return Frame(frame.rgb, index * interval_ns)
