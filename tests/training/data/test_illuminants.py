"""Reading lights, and casting pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from training.data.illuminants import Lights, cast_picture, load_lights, main


def test_a_cast_and_its_way_back(lights: Lights) -> None:
    rgb = np.random.default_rng(0).uniform(0.1, 0.6, (9, 7, 3)).astype(np.float32)
    there, clipped = cast_picture(rgb, lights, 0, 1)
    np.testing.assert_allclose(there, rgb * np.array([1.0, 0.85, 0.7]), atol=1e-5)
    assert clipped == 0
    back, _ = cast_picture(there, lights, 1, 0)
    np.testing.assert_allclose(back, rgb, atol=1e-5)


def test_files_are_checked(tmp_path: Path, lights: Lights) -> None:
    path = tmp_path / "lights.npz"
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_lights(path)
    np.savez(path, to_standard=lights.to_standard)
    with pytest.raises(ValueError, match="expected an array 'from_standard'"):
        load_lights(path)
    np.savez(path, to_standard=lights.to_standard, from_standard=lights.from_standard[:2])
    with pytest.raises(ValueError, match=r"expected \(K, 3, 11\), received \(2, 3, 11\)"):
        load_lights(path)
    np.savez(path, to_standard=lights.to_standard, from_standard=np.full_like(lights.from_standard, np.nan))
    with pytest.raises(ValueError, match="from_standard: expected finite maps"):
        load_lights(path)
    np.savez(path, to_standard=lights.to_standard[:1], from_standard=lights.from_standard[:1])
    with pytest.raises(ValueError, match="maps of two lights or more"):
        load_lights(path)
    np.savez(path, to_standard=lights.to_standard, from_standard=lights.from_standard)
    assert len(load_lights(path)) == 4


def published(folder: Path, names: list[str]) -> Path:
    """A folder like that of the published coefficients, each map full of its own number."""
    folder.mkdir()
    for number, name in enumerate(names):
        np.save(folder / f"{name}.npy", np.full((3, 11), float(number)))
        np.save(folder / f"{name}_reverse.npy", np.full((3, 11), -float(number)))
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_published_coefficients_become_lights(packed: bool, tmp_path: Path) -> None:
    source = published(tmp_path / "coefficients", ["8D5U_7", "IMG_2", "IMG_1"])
    if packed:
        source = Path(shutil.make_archive(str(tmp_path / "c"), "zip", tmp_path, "coefficients"))
    (tmp_path / "list.txt").write_text("IMG_1_a\nIMG_1_b\n8D5U_7_a\n")
    out = tmp_path / "data" / "lights.npz"
    assert main([str(source), str(out), "--names", str(tmp_path / "list.txt")]) == 0
    lights = load_lights(out)
    np.testing.assert_array_equal(lights.to_standard[:, 0, 0], [0, 2])
    np.testing.assert_array_equal(lights.from_standard[:, 2, 10], [0, -2])
    assert main([str(source), str(out)]) == 0
    assert len(load_lights(out)) == 3


def test_coefficients_that_are_not_all_there_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "lights.npz"
    source = published(tmp_path / "coefficients", ["a", "b"])
    (source / "b_reverse.npy").unlink()
    (tmp_path / "list.txt").write_text("a_1\nb_1\n")
    assert main([str(source), str(out), "--names", str(tmp_path / "list.txt")]) == 3
    assert "no b_reverse.npy" in capsys.readouterr().err
    np.save(source / "b_reverse.npy", np.zeros((3, 10)))
    assert main([str(source), str(out)]) == 3
    assert "b_reverse.npy: expected (3, 11) finite values, received (3, 10)" in capsys.readouterr().err
    (source / "b_reverse.npy").write_bytes(b"cut")
    assert main([str(source), str(out)]) == 3
    assert "b_reverse.npy cannot be read" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), str(out)]) == 3
    assert "found none" in capsys.readouterr().err
    assert main([str(tmp_path / "list.txt"), str(out)]) == 3
    assert "expected a folder or a .zip" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("kind", ["empty", "cut", "changed", "array", "folder"])
def test_damaged_files_are_told(tmp_path: Path, lights: Lights, kind: str) -> None:
    path = tmp_path / "lights.npz"
    np.savez(path, to_standard=lights.to_standard, from_standard=lights.from_standard)
    whole = path.read_bytes()
    if kind == "array":
        with path.open("wb") as file:
            np.save(file, lights.to_standard)
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    else:
        flipped = whole[:400] + bytes([whole[400] ^ 1]) + whole[401:]
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "changed": flipped}[kind])
    with pytest.raises(ValueError, match=r"lights\.npz: .*(expected the \.npz|damaged)"):
        load_lights(path)


def test_the_measured_lights(shared: Path) -> None:
    measured = load_lights(shared / "data" / "illuminants" / "ccharmony_train.npz")
    assert len(measured) == 250
    skin = np.full((4, 4, 3), (0.78, 0.6, 0.5), np.float32)
    casts = np.stack([cast_picture(skin, measured, 0, k)[0][0, 0] for k in range(0, 250, 10)])
    assert casts.std(0).min() > 0.02
