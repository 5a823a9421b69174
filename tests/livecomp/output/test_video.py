from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from livecomp.errors import ContractError, OutputError
from livecomp.frame import Composite, Frame, freeze
from livecomp.output.video import VideoSink
from tests.livecomp.clips import FPS, composite, decode, number_of

SUFFIXES = [".mp4", ".m4v", ".mov", ".mkv", ".webm"]


def make_sink(path: Path, size_wh: tuple[int, int] = (64, 48), **options: object) -> VideoSink:
    arguments = {"fps": Fraction(FPS), "time_base": Fraction(1, FPS), **options}
    return VideoSink(path, size_wh=size_wh, **arguments)  # type: ignore[arg-type]


def write(sink: VideoSink, composites: list[Composite]) -> None:
    sink.open()
    for picture in composites:
        sink.write(picture)
    sink.close()


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def noise(count: int, size_wh: tuple[int, int] = (128, 96)) -> list[Composite]:
    rng = np.random.default_rng(0)
    pictures = [freeze(rng.integers(0, 255, (size_wh[1], size_wh[0], 3), np.uint8)) for _ in range(count)]
    return [Composite(rgb, index * 40_000_000) for index, rgb in enumerate(pictures)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_container_holds_all_frames_at_their_times(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    write(make_sink(path), [composite(index) for index in range(30)])
    pictures = decode(path)
    assert [number_of(rgb) for rgb, _ in pictures] == list(range(30))
    assert np.allclose([time for _, time in pictures], np.arange(30) / FPS, atol=5e-4)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_colours_survive_and_are_tagged(tmp_path: Path) -> None:
    patches = np.array(
        [
            (255, 255, 255),
            (0, 0, 0),
            (128, 128, 128),
            (255, 0, 0),
            (0, 255, 0),
            (0, 0, 255),
            (200, 150, 120),
            (20, 60, 90),
        ]
    )
    rgb = np.repeat(patches, 32, axis=0)[None].repeat(64, axis=0).astype(np.uint8)
    path = tmp_path / "out.mp4"
    write(
        make_sink(path, (256, 64), quality=1), [Composite(freeze(rgb.copy()), index * 40_000_000) for index in range(3)]
    )
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    planes = [np.frombuffer(plane, np.uint8).reshape(plane.height, -1) for plane in frame.planes]
    red, green, blue = patches.T / 255
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    expected = (16 + 219 * luma, 128 + 224 * (blue - luma) / 1.8556, 128 + 224 * (red - luma) / 1.5748)
    for plane, want, step in zip(planes, expected, (32, 16, 16), strict=True):
        got = plane[plane.shape[0] // 2, step // 2 : step * 8 : step].astype(float)
        assert np.abs(got - want).max() <= 2
    assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (1, 1, 1, 1)


@pytest.mark.parametrize("time_base", [Fraction(1, 90_000), Fraction(1001, 30_000), Fraction(1, 1000)])
def test_variable_times_are_kept_to_the_tick(tmp_path: Path, time_base: Fraction) -> None:
    ticks = [0, 1, 5, 6, 20, 21]
    times = [round(tick * time_base * 100 * 1_000_000_000) for tick in ticks]
    base = composite(3)
    path = tmp_path / "out.mp4"
    write(make_sink(path, time_base=time_base), [Composite(base.rgb, pts_ns) for pts_ns in times])
    assert np.allclose([time for _, time in decode(path)], np.array(times) / 1e9, atol=1e-6)


def test_times_before_zero_and_late_starts_are_kept(tmp_path: Path) -> None:
    base = composite(3)
    for first_ns in (-80_000_000, 1_400_000_000):
        path = tmp_path / "out.mkv"
        write(make_sink(path), [Composite(base.rgb, first_ns + index * 40_000_000) for index in range(5)])
        times = [time for _, time in decode(path)]
        assert np.allclose(np.diff(times), 0.04, atol=2e-3)
        assert times[0] == pytest.approx(max(0.0, first_ns / 1e9), abs=2e-3)


def test_times_closer_than_a_tick_are_pushed_apart(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write(make_sink(path), [Composite(composite(0).rgb, pts_ns) for pts_ns in (0, 1000, 2000, 200_000_000)])
    assert [round(time * FPS) for _, time in decode(path)] == [0, 1, 2, 5]


@pytest.mark.parametrize(("suffix", "coded"), [(".mp4", (66, 48)), (".mkv", (66, 48)), (".webm", (65, 47))])
def test_odd_sides_are_padded_by_one_for_h264_alone(tmp_path: Path, suffix: str, coded: tuple[int, int]) -> None:
    rgb = np.full((47, 65, 3), 60, np.uint8)
    rgb[-8:, -9:] = 200
    path = tmp_path / f"out{suffix}"
    write(make_sink(path, (65, 47)), [Composite(freeze(rgb.copy()), index * 40_000_000) for index in range(5)])
    shown = decode(path)[0][0]
    assert (shown.shape[1], shown.shape[0]) == coded
    assert np.abs(shown[:47, :65].astype(int) - rgb).mean() < 8
    assert shown[-1, -1].min() > 170


@pytest.mark.parametrize("size_wh", [(1, 1), (2, 2), (3, 1), (17, 16)])
def test_tiny_sizes(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    path = tmp_path / "out.mp4"
    write(make_sink(path, size_wh), [composite(index, size_wh) for index in range(5)])
    assert len(decode(path)) == 5


@pytest.mark.parametrize("suffix", sorted({*SUFFIXES} - {".webm"}))
def test_pixels_that_are_not_square_stay_so(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    write(make_sink(path, sample_aspect_ratio=Fraction(64, 45)), [composite(index) for index in range(3)])
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(64, 45)


@pytest.mark.parametrize(("aspect", "shown_wh"), [(Fraction(64, 45), (91, 48)), (Fraction(1, 2), (64, 96))])
def test_webm_gets_square_pixels_as_it_does_not_state_their_shape(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, aspect: Fraction, shown_wh: tuple[int, int]
) -> None:
    path = tmp_path / "out.webm"
    write(make_sink(path, sample_aspect_ratio=aspect), [composite(index) for index in range(3)])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == shown_wh
        assert stream.sample_aspect_ratio == 1
    assert [number_of(rgb) for rgb, _ in decode(path)] == [0, 1, 2]
    assert "square pixels" in caplog.text


def test_mp4_index_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write(make_sink(path), [composite(index) for index in range(5)])
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_no_frame_is_an_error_and_no_file(tmp_path: Path) -> None:
    sink = make_sink(tmp_path / "out.mp4")
    sink.open()
    with pytest.raises(OutputError, match="no frame"):
        sink.close()
    assert list(tmp_path.iterdir()) == []


def test_the_final_name_appears_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"older")
    sink = make_sink(path)
    sink.open()
    sink.write(composite(0))
    assert path.read_bytes() == b"older"
    sink.close()
    assert len(decode(path)) == 1


def test_abort_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"older")
    sink = make_sink(path)
    sink.open()
    for index in range(10):
        sink.write(composite(index))
    sink.abort()
    sink.abort()
    sink.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mp4"]
    assert path.read_bytes() == b"older"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.95, 0.999])
def test_a_full_disk_at_any_moment_is_an_error_and_keeps_the_older_file(
    tmp_path: Path, suffix: str, share: float
) -> None:
    pictures = noise(12)
    whole = tmp_path / f"whole{suffix}"
    write(make_sink(whole, (128, 96)), pictures)
    size = whole.stat().st_size
    whole.unlink()
    path = tmp_path / f"out{suffix}"
    path.write_bytes(b"older")
    sink = make_sink(path, (128, 96))
    with file_limit(int(size * share)):
        with pytest.raises(OutputError, match="File too large"):
            write(sink, pictures)
        sink.abort()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"older"


def test_after_a_failed_write_close_gives_nothing_the_final_name(tmp_path: Path) -> None:
    sink = make_sink(tmp_path / "out.mp4", (128, 96), quality=1)
    sink.open()
    pictures = noise(60)
    with file_limit(20_000), pytest.raises(OutputError, match="File too large"):  # noqa: PT012  # at any of them
        for picture in pictures:
            sink.write(picture)
    sink.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="not open"):
        sink.write(pictures[0])


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    for path, reason in (
        (tmp_path / "missing" / "out.mp4", "No such file"),
        (tmp_path / "folder.mp4", "is a folder"),
        (tmp_path / "out.xyz", r"received '\.xyz'"),
        (tmp_path / "out", "received 'none'"),
        (tmp_path / "out.avi", r"received '\.avi'"),  # has no times of its own
    ):
        with pytest.raises(OutputError, match=reason):
            make_sink(path).open()
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.mp4"]


def test_a_missing_encoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    with pytest.raises(OutputError, match="no libx264"):
        make_sink(tmp_path / "out.mp4").open()
    assert list(tmp_path.iterdir()) == []


def test_raw_frames_and_other_sizes_are_refused(tmp_path: Path) -> None:
    sink = make_sink(tmp_path / "out.mp4")
    sink.open()
    with pytest.raises(ContractError, match="received Frame"):
        sink.write(Frame(composite(0).rgb, 0))  # type: ignore[arg-type]
    with pytest.raises(ContractError, match=r"\(32, 32\)"):
        sink.write(composite(0, (32, 32)))
    sink.abort()


def test_names_that_ffmpeg_would_take_for_a_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("10:20 take.mp4", "take%03d.mp4", "ünï.mkv", "n" * 200 + ".mp4"):
        write(make_sink(Path(name)), [composite(index) for index in range(3)])
        assert len(decode(tmp_path / name)) == 3


def test_two_videos_whose_names_begin_alike_are_written_at_once(tmp_path: Path) -> None:
    paths = [tmp_path / f"{'long title ' * 8}{end}.mp4" for end in ("out", "pair")]
    sinks = [make_sink(path) for path in paths]
    for sink in sinks:
        sink.open()
    for index in range(10):
        for sink, shift in zip(sinks, (0, 20), strict=True):
            sink.write(Composite(composite(index + shift).rgb, composite(index).pts_ns))
    for sink in sinks:
        sink.close()
    assert [number_of(rgb) for rgb, _ in decode(paths[0])] == list(range(10))
    assert [number_of(rgb) for rgb, _ in decode(paths[1])] == list(range(20, 30))
    assert len(list(tmp_path.iterdir())) == len(paths)
