from __future__ import annotations

import subprocess
import sys

import pytest

import livecomp


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after some code."""
    script = f"import sys\n{code}\nprint(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_the_public_names() -> None:
    assert livecomp.__all__ == ["Composite", "Correction", "Frame", "__version__", "harmonize", "process"]
    for name in livecomp.__all__:
        assert getattr(livecomp, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = livecomp.nonsense


def test_importing_the_package_is_cheap() -> None:
    loaded = loaded_by("import livecomp")
    assert not loaded & {"torch", "onnxruntime", "numba", "av", "mediapipe", "openvino", "pydantic", "rich", "typer"}


def test_the_command_line_needs_no_heavy_package_to_print_its_help() -> None:
    loaded = loaded_by("import livecomp.cli")
    assert not loaded & {"torch", "onnxruntime", "numba", "av", "mediapipe", "openvino"}


def test_processing_never_loads_torch_or_gpu_packages() -> None:
    loaded = loaded_by("import livecomp.api")
    assert not loaded & {"torch", "mediapipe", "openvino", "tensorrt", "tensorrt_rtx", "cuda", "kornia", "training"}


def test_where_there_is_no_v4l2_a_call_can_still_be_imported() -> None:
    loaded_by(
        "import numpy, cv2, av, asyncio, platformdirs, pydantic, subprocess, http.server, numba, onnxruntime, typer\n"
        "import sysconfig; sysconfig.get_config_vars()\n"  # read once, from a file named after the system
        "sys.platform = 'win32'; sys.modules['fcntl'] = None; sys.modules['grp'] = None; sys.modules['msvcrt'] = sys\n"
        "import livecomp.control.call, livecomp.doctor, livecomp.bench"
    )
