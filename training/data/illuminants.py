"""Measured lights as polynomial colour maps, and pairs of photographs under two of them.

The 350 lights of ccHarmony (Niu et al., MIT licence): for each a map from its colours to those under standard light and
one back, over the features ``r g b rg rb gb r² g² b² rgb 1`` of values 0..255. A person under light A, brought to
standard light and from there to light B, has a cast that no jitter produces. From the coefficients and the list that
are published in https://github.com/bcmi/Image-Harmonization-Dataset-ccHarmony::

    python -m training.data.illuminants polynomial_matching_coefficients.zip DATA/illuminants/ccharmony_train.npz
        --names train_list.txt
"""

from __future__ import annotations

import argparse
import io
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.kernels import apply_lights

__all__ = ["Lights", "cast_picture", "load_lights", "read_coefficients"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

FEATURES = 11


@dataclass(frozen=True)
class Lights:
    """Colour maps of K lights.

    Args:
        to_standard: (K, 3, 11) float32.
        from_standard: (K, 3, 11) float32.
    """

    to_standard: F32
    from_standard: F32

    def __len__(self) -> int:
        return int(self.to_standard.shape[0])


def load_lights(path: Path) -> Lights:
    """Read the ``.npz`` with arrays `to_standard` and `from_standard`.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is damaged, or an array is missing, has another shape or holds what is no number.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no such file; expected the measured lights that python -m training.data.illuminants writes"
        )
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: expected the .npz of measured lights, received another file or a part of it")
    maps = {}
    with np.load(path, allow_pickle=False) as archive:
        for name in ("to_standard", "from_standard"):
            if name not in archive.files:
                raise ValueError(f"{path}: expected an array {name!r}, received {archive.files}")
            try:
                maps[name] = np.ascontiguousarray(archive[name], np.float32)
            except (zipfile.BadZipFile, zlib.error) as error:
                raise ValueError(f"{path}: {name}: damaged: {error}") from error
    for name, value in maps.items():
        if value.ndim != 3 or value.shape[1:] != (3, FEATURES) or value.shape != maps["to_standard"].shape:
            raise ValueError(f"{path}: {name}: expected (K, 3, {FEATURES}), received {value.shape}")
        if len(value) < 2 or not np.isfinite(value).all():
            raise ValueError(f"{path}: {name}: expected finite maps of two lights or more, received {value.shape}")
    return Lights(maps["to_standard"], maps["from_standard"])


def cast_picture(rgb: F32, lights: Lights, source: int, target: int) -> tuple[F32, float]:
    """A picture taken under light `source`, as it would look under light `target`.

    Args:
        rgb: (H, W, 3) float32, encoded sRGB, 0..1.
        lights: The maps.
        source: Index of the light it was taken under.
        target: Index of the other light.

    Returns:
        The new picture, like `rgb`, and the share of its values that had to be clipped, 0..1.
    """
    planar = np.ascontiguousarray(rgb.reshape(-1, 3).T, np.float32)
    into = np.empty_like(planar)
    clipped = apply_lights(planar, into, lights.to_standard[source], lights.from_standard[target])
    return np.ascontiguousarray(into.T).reshape(rgb.shape), float(clipped)


def read_coefficients(path: Path, names: list[str] | None = None) -> dict[str, tuple[F64, F64]]:
    """The maps of each light to standard light and back, by the name of the photograph that they were measured on.

    Args:
        path: Folder or .zip with NAME.npy and NAME_reverse.npy, (3, 11) each, at any depth.
        names: Which; None for all.

    Raises:
        FileNotFoundError: There are none, or one of them is missing.
        ValueError: A file is damaged or has another shape.
    """
    files = _coefficient_files(path)
    wanted = sorted(set(names)) if names is not None else sorted(n for n in files if f"{n}_reverse" in files)
    if not wanted:
        raise FileNotFoundError(f"{path}: expected NAME.npy and NAME_reverse.npy, found none")
    return {name: (_read_map(path, files, name), _read_map(path, files, f"{name}_reverse")) for name in wanted}


def _coefficient_files(path: Path) -> dict[str, bytes]:
    if path.is_dir():
        return {file.stem: file.read_bytes() for file in path.rglob("*.npy")}
    try:
        with zipfile.ZipFile(path) as archive:
            members = [Path(name) for name in archive.namelist()]
            return {member.stem: archive.read(str(member)) for member in members if member.suffix == ".npy"}
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: expected a folder or a .zip, received another file or a damaged one") from error


def _read_map(path: Path, files: dict[str, bytes], name: str) -> F64:
    if name not in files:
        raise FileNotFoundError(f"{path}: no {name}.npy; expected NAME.npy and NAME_reverse.npy for every light")
    try:
        values = np.asarray(np.load(io.BytesIO(files[name]), allow_pickle=False), np.float64)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: {name}.npy cannot be read: {error}") from error
    if values.shape != (3, FEATURES) or not np.isfinite(values).all():
        raise ValueError(f"{path}: {name}.npy: expected (3, {FEATURES}) finite values, received {values.shape}")
    return values


def main(argv: list[str] | None = None) -> int:
    """Command line; returns 0, or 3 when a file cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m training.data.illuminants", description="Put the lights of ccHarmony into one file."
    )
    parser.add_argument("coefficients", type=Path, help="folder or .zip with NAME.npy and NAME_reverse.npy")
    parser.add_argument("out", type=Path, help=".npz to write")
    parser.add_argument(
        "--names", type=Path, help="list of NAME_a, NAME_b: only these; test lights stay out of training"
    )
    options = parser.parse_args(argv)
    try:
        names = None
        if options.names is not None:
            names = [line.rpartition("_")[0] for line in options.names.read_text("utf-8").split()]
        maps = read_coefficients(options.coefficients, names)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        there, back = zip(*maps.values(), strict=True)
        with options.out.open("wb") as file:
            np.savez(file, ids=np.array(list(maps)), to_standard=np.stack(there), from_standard=np.stack(back))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 3
    sys.stdout.write(f"{len(maps)} lights in {options.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
