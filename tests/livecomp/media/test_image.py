from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from livecomp.errors import InputError, OutputError
from livecomp.frame import U8Array
from livecomp.media.image import IMAGE_SUFFIXES, partial_path, read_image, read_mask, write_image
from tests.livecomp.clips import corner_picture, write_animation


def smooth_picture(size_wh: tuple[int, int] = (80, 60)) -> U8Array:
    small = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    return np.asarray(cv2.resize(small, size_wh, interpolation=cv2.INTER_CUBIC), np.uint8)


def exif_notes(orientation: int) -> bytes:
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Insert an EXIF segment that holds nothing but an orientation."""
    body = b"Exif\0\0" + exif_notes(orientation)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def palette_png(indices: U8Array, palette: list[tuple[int, int, int]]) -> bytes:
    """A PNG of colour type 3, which OpenCV does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = indices.shape
    rows = b"".join(b"\0" + row.tobytes() for row in indices)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    colors = b"".join(bytes(color) for color in palette)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"PLTE", colors)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_format_is_written_and_read(tmp_path: Path, suffix: str) -> None:
    rgb = smooth_picture()
    path = tmp_path / f"picture{suffix}"
    write_image(path, rgb)
    again = read_image(path)
    limit = 9 if suffix in (".jpg", ".jpeg", ".webp") else 0
    assert np.abs(again.astype(int) - rgb).mean() <= limit / 3
    assert not again.flags.writeable
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_channels_are_not_swapped(tmp_path: Path) -> None:
    write_image(tmp_path / "red.png", np.full((4, 4, 3), (255, 0, 0), np.uint8))
    stored = cv2.imread(str(tmp_path / "red.png"))
    assert stored is not None
    assert tuple(stored[0, 0]) == (0, 0, 255)
    assert tuple(read_image(tmp_path / "red.png")[0, 0]) == (255, 0, 0)


@pytest.mark.parametrize(
    ("orientation", "red"),
    [(1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (4, (-1, 0)), (5, (0, 0)), (6, (0, -1)), (8, (-1, 0))],
)
def test_orientation_tag_is_applied_to_pictures_and_masks(
    tmp_path: Path, orientation: int, red: tuple[int, int]
) -> None:
    path = tmp_path / "turned.jpg"
    encoded = cv2.imencode(".jpg", cv2.cvtColor(corner_picture(), cv2.COLOR_RGB2BGR))[1].tobytes()
    path.write_bytes(with_orientation(encoded, orientation))
    rgb = read_image(path)
    assert rgb.shape == ((64, 48, 3) if orientation >= 5 else (48, 64, 3))
    corner = rgb[red].astype(int)
    assert corner[0] > 200
    assert corner[1] < 60
    mask = np.zeros((48, 64), np.uint8)
    mask[:16, :20] = 255
    path.write_bytes(with_orientation(cv2.imencode(".jpg", mask)[1].tobytes(), orientation))
    turned = read_mask(path)
    assert turned.shape == rgb.shape[:2]
    assert turned[red] > 250


def with_exif(data: bytes, exif: bytes) -> bytes:
    """Append EXIF notes to a PNG, or to a WebP of 9x6 pixels without any."""
    if data.startswith(b"RIFF"):
        announced = struct.pack("<4sIIHBHB", b"VP8X", 10, 0x18, 9 - 1, 0, 6 - 1, 0)
        notes = struct.pack("<4sI", b"EXIF", len(exif)) + exif + b"\0" * (len(exif) % 2)
        riff = b"WEBP" + announced + data[12:] + notes
        return struct.pack("<4sI", b"RIFF", len(riff)) + riff
    end = struct.pack(">I4s", len(exif), b"eXIf") + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    return data[:-12] + end + data[-12:]


@pytest.mark.parametrize("suffix", [".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_opacity_is_turned_as_the_colours_are(tmp_path: Path, suffix: str, orientation: int) -> None:
    shape = np.full((6, 9), 255, np.uint8)
    shape[:2, :4] = 0
    options = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else []
    for name, picture in (("mask", cv2.merge([shape, shape, shape, shape])), ("grey", shape)):
        encoded = cv2.imencode(suffix, picture, options)[1].tobytes()
        (tmp_path / f"{name}{suffix}").write_bytes(with_exif(encoded, exif_notes(orientation)))
    columns, rows = (9, 6) if orientation < 5 else (6, 9)
    mask = read_mask(tmp_path / f"mask{suffix}")
    assert mask.shape == (rows, columns)
    right, lower = orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)
    assert mask[-1 if lower else 0, -1 if right else 0] == 0
    assert (mask == 0).sum() == 8
    assert (mask == read_mask(tmp_path / f"grey{suffix}")).all()


@pytest.mark.parametrize("length", [0, 5, 9, 13, 21])
def test_notes_that_are_cut_off_turn_nothing(tmp_path: Path, length: int) -> None:
    shape = np.zeros((6, 9), np.uint8)
    encoded = cv2.imencode(".png", cv2.merge([shape, shape, shape, shape]))[1].tobytes()
    (tmp_path / "mask.png").write_bytes(with_exif(encoded, exif_notes(6)[:length]))
    assert read_mask(tmp_path / "mask.png").shape == (6, 9)


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_of_an_animation_the_first_picture_is_taken_with_a_warning(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_animation(tmp_path / f"moving{suffix}", [10, 20])
    assert read_image(path)[0, 0, 0] == 10
    assert f"moving{suffix} is an animation" in caplog.text
    caplog.clear()
    read_image(write_animation(tmp_path / f"still{suffix}", [10]))
    assert not caplog.text


def test_grey_and_palette_and_deep_and_transparent_pictures(tmp_path: Path) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    assert (read_image(tmp_path / "grey.png") == grey[..., None]).all()

    deep = np.full((5, 7, 3), (0x1234, 0x8000, 0xFFFF), np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    assert np.abs(read_image(tmp_path / "deep.png")[0, 0].astype(int) - (0xFF, 0x80, 0x12)).max() <= 1

    rgba = np.full((5, 7, 4), (10, 20, 30, 0), np.uint8)
    cv2.imwrite(str(tmp_path / "clear.png"), rgba)
    assert tuple(read_image(tmp_path / "clear.png")[0, 0]) == (30, 20, 10)

    (tmp_path / "palette.png").write_bytes(
        palette_png(np.array([[0, 1], [1, 2]], np.uint8), [(1, 2, 3), (200, 0, 9), (0, 0, 0)])
    )
    assert tuple(read_image(tmp_path / "palette.png")[0, 1]) == (200, 0, 9)


def test_masks_of_every_kind(tmp_path: Path) -> None:
    shape = np.zeros((6, 9), np.uint8)
    shape[2:4, 3:8] = 255
    cv2.imwrite(str(tmp_path / "grey.png"), shape)
    cv2.imwrite(str(tmp_path / "colour.png"), cv2.merge([shape, shape, shape]))
    cv2.imwrite(str(tmp_path / "deep.png"), shape.astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "cutout.png"), cv2.merge([255 - shape, shape // 2, shape // 3, shape]))
    cv2.imwrite(str(tmp_path / "opaque.png"), cv2.merge([shape, shape, shape, np.full_like(shape, 255)]))
    cv2.imwrite(
        str(tmp_path / "deep_cutout.png"), cv2.merge([shape * 0, shape * 0, shape * 0, shape]).astype(np.uint16) * 257
    )
    (tmp_path / "palette.png").write_bytes(palette_png((shape > 0).astype(np.uint8), [(0, 0, 0), (255, 255, 255)]))
    for path in sorted(tmp_path.iterdir()):
        mask = read_mask(path)
        assert mask.dtype == np.uint8, path.name
        assert (mask == shape).all(), path.name
        assert not mask.flags.writeable


@pytest.mark.parametrize("size_wh", [(1, 1), (1, 77), (7680, 4320)])
def test_extreme_sizes(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    rgb = np.full((size_wh[1], size_wh[0], 3), (9, 99, 199), np.uint8)
    write_image(tmp_path / "picture.png", rgb)
    assert (read_image(tmp_path / "picture.png") == rgb).all()


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.98])
def test_truncated_pictures_are_refused(
    tmp_path: Path, suffix: str, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"picture{suffix}"
    rgb = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    write_image(path, rgb)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=r"damaged|cannot be decoded"):
        read_image(path)
    assert "[ERROR" not in capfd.readouterr().err  # OpenCV's own complaints do not reach the user


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture\n" * 20)
    for name, reason in (
        ("empty.png", "is empty"),
        ("text.png", "is no picture"),
        ("none.png", "No such file"),
        ("", "Is a dir"),
    ):
        for read in (read_image, read_mask):
            with pytest.raises(InputError, match=reason):
                read(tmp_path / name)


def test_float_pictures_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "float.tiff"), np.full((4, 4), 0.5, np.float32))
    with pytest.raises(InputError, match="float32"):
        read_mask(tmp_path / "float.tiff")


def test_unwritable_places_keep_the_older_file(tmp_path: Path) -> None:
    rgb = smooth_picture()
    (tmp_path / "folder.png").mkdir()
    for path, reason in (
        (tmp_path / "none" / "x.png", "No such file"),
        (tmp_path / "folder.png", "Is a directory|directory"),
        (tmp_path / "x.xyz", r"received '\.xyz'"),
        (tmp_path / "x", "received 'none'"),
    ):
        with pytest.raises(OutputError, match=reason):
            write_image(path, rgb)
    with pytest.raises(OutputError, match=r"cannot be encoded as \.webp"):
        write_image(tmp_path / "wide.webp", np.zeros((1, 20000, 3), np.uint8))
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.png"]


def test_a_write_that_fails_midway_keeps_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"older")

    def fail(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError, match="No space left"):
        write_image(path, smooth_picture())
    assert path.read_bytes() == b"older"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.png"]


def test_partial_names_fit_wherever_the_final_name_does(tmp_path: Path) -> None:
    name = "人" * 80 + ".png"
    assert len(partial_path(tmp_path / name).name.encode()) <= 255
    assert len(partial_path(tmp_path / f"{'𝒾' * 30}.{'𝓃' * 30}").name.encode()) <= 255
    write_image(tmp_path / name, smooth_picture())
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_partial_names_differ_though_the_final_names_begin_alike(tmp_path: Path) -> None:
    names = [f"{'long title ' * 8}{end}.mp4" for end in ("out", "pair", "pair")]
    partials = {partial_path(tmp_path / name) for name in names}
    assert len(partials) == len(names)
    assert {(path.name[0], path.suffix, path.parent) for path in partials} == {(".", ".mp4", tmp_path)}
