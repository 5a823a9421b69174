"""The networks that go into a graph, in the precision in which they are to run."""

from __future__ import annotations

from engine import EngineError, ModelFile
from engine.precision import with_precision
from livecomp.errors import ModelError
from livecomp.gpu.matte import USED
from livecomp.models import model_path

__all__ = ["load_networks"]


def load_networks(matte_model: str, harmonizer: str, precision: str) -> dict[str, bytes]:
    """What `build_graph` takes.

    Only the networks compute in half precision; the arithmetic around them, which inverts covariances and picks levels,
    stays in float32.

    Args:
        matte_model: "general", "landscape" or "both".
        harmonizer: "live" for the network; others have none.
        precision: "fp32", "fp16" or "bf16".

    Raises:
        ModelError: A network is missing or damaged.
        DependencyError: It has not been fetched.
    """
    wanted = {name: f"selfie_{name}" for name in USED[matte_model]}
    if harmonizer == "live":
        wanted["live"] = "live"
    try:
        return {name: with_precision(ModelFile.read(model_path(file)).data, precision) for name, file in wanted.items()}
    except EngineError as error:
        raise ModelError(f"the networks for whole frames cannot be loaded: {error}") from error
