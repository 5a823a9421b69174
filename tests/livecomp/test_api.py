from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

import livecomp
from livecomp import api
from livecomp.capture.demo import DemoSource
from livecomp.capture.registry import BUILT_IN_SOURCES
from livecomp.config import Config
from livecomp.errors import ConfigError, InputError, MatteError
from livecomp.media.image import read_image, write_image
from livecomp.media.video import VideoReader
from tests.livecomp.harmonizers.networks import neutral_outputs, write_network

PLAIN = Config.from_options({"harmonize": {"model": "reinhard"}})


@pytest.fixture
def short_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo, but 8 small frames of it."""
    monkeypatch.setitem(BUILT_IN_SOURCES, "demo", lambda: DemoSource((321, 181), seconds=8 / 30))


@pytest.fixture
def still(tmp_path: Path) -> Path:
    source = DemoSource((320, 180))
    source.open()
    frame = source.read()
    source.close()
    assert frame is not None
    path = tmp_path / "person.png"
    write_image(path, frame.rgb)
    return path


def composite_and_mask() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    rgb = rng.integers(40, 200, (70, 91, 3), np.uint8)
    mask = np.zeros((70, 91), np.uint8)
    mask[20:60, 30:70] = 255
    return rgb, mask


def test_harmonize_changes_the_person_alone() -> None:
    rgb, mask = composite_and_mask()
    rgb[mask > 0] //= 3
    before = rgb.copy()
    shown = livecomp.harmonize(rgb, mask, model="reinhard")
    np.testing.assert_array_equal(rgb, before)
    np.testing.assert_array_equal(shown[mask == 0], rgb[mask == 0])
    assert shown[mask > 0].mean() > 1.5 * rgb[mask > 0].mean()
    np.testing.assert_array_equal(shown, livecomp.harmonize(rgb, mask > 0, model="reinhard"))
    weak = livecomp.harmonize(rgb, mask, model="reinhard", color_strength=0.0, shading_strength=0.0)
    np.testing.assert_array_equal(weak, rgb)


def test_harmonize_takes_a_network_by_its_path_and_the_newest(tmp_path: Path) -> None:
    rgb, mask = composite_and_mask()
    path = tmp_path / "mine.onnx"
    for seconds, gain in enumerate((0.0, 0.25)):
        write_network(path, outputs=neutral_outputs() | {"log_gain": np.full((1, 16, 16), gain)})
        os.utime(path, (seconds, seconds))
        shown = livecomp.harmonize(rgb, mask, model=str(path))
        inside = mask > 0
        np.testing.assert_allclose(shown[inside], np.minimum(rgb[inside] * np.exp(gain), 255), atol=0.51 + gain)
        np.testing.assert_array_equal(shown[~inside], rgb[~inside])


def test_harmonize_refuses_what_it_cannot_use() -> None:
    rgb, mask = composite_and_mask()
    with pytest.raises(InputError, match=r"expected a mask of \(70, 91\)"):
        livecomp.harmonize(rgb, mask[:-1])
    with pytest.raises(InputError, match="empty"):
        livecomp.harmonize(rgb, np.zeros_like(mask))
    with pytest.raises(InputError, match=r"goes from 0 to 1: expected 0\.\.255"):
        livecomp.harmonize(rgb, mask // 255)
    with pytest.raises(InputError, match=r"expected a composite of \(H, W, 3\)"):
        livecomp.harmonize(mask, mask)
    with pytest.raises(ConfigError, match="known are"):
        livecomp.harmonize(rgb, mask, model="magic")


@pytest.mark.parametrize("strength", [-0.5, 1.5, float("nan")])
@pytest.mark.parametrize("name", ["color_strength", "shading_strength"])
def test_harmonize_refuses_a_strength_out_of_bounds(name: str, strength: float) -> None:
    picture, mask = np.zeros((32, 32, 3), np.uint8), np.eye(32, dtype=bool)
    with pytest.raises(ConfigError, match=name):
        livecomp.harmonize(picture, mask, model="identity", **{name: strength})


@pytest.mark.usefixtures("short_demo")
def test_a_video_and_a_picture_of_before_and_after(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    report = livecomp.process(
        "demo",
        "demo",
        tmp_path / "out.mp4",
        config=PLAIN,
        before_after=tmp_path / "pair.png",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert report.frames == 8
    assert report.slates == 0
    assert seen == [(done, 8) for done in range(1, 9)]
    assert {"segment", "look ahead", "composite", "write"} <= {row.stage for row in report.stages}
    reader = VideoReader(tmp_path / "out.mp4").open()
    times = []
    while (picture := reader.read()) is not None:
        times.append(picture[1])
    reader.close()
    assert len(times) == 8
    np.testing.assert_allclose(np.diff(times), 1e9 / 30, atol=2e5)
    assert read_image(tmp_path / "pair.png").shape[:2] == (181, 2 * 321 + 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4", "pair.png"]


def test_a_still_becomes_a_still(tmp_path: Path, still: Path) -> None:
    report = livecomp.process(still, "#204060", tmp_path / "out.png", config=PLAIN)
    assert report.frames == 1
    shown = read_image(tmp_path / "out.png")
    assert shown.shape == (180, 320, 3)
    assert shown[2, 2].tolist() == [0x20, 0x40, 0x60]


def test_a_folder_becomes_a_folder_and_names_what_failed(tmp_path: Path, still: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(still.read_bytes())
    (folder / "broken.jpg").write_bytes(b"no picture")
    report = livecomp.process(folder, "white", tmp_path / "out", config=PLAIN)
    assert report.frames == 2
    assert [path.name for path, _ in report.failed] == ["broken.jpg"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has been built without AVIF")
def test_pictures_that_are_read_but_not_written_become_png(tmp_path: Path, still: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("one.avif", "two.avif", "TWO.jpg"):
        Image.open(still).save(folder / name, quality=95)
    (folder / "three.heic").write_bytes(b"\0\0\0\x18ftypheic damaged, or of a kind whose reader is not installed")
    report = livecomp.process(folder, "white", tmp_path / "out", config=PLAIN)
    assert report.frames == 3
    assert [path.name for path, _ in report.failed] == ["three.heic"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"one.png", "two.avif.png", "TWO.jpg"}
    failed = api.harmonize_folder(folder, tmp_path / "out", tmp_path / "harmonized", model="mkl")
    assert (tmp_path / "harmonized" / "one.png").is_file()
    assert "one.avif" not in {path.name for path, _ in failed}


def test_a_folder_does_not_replace_the_background(tmp_path: Path, still: Path) -> None:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    beach = tmp_path / "out" / "beach.png"
    for path in (tmp_path / "in" / "a.png", tmp_path / "in" / beach.name, beach):
        path.write_bytes(still.read_bytes())
    report = livecomp.process(tmp_path / "in", beach, tmp_path / "out", config=PLAIN, overwrite=True)
    assert report.frames == 1
    assert [path.name for path, _ in report.failed] == ["beach.png"]
    assert "is an input" in str(report.failed[0][1])
    assert beach.read_bytes() == still.read_bytes()


def test_hidden_files_of_a_folder_are_no_pictures(tmp_path: Path, still: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(still.read_bytes())
    (folder / "._a.png").write_bytes(b"what macOS keeps beside a file")
    (folder / ".b.partial-0123456789ab.png").write_bytes(still.read_bytes())
    report = livecomp.process(folder, "white", tmp_path / "out", config=PLAIN)
    assert (report.frames, report.failed) == (1, [])
    (folder / "a.png").unlink()
    with pytest.raises(InputError, match="holds no picture"):
        livecomp.process(folder, "white", tmp_path / "out", config=PLAIN)


def test_inputs_and_existing_files_are_safe(tmp_path: Path, still: Path) -> None:
    before = still.read_bytes()
    with pytest.raises(ConfigError, match="is an input"):
        livecomp.process(still, "white", still, config=PLAIN, overwrite=True)
    with pytest.raises(ConfigError, match="is an input"):
        livecomp.process("demo", still, still, config=PLAIN, overwrite=True)
    same = tmp_path / "Person.png"  # as where the case of letters does not count
    same.hardlink_to(still)
    with pytest.raises(ConfigError, match="is an input"):
        livecomp.process(still, "white", same, config=PLAIN, overwrite=True)
    old = tmp_path / "old.png"
    old.write_bytes(b"kept")
    with pytest.raises(ConfigError, match="exists"):
        livecomp.process(still, "white", old, config=PLAIN)
    assert old.read_bytes() == b"kept"
    assert still.read_bytes() == before


def test_kinds_of_input_and_output_must_match(tmp_path: Path, still: Path) -> None:
    with pytest.raises(ConfigError, match="name a picture"):
        livecomp.process(still, "white", tmp_path / "out.mp4", config=PLAIN)
    with pytest.raises(ConfigError, match="name a video"):
        livecomp.process("demo", "white", tmp_path / "out.png", config=PLAIN)
    for name in ("out.mp4", "out.png"):
        with pytest.raises(ConfigError, match="name a folder such as out"):
            livecomp.process(tmp_path, "white", tmp_path / name, config=PLAIN)
    assert [path.name for path in tmp_path.iterdir()] == ["person.png"]


def test_a_run_that_stops_keeps_the_old_file(tmp_path: Path, short_demo: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from livecomp.segment.selfie import SelfieMatte

    true_predict, calls = SelfieMatte.predict, Counter[int]()

    def failing(self: SelfieMatte, rgb: np.ndarray) -> np.ndarray:
        calls[id(self)] += 1  # the matte of the same frame fails for those who look ahead and for those who write
        matte = true_predict(self, rgb)
        return matte * np.float32(np.nan) if calls[id(self)] == 5 else matte

    monkeypatch.setattr(SelfieMatte, "predict", failing)
    old = tmp_path / "out.mp4"
    old.write_bytes(b"kept")
    with pytest.raises(MatteError):
        livecomp.process("demo", "white", old, config=PLAIN, overwrite=True)
    assert old.read_bytes() == b"kept"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    calls.clear()
    slates = Config.from_options({"harmonize": {"model": "reinhard"}, "on_miss": "slate"})
    report = livecomp.process("demo", "white", old, config=slates, overwrite=True)
    assert (report.frames, report.slates) == (8, 1)


def test_three_folders(tmp_path: Path) -> None:
    rgb, mask = composite_and_mask()
    for folder, picture in (("composites", rgb), ("masks", mask[..., None].repeat(3, axis=2))):
        (tmp_path / folder).mkdir()
        write_image(tmp_path / folder / "one.png", picture)
    write_image(tmp_path / "composites" / "lonely.png", rgb)
    folders = [tmp_path / name for name in ("composites", "masks", "out")]
    failed = api.harmonize_folder(*folders, model="mkl")
    assert [path.name for path, _ in failed] == ["lonely.png"]
    assert [path.name for path in folders[2].iterdir()] == ["one.png"]
    with pytest.raises(InputError, match="holds no picture"):
        api.harmonize_folder(tmp_path, *folders[1:])


def test_of_two_masks_for_one_picture_none_is_taken(tmp_path: Path) -> None:
    rgb, mask = composite_and_mask()
    folders = [tmp_path / name for name in ("composites", "masks", "out")]
    for folder in folders[:2]:
        folder.mkdir()
    for name in ("one.png", "two.png"):
        write_image(folders[0] / name, rgb)
    for name in ("one.png", "one.jpg", "two.png"):
        write_image(folders[1] / name, mask[..., None].repeat(3, axis=2))
    ((failed, error),) = api.harmonize_folder(*folders, model="mkl")
    assert failed.name == "one.png"
    assert "one.jpg and one.png" in str(error)
    assert [path.name for path in folders[2].iterdir()] == ["two.png"]


def test_unknown_and_impossible_options_name_the_key() -> None:
    with pytest.raises(ConfigError, match=r"composite\.light_wrap.*received 3"):
        Config.from_options({"composite": {"light_wrap": 3}})
    with pytest.raises(ConfigError, match=r"composite\.wrap"):
        Config.from_options({"composite": {"wrap": 1}})
    with pytest.raises(ConfigError, match="known are"):
        Config.from_options({"segment": {"model": "magic"}}).build("white")
    with pytest.raises(ConfigError, match="no background"):
        Config().build("no-such-file.jpg")


@pytest.mark.usefixtures("short_demo")
def test_the_preset_reaches_the_encoder(tmp_path: Path) -> None:
    for preset, trellis in {"ultrafast": b"trellis=0", "slow": b"trellis=2"}.items():
        config = Config.from_options({"harmonize": {"model": "reinhard"}, "output": {"preset": preset}})
        out = tmp_path / f"{preset}.mp4"
        livecomp.process("demo", "white", out, config=config)
        assert trellis in out.read_bytes()  # x264 writes its settings into the stream
    with pytest.raises(ConfigError, match=r"output\.preset: .*'superfast'.*received 'quick'"):
        Config.from_options({"output": {"preset": "quick"}})


@pytest.mark.parametrize(
    ("smooth", "stage"),
    [({}, "look ahead"), ({"look_ahead_s": 0}, "smooth"), ({"filter": "one_euro"}, "smooth")],
)
@pytest.mark.usefixtures("short_demo")
def test_videos_look_ahead_unless_told_otherwise(tmp_path: Path, smooth: dict[str, object], stage: str) -> None:
    config = Config.from_options({"harmonize": {"model": "reinhard"}, "smooth": smooth})
    report = livecomp.process("demo", "white", tmp_path / "out.mp4", config=config)
    stages = {row.stage for row in report.stages}
    assert stage in stages
    assert len(stages & {"look ahead", "smooth"}) == 1
