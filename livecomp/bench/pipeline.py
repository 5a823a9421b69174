"""The pipeline alone: frames that are already in memory, each stage timed, nothing read or written."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from livecomp.background import fit_to
from livecomp.bench import Case, Measurement
from livecomp.capture import Source
from livecomp.capture.demo import DemoSource
from livecomp.capture.registry import open_source
from livecomp.config import Config
from livecomp.errors import InputError
from livecomp.frame import Frame
from livecomp.pipeline import Pipeline
from livecomp.stats import StageTimer

__all__ = ["load_frames", "measure", "measure_apart"]

_WARM_UP = 12
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


def measure(case: Case, config: Config, spec: str | Path, background: str | Path, seconds: float) -> Measurement:
    """Measure one case in this process.

    Args:
        case: What to measure; goes before what the configuration says.
        config: All other options.
        spec: Where frames come from.
        background: The scene.
        seconds: How long to measure, after warm-up.

    Raises:
        LiveCompError: A stage cannot be had, or fails.
    """
    frames = load_frames(spec, case.size_wh)
    segment = config.segment.model_copy(update={"model": case.segmenter, "backend": case.backend})
    harmonize = config.harmonize.model_copy(update={"model": case.harmonizer, "backend": case.backend})
    wanted = config.model_copy(update={"segment": segment, "harmonize": harmonize})
    begin = time.monotonic_ns()
    with Pipeline(wanted.build(background), on_miss="stop", harmonize_every=case.harmonize_every) as pipeline:
        open_s = (time.monotonic_ns() - begin) / 1e9
        interval_ns = 33_333_333
        for index in range(_WARM_UP):
            pipeline.process(_at(frames, index, interval_ns))
        pipeline.timer = StageTimer()
        whole = StageTimer()
        frame_ms: list[float] = []
        start_ns, start_cpu = time.monotonic_ns(), time.process_time()
        index = _WARM_UP
        while time.monotonic_ns() - start_ns < seconds * 1e9:
            before = time.monotonic_ns()
            pipeline.process(_at(frames, index, interval_ns))
            frame_ms.append((time.monotonic_ns() - before) / 1e6)
            whole.add("frame", frame_ms[-1])
            index += 1
        wall = (time.monotonic_ns() - start_ns) / 1e9
        cores = (time.process_time() - start_cpu) / wall
        return Measurement(
            case=case,
            frames=index - _WARM_UP,
            seconds=wall,
            fps=(index - _WARM_UP) / wall,
            cores=cores,
            peak_mib=_peak_mib(),
            frame=whole.summary()[0],
            stages=pipeline.timer.summary(),
            frame_ms=[round(value, 3) for value in frame_ms[-_KEPT:]],
            open_s=open_s,
        )


def measure_apart(
    cases: Sequence[Case],
    config: Config,
    spec: str | Path,
    background: str | Path,
    seconds: float,
    *,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> list[Measurement]:
    """Measure each case in a process of its own, so that neither memory nor thread pools carry over.

    Raises:
        LiveCompError: As `measure`.
    """
    found = []
    context = multiprocessing.get_context("spawn")
    for done, case in enumerate(cases):
        progress(done, len(cases))
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            found.append(pool.submit(measure, case, config, spec, background, seconds).result())
    progress(len(cases), len(cases))
    return found


def _at(frames: Sequence[Frame], index: int, interval_ns: int) -> Frame:
    """Frame number `index` of an endless clip that runs to its end and back again, so that nothing jumps."""
    period = max(1, 2 * (len(frames) - 1))
    place = index % period
    frame = frames[place if place < len(frames) else period - place]
    return Frame(frame.rgb, index * interval_ns)


def _peak_mib() -> float:
    if sys.platform == "win32":
        return float("nan")
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
