"""The two things LiveComp does, as functions: harmonize one composite, process a whole file."""

from __future__ import annotations

import functools
import itertools
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from livecomp.capture import Source, SourceInfo
from livecomp.capture.registry import open_source
from livecomp.capture.still import StillSource
from livecomp.composite.beside import beside_size
from livecomp.composite.fused import FusedCompositor
from livecomp.config import Config, Stages
from livecomp.errors import ConfigError, DependencyError, InputError, LiveCompError, MatteError, OutputError
from livecomp.foresight import Foresight, make_foresight
from livecomp.frame import Frame, U8Array, freeze
from livecomp.harmonizers import Harmonizer
from livecomp.harmonizers.lowres import make_input
from livecomp.harmonizers.registry import is_network_file, make_harmonizer
from livecomp.media.image import IMAGE_SUFFIXES, READ_SUFFIXES, read_image, read_mask, write_image
from livecomp.media.video import VIDEO_SUFFIXES
from livecomp.offline import BesidePicker, Output, run_offline
from livecomp.output import Sink
from livecomp.output.still import StillSink
from livecomp.output.video import VideoSink
from livecomp.paths import exists, followed, is_dir, is_file
from livecomp.pipeline import Pipeline
from livecomp.stats import StageSummary

__all__ = [
    "DEFAULT_MODEL",
    "ProcessReport",
    "harmonize",
    "harmonize_file",
    "harmonize_folder",
    "make_folder",
    "process",
]

Progress = Callable[[int, int | None], None]

DEFAULT_MODEL = "live"


def harmonize(
    composite_rgb: U8Array,
    mask: U8Array,
    *,
    model: str = DEFAULT_MODEL,
    color_strength: float = 1.0,
    shading_strength: float = 1.0,
) -> U8Array:
    """Make the person in a finished composite fit the rest of the picture.

    Args:
        composite_rgb: (H, W, 3) uint8 sRGB.
        mask: (H, W) uint8, 255 = person, or bool.
        model: Name of a harmonizer, or path of an .onnx file as `python -m training.export_live` writes it.
        color_strength: Strength of the colour correction, 0..1.
        shading_strength: Strength of the shading, 0..1.

    Returns:
        (H, W, 3) uint8 sRGB, a new array; identical to the composite wherever the mask is 0.

    Raises:
        InputError: The two differ in size, or the mask is empty or goes from 0 to 1 alone.
        ConfigError: There is no such model, or a strength is not 0..1.
        ModelError: The network cannot be loaded or run, or gives no correction.
    """
    for name, strength in (("color_strength", color_strength), ("shading_strength", shading_strength)):
        if not 0 <= strength <= 1:
            raise ConfigError(f"{name}: expected 0..1, received {strength}")
    rgb, alpha = np.asarray(composite_rgb), np.asarray(mask)
    if alpha.dtype == np.bool_:
        alpha = alpha.astype(np.uint8) * np.uint8(255)
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise InputError(f"expected a composite of (H, W, 3) uint8, received {rgb.shape} {rgb.dtype}")
    if alpha.dtype != np.uint8 or alpha.shape != rgb.shape[:2]:
        raise InputError(
            f"expected a mask of {rgb.shape[:2]} uint8 or bool like the composite, received {alpha.shape} {alpha.dtype}"
        )
    if not alpha.any():
        raise InputError("the mask is empty: there is nobody to harmonize; 255 (or True) marks the person")
    if alpha.max() == 1:
        raise InputError("the mask goes from 0 to 1: expected 0..255, where 255 marks the person, or bool")
    frame = Frame(freeze(rgb.copy()), 0).with_alpha(alpha.copy())
    harmonizer = _opened_harmonizer(model)
    small, small_alpha = make_input(frame.rgb, frame.rgb, frame.require_alpha(), harmonizer.input_size)
    correction = harmonizer.predict(small, small_alpha)
    compositor = FusedCompositor(color_strength=color_strength, shading_strength=shading_strength, threads=1)
    return compositor.compose(frame, frame.rgb, correction).rgb.copy()


def _opened_harmonizer(model: str) -> Harmonizer:
    path = Path(model).absolute()
    if is_network_file(model) and is_file(path):
        return _opened_once(str(path), path.stat().st_mtime_ns)
    return _opened_once(model, 0)


@functools.lru_cache(maxsize=2)
def _opened_once(model: str, modified_ns: int) -> Harmonizer:
    """Open, and kept so; a file that has been written again since is another."""
    harmonizer = make_harmonizer(model)
    harmonizer.open()
    return harmonizer


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """What `process` did.

    Args:
        frames: Frames or pictures written.
        slates: How many of them are slates, since they had no valid matte.
        seconds: Wall time from the first frame to the finished file.
        stages: Time of each stage; reading and writing run beside the others.
        failed: Pictures of a folder that could not be processed, with the reason.
    """

    frames: int
    slates: int
    seconds: float
    stages: list[StageSummary] = field(default_factory=list)
    failed: list[tuple[Path, LiveCompError]] = field(default_factory=list)


def process(
    source: str | Path | Callable[[], Source],
    background: str | Path,
    output: str | Path,
    *,
    config: Config | None = None,
    before_after: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ProcessReport:
    """Put the person of a video, a picture or a folder of pictures into another scene.

    Args:
        source: A video, a picture, a folder, or "demo"; or what makes a source, not yet open, anew with every call.
        background: A picture, a video, a colour such as "#204060", or "blur".
        output: A video, a picture, or a folder, like the source; of a picture of a kind that is not written, such as
            HEIC, the result in a folder is a PNG.
        config: All other options; the defaults when None.
        before_after: Also write the plain composite beside the harmonized one, as a video or, with a picture's
            suffix, one frame from the middle.
        overwrite: Replace existing files; they stay untouched until the new ones are complete.
        progress: Called with the frames done and the total, None when unknown.

    Raises:
        InputError: The source or the background cannot be used.
        OutputError: The result cannot be written.
        ConfigError: The options contradict each other, or the output would replace an input.
        MatteError: A frame has no valid matte and the configuration says stop.
    """
    config = config or Config()
    progress = progress or _no_progress
    target = Path(output)
    extra = None if before_after is None else Path(before_after)
    targets = [target] if extra is None else [target, extra]
    folder = None if callable(source) else Path(source)
    if source == "":  # as of a variable of a shell that is not set; an empty path would be the current folder
        raise InputError("the input has no name: expected a video, a picture, a folder of pictures, or 'demo'")
    inputs = [Path(background)] if folder is None else [folder, Path(background)]
    check_targets(inputs, targets, overwrite=overwrite)
    stages = config.build(background)
    if folder is not None and is_dir(folder):
        if extra is not None:
            raise ConfigError("before/after works for one video or picture, not for a folder")
        if target.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES and not is_dir(target):
            raise ConfigError(f"{folder} is a folder; name a folder such as {target.stem} instead of {target.name}")
        pipeline = Pipeline(_for_pictures(stages, config), on_miss=config.on_miss)
        return _process_folder(
            folder, Path(background), pipeline, target, config, overwrite=overwrite, progress=progress
        )
    looks_ahead = config.smooth.filter == "steady" and config.smooth.look_ahead_s > 0
    make_source = source if callable(source) else functools.partial(open_source, source)
    foresight = make_foresight(make_source(), background, config) if looks_ahead else None
    return _process_one(make_source(), stages, foresight, target, extra, config, progress)


def _process_one(
    reader: Source,
    stages: Stages,
    foresight: Foresight | None,
    target: Path,
    extra: Path | None,
    config: Config,
    progress: Progress,
) -> ProcessReport:
    with closing(reader) as source:
        source.open()
        total = source.info.frame_count
        outputs = [Output(_make_sink(target, source.info, config))]
        if extra is not None:
            as_picture = extra.suffix.lower() in IMAGE_SUFFIXES
            info = replace(source.info, size_wh=beside_size(source.info.size_wh), is_still=as_picture)
            picker = BesidePicker(only_frame=(total or 1) // 2 if as_picture else None)
            outputs.append(Output(_make_sink(extra, info, config), picker, "before/after", picker.rest))
        if source.info.is_still:
            stages = _for_pictures(stages, config)
        done = itertools.count(1)
        with ExitStack() as opened:
            foreseen = None
            if foresight is not None and not source.info.is_still:
                foreseen = opened.enter_context(foresight).correction
            pipeline = opened.enter_context(
                Pipeline(stages, on_miss=config.on_miss, keep_plain=extra is not None, foreseen=foreseen)
            )
            start_ns = time.monotonic_ns()
            frames = run_offline(source, pipeline, outputs, on_frame=lambda: progress(next(done), total))
    seconds = (time.monotonic_ns() - start_ns) / 1e9
    return ProcessReport(frames, pipeline.missed, seconds, pipeline.timer.summary())


def _for_pictures(stages: Stages, config: Config) -> Stages:
    """The stages for single pictures, for whose sizes it does not pay to build something for a GPU, unless wanted."""
    return stages if config.compute == "gpu" else replace(stages, whole=None)


def _process_folder(
    folder: Path,
    background: Path,
    pipeline: Pipeline,
    target: Path,
    config: Config,
    *,
    overwrite: bool,
    progress: Progress,
) -> ProcessReport:
    """Every picture on its own, with filters started anew; one that fails is named in the report, the others go on."""
    pictures = _pictures(folder, READ_SUFFIXES)
    make_folder(target)
    frames = 0
    failed: list[tuple[Path, LiveCompError]] = []
    with pipeline:
        start_ns = time.monotonic_ns()
        for done, (picture, name) in enumerate(zip(pictures, _result_names(pictures), strict=True), 1):
            result = target / name
            try:
                check_targets([picture, background], [result], overwrite=overwrite)
                pipeline.reset()
                with closing(StillSource(picture)) as source:
                    source.open()
                    frames += run_offline(source, pipeline, [Output(_make_sink(result, source.info, config))])
            except (InputError, MatteError, ConfigError, DependencyError) as error:
                failed.append((picture, error))
            progress(done, len(pictures))
    seconds = (time.monotonic_ns() - start_ns) / 1e9
    return ProcessReport(frames, pipeline.missed, seconds, pipeline.timer.summary(), failed)


def harmonize_file(
    composite: Path,
    mask: Path,
    output: Path,
    *,
    model: str = DEFAULT_MODEL,
    color_strength: float = 1.0,
    shading_strength: float = 1.0,
    overwrite: bool = False,
) -> None:
    """`harmonize` for pictures on disk; the result appears complete or not at all.

    Raises:
        InputError: A picture cannot be read, or as `harmonize`.
        OutputError: The result cannot be written.
        ConfigError: The output exists and `overwrite` is False, or it is one of the inputs.
    """
    check_targets([composite, mask], [output], overwrite=overwrite)
    result = harmonize(
        read_image(composite),
        read_mask(mask),
        model=model,
        color_strength=color_strength,
        shading_strength=shading_strength,
    )
    write_image(output, result)


def harmonize_folder(
    composites: Path,
    masks: Path,
    output: Path,
    *,
    model: str = DEFAULT_MODEL,
    color_strength: float = 1.0,
    shading_strength: float = 1.0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[tuple[Path, LiveCompError]]:
    """`harmonize_file` for every picture of a folder whose stem a mask has too; named as by `process`.

    Returns:
        The pictures that failed, with the reason; the others are done.

    Raises:
        InputError: A folder is missing or holds no picture.
        OutputError: The output folder cannot be made.
    """
    masks_by_stem: dict[str, list[Path]] = {}
    for path in _pictures(masks, IMAGE_SUFFIXES):
        masks_by_stem.setdefault(path.stem, []).append(path)
    pictures = _pictures(composites, READ_SUFFIXES)
    make_folder(output)
    failed: list[tuple[Path, LiveCompError]] = []
    for done, (picture, name) in enumerate(zip(pictures, _result_names(pictures), strict=True), 1):
        try:
            found = masks_by_stem.get(picture.stem, [])
            if not found:
                raise InputError(f"no mask named {picture.stem}.* in {masks}")
            if len(found) > 1:
                names = " and ".join(path.name for path in found)
                raise InputError(f"{masks} has several masks for it, {names}; keep one of them")
            harmonize_file(
                picture,
                found[0],
                output / name,
                model=model,
                color_strength=color_strength,
                shading_strength=shading_strength,
                overwrite=overwrite,
            )
        except (InputError, ConfigError, DependencyError) as error:
            failed.append((picture, error))
        if progress is not None:
            progress(done, len(pictures))
    return failed


def check_targets(sources: Sequence[Path], targets: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse results that would replace an input, each other, or a file that is to be kept.

    Raises:
        ConfigError: One of them would.
    """
    taken = {_identity(path) for path in sources if exists(path)}
    for target in targets:
        identity = _identity(target)
        if identity in taken:
            raise ConfigError(f"{target} is an input or another output; give this output a name of its own")
        if is_file(target) and not overwrite:
            raise ConfigError(f"{target} exists; give another name, or allow replacing it with --yes")
        taken.add(identity)


def _identity(path: Path) -> Path | tuple[int, int]:
    """What is equal for two names of one file: macOS and Windows know a file by other cases of its letters too."""
    try:
        found = path.stat()
    except OSError:  # not there yet
        return followed(path)
    return (found.st_dev, found.st_ino) if found.st_ino else followed(path)


def _make_sink(path: Path, info: SourceInfo, config: Config) -> Sink:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        if not info.is_still:
            raise ConfigError(f"{path} is a picture, but {info.name} is a video; name a video such as {path.stem}.mp4")
        return StillSink(path)
    if info.is_still:
        raise ConfigError(f"{info.name} is a picture; name a picture such as {path.stem}.png instead of {path.name}")
    copy_from = info.path if config.output.audio else None
    return VideoSink(
        path,
        size_wh=info.size_wh,
        fps=info.fps,
        time_base=info.time_base,
        copy_from=copy_from,
        quality=config.output.quality,
        preset=config.output.preset,
        sample_aspect_ratio=info.sample_aspect_ratio,
    )


def _result_names(pictures: Sequence[Path]) -> list[str]:
    """What the results of the pictures of a folder are called: as these, but PNG where their kind is not written."""
    stems = Counter(picture.stem.lower() for picture in pictures)

    def name_of(picture: Path) -> str:
        if picture.suffix.lower() in IMAGE_SUFFIXES:
            return picture.name
        return f"{picture.stem if stems[picture.stem.lower()] == 1 else picture.name}.png"

    return [name_of(picture) for picture in pictures]


def _pictures(folder: Path, suffixes: Collection[str]) -> list[Path]:
    if not is_dir(folder):
        raise InputError(f"{folder} is not a folder that you may read")
    try:
        # names that begin with a dot are what a run left that was killed, and what macOS keeps beside files
        visible = (path for path in folder.iterdir() if not path.name.startswith("."))
        found = sorted(path for path in visible if path.suffix.lower() in suffixes)
    except OSError as error:
        raise InputError(f"cannot read the folder {folder}: {error.strerror}") from error
    if not found:
        raise InputError(f"{folder} holds no picture ({', '.join(sorted(suffixes))})")
    return found


def make_folder(path: Path) -> None:
    """Make a folder for results, unless it is there.

    Raises:
        OutputError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path}: {error.strerror}") from error


def _no_progress(done: int, total: int | None) -> None:
    """Nobody watches."""
