"""Everything that can harmonize a composite, behind one call, so that all of it lands in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, InvalidProtobuf
from pydantic import ValidationError
from torch import nn

from training.baselines import BASELINES
from training.benchmarks import BenchmarkPair
from training.checkpoint import CheckpointError, load_checkpoint, load_weights
from training.config import TrainConfig
from training.fit import Fit, FitOptions, fit_parameters
from training.models.phnet import DIVISOR, PHNet
from training.objectives import build_objective
from training.parameters import Parameters

__all__ = [
    "Baseline",
    "LiveOnnx",
    "LivePredictor",
    "LiveTorch",
    "Oracle",
    "PHNetDense",
    "PHNetFitted",
    "Predictor",
    "check_names",
    "load_live",
    "load_predictors",
    "open_checkpoint",
]

F32Array = NDArray[np.float32]

OUTPUTS = {"matrix": (1, 3, 3), "curves": (1, 3, 32), "log_gain": (1, 16, 16)}
"""What a live model gives, by name."""


class Predictor(Protocol):
    """Something that harmonizes.

    Args:
        name: In tables and files.
    """

    name: str

    def predict(self, pair: BenchmarkPair) -> F32Array:
        """The harmonized picture, (S, S, 3) float32 0..1; only what is inside the mask counts.

        Only an oracle may look at `pair.truth`.
        """


def _squashed(composite: F32Array, mask: F32Array, side: int) -> tuple[F32Array, F32Array]:
    """A composite and its mask as a live model takes them: (1, 3, S, S) and (1, 1, S, S)."""
    small, shape = (cv2.resize(a, (side, side), interpolation=cv2.INTER_AREA) for a in (composite, mask))
    return np.ascontiguousarray(small.transpose(2, 0, 1), np.float32)[None], np.asarray(shape, np.float32)[None, None]


class LivePredictor(Predictor, Protocol):
    """A predictor that speaks in parameters, which can be weakened and applied at any size."""

    def parameters(self, composite: F32Array, mask: F32Array) -> Parameters:
        """What the network says about a composite (H, W, 3) with its mask (H, W), float32 0..1, of any size."""


class Baseline:
    """A function of `training.baselines`, by name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._function = BASELINES[name]

    def predict(self, pair: BenchmarkPair) -> F32Array:
        """See `Predictor`."""
        return self._function(pair.composite, pair.mask)


class Oracle:
    """The best parameters there are for a pair, found from its truth: the ceiling of every live model."""

    def __init__(self, options: FitOptions | None = None, name: str = "oracle") -> None:
        self.name = name
        self._options = options or FitOptions(rounds=16)

    def predict(self, pair: BenchmarkPair) -> F32Array:
        """See `Predictor`."""
        return fit_parameters(pair.composite, pair.truth, pair.mask, self._options).parameters.apply(pair.composite)


class LiveOnnx:
    """An ONNX file with inputs `composite` (1, 3, S, S) and `mask` (1, 1, S, S), and the outputs of a live model.

    Args:
        path: The file.
        name: In tables; the file's stem when None.
        threads: Of onnxruntime.

    Raises:
        ValueError: The file is no ONNX model, or its inputs and outputs are not those of a live model.
    """

    def __init__(self, path: Path, name: str | None = None, threads: int = 1) -> None:
        self.name = name or path.stem
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf) as error:
            raise ValueError(f"{path}: cannot be read as an ONNX model: {error}") from error
        shapes = {node.name: node.shape for node in self._session.get_inputs()}
        outputs = {node.name for node in self._session.get_outputs()}
        if set(shapes) != {"composite", "mask"} or not set(OUTPUTS) <= outputs:
            raise ValueError(
                f"{path}: expected inputs composite and mask and outputs {', '.join(OUTPUTS)}, "
                f"received {', '.join(shapes)} and {', '.join(sorted(outputs))}"
            )
        side = shapes["composite"][-1]
        if not isinstance(side, int):
            raise ValueError(f"{path}: expected a fixed input size, received {shapes['composite']}")
        self.side = side

    def parameters(self, composite: F32Array, mask: F32Array) -> Parameters:
        """What the network says about a composite of any size.

        Args:
            composite: (H, W, 3) float32, encoded sRGB, 0..1.
            mask: (H, W) float32, 0..1.
        """
        small, shape = _squashed(composite, mask, self.side)
        feed = {"composite": small, "mask": shape}
        matrix, curves, log_gain = (
            np.asarray(a, np.float64).reshape(OUTPUTS[name][1:])
            for name, a in zip(OUTPUTS, self._session.run(list(OUTPUTS), feed), strict=True)
        )
        return Parameters(matrix, curves, log_gain)

    def predict(self, pair: BenchmarkPair) -> F32Array:
        """See `Predictor`."""
        return self.parameters(pair.composite, pair.mask).apply(pair.composite)


class LiveTorch:
    """A live model as it was trained, before any export.

    Args:
        network: In evaluation mode.
        side: Of its input, pixels.
        name: In tables.
    """

    def __init__(self, network: nn.Module, side: int, name: str) -> None:
        self.name = name
        self.side = side
        self._network = network

    def parameters(self, composite: F32Array, mask: F32Array) -> Parameters:
        """As `LiveOnnx.parameters`."""
        small, shape = _squashed(composite, mask, self.side)
        with torch.inference_mode():
            correction, _ = self._network(torch.from_numpy(small), torch.from_numpy(shape))
        matrix, curves, log_gain = (np.asarray(part[0].double().numpy()) for part in correction)
        return Parameters(matrix, curves, log_gain)

    def predict(self, pair: BenchmarkPair) -> F32Array:
        """See `Predictor`."""
        return self.parameters(pair.composite, pair.mask).apply(pair.composite)


def open_checkpoint(path: Path) -> tuple[nn.Module, TrainConfig]:
    """The averaged network of a checkpoint, in evaluation mode, and the configuration it was trained with.

    Raises:
        ValueError: The file is damaged, has no usable configuration, or its weights do not fit it.
    """
    try:
        found = load_checkpoint(path)
        config = TrainConfig.model_validate(found.meta.get("config"))
        network = build_objective(config).build()
        load_weights(network, found.tensors.get("ema") or found.tensors.get("model", {}), str(path))
    except CheckpointError as error:
        raise ValueError(str(error)) from error
    except ValidationError as error:
        raise ValueError(f"{path}: its configuration cannot be used: {error}") from error
    return network.eval(), config


class PHNetDense:
    """PHNet's own picture; the last one is kept, since the fitted form asks for it again.

    Args:
        model: In evaluation mode.
        name: In tables.
    """

    def __init__(self, model: PHNet, name: str) -> None:
        self.name = name
        self._model = model
        self._last: tuple[BenchmarkPair, F32Array] | None = None

    def predict(self, pair: BenchmarkPair) -> F32Array:
        """See `Predictor`."""
        if self._last is not None and self._last[0] is pair:
            return self._last[1]
        if any(side % DIVISOR for side in pair.mask.shape):
            sides = "x".join(map(str, pair.mask.shape))
            raise ValueError(f"{self.name}: PHNet needs sides that are multiples of {DIVISOR} pixels, received {sides}")
        composite = torch.from_numpy(np.ascontiguousarray(pair.composite.transpose(2, 0, 1)))[None]
        with torch.inference_mode():
            out = self._model(composite, torch.from_numpy(pair.mask)[None, None])
        picture = np.ascontiguousarray(out[0].numpy().transpose(1, 2, 0), np.float32)
        self._last = (pair, picture)
        return picture


class PHNetFitted:
    """PHNet's picture as matrix, curves and gain: what a call would show of it.

    Args:
        dense: Whose picture is fitted.
        options: Of the fit.

    Attributes:
        last_fit: What the latest fit lost against PHNet's picture.
    """

    def __init__(self, dense: PHNetDense, options: FitOptions | None = None) -> None:
        self.name = f"{dense.name} as parameters"
        self.last_fit: Fit | None = None
        self._dense = dense
        self._options = options or FitOptions()

    def predict(self, pair: BenchmarkPair) -> F32Array:
        """See `Predictor`."""
        picture = self._dense.predict(pair)
        self.last_fit = fit_parameters(pair.composite, picture, pair.mask, self._options)
        return self.last_fit.parameters.apply(pair.composite)


def check_names(predictors: Sequence[Predictor]) -> None:
    """Make sure that tables can tell all of them apart.

    Raises:
        ValueError: Two have one name.
    """
    names = [predictor.name for predictor in predictors]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"expected models of different names, received {', '.join(twice)} more than once")


def load_live(path: Path) -> LivePredictor:
    """A live model by its file: ``.onnx``, or ``.safetensors`` of a training run.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: It is of another kind, damaged, or holds another model.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such model")
    if path.suffix == ".onnx":
        return LiveOnnx(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: expected .onnx or .safetensors, received {path.suffix}")
    network, config = open_checkpoint(path)
    if config.model != "live":
        raise ValueError(f"{path}: expected a live model, received a checkpoint of {config.model}")
    return LiveTorch(network, config.data.size, _run_name(path))


def _run_name(path: Path) -> str:
    """Runs all call their checkpoints alike, so the folder belongs to the name."""
    return f"{path.parent.name}/{path.stem}"


def load_predictors(models: list[Path], baselines: bool = True, oracle: bool = True) -> list[Predictor]:
    """Models by their files, after the baselines.

    ``.onnx`` is an exported live model, ``.safetensors`` a checkpoint of a training run: of a live model, or of PHNet,
    which then comes twice, dense and as fitted parameters.

    Raises:
        ValueError: A file is of another kind, or does not hold what its suffix says.
        FileNotFoundError: A file is missing.
    """
    predictors: list[Predictor] = [Baseline(name) for name in BASELINES] if baselines else [Baseline("composite")]
    for path in models:
        if path.suffix == ".safetensors" and path.exists():
            network, _ = open_checkpoint(path)
            if isinstance(network, PHNet):
                dense = PHNetDense(network, _run_name(path))
                predictors += [dense, PHNetFitted(dense)]
                continue
        predictors.append(load_live(path))
    if oracle:
        predictors.append(Oracle())
    return predictors
