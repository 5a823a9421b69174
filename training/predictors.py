"""Everything that can harmonize a composite, behind one call, so that all of it lands in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf
from safetensors import SafetensorError
from safetensors.torch import load_file

from training.baselines import BASELINES
from training.benchmarks import BenchmarkPair
from training.fit import FitOptions, Parameters, fit_parameters
from training.models.phnet import PHNET_CONFIGS, PHNet, build_phnet

__all__ = ["Baseline", "LiveOnnx", "Oracle", "PHNetDense", "PHNetFitted", "Predictor", "load_predictors", "open_phnet"]

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
        except (Fail, InvalidGraph, InvalidProtobuf) as error:
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
        side = (self.side, self.side)
        small = cv2.resize(composite, side, interpolation=cv2.INTER_AREA)
        shape = cv2.resize(mask, side, interpolation=cv2.INTER_AREA)
        feed = {"composite": np.ascontiguousarray(small.transpose(2, 0, 1))[None], "mask": shape[None, None]}
        matrix, curves, log_gain = (
            np.asarray(a, np.float64).reshape(OUTPUTS[name][1:])
            for name, a in zip(OUTPUTS, self._session.run(list(OUTPUTS), feed), strict=True)
        )
        return Parameters(matrix, curves, log_gain)

    def predict(self, pair: BenchmarkPair) -> F32Array:
        """See `Predictor`."""
        return self.parameters(pair.composite, pair.mask).apply(pair.composite)


def open_phnet(path: Path) -> PHNet:
    """Read a safetensors checkpoint of PHNet; which size it is follows from its weights.

    Raises:
        ValueError: The weights are of no PHNet known here; the first difference is named.
    """
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: cannot be read as safetensors: {error}") from error
    gate = state.get("se.gate.2.weight")
    for name, config in PHNET_CONFIGS.items():
        if gate is not None and gate.shape[0] == config.channels[-1]:
            model = build_phnet(name)
            try:
                model.load_state_dict(state)
            except RuntimeError as error:
                raise ValueError(f"{path}: weights do not fit {name}: {str(error).splitlines()[1].strip()}") from error
            return model.eval()
    raise ValueError(f"{path}: expected weights of {' or '.join(PHNET_CONFIGS)}, received {sorted(state)[:3]} ...")


class PHNetDense:
    """PHNet's own picture.

    Args:
        model: In evaluation mode.
        name: In tables.
    """

    def __init__(self, model: PHNet, name: str) -> None:
        self.name = name
        self._model = model

    def predict(self, pair: BenchmarkPair) -> F32Array:
        """See `Predictor`."""
        composite = torch.from_numpy(np.ascontiguousarray(pair.composite.transpose(2, 0, 1)))[None]
        with torch.inference_mode():
            out = self._model(composite, torch.from_numpy(pair.mask)[None, None])
        return np.asarray(out[0].numpy().transpose(1, 2, 0), np.float32)


class PHNetFitted:
    """PHNet's picture as matrix, curves and gain: what a call would show of it.

    Args:
        dense: Whose picture is fitted.
        options: Of the fit.
    """

    def __init__(self, dense: PHNetDense, options: FitOptions | None = None) -> None:
        self.name = f"{dense.name} as parameters"
        self._dense = dense
        self._options = options or FitOptions()

    def predict(self, pair: BenchmarkPair) -> F32Array:
        """See `Predictor`."""
        picture = self._dense.predict(pair)
        return fit_parameters(pair.composite, picture, pair.mask, self._options).parameters.apply(pair.composite)


def load_predictors(models: list[Path], baselines: bool = True, oracle: bool = True) -> list[Predictor]:
    """Models by their files after the baselines: ``.onnx`` (live) or ``.safetensors`` (PHNet, dense and fitted).

    Raises:
        ValueError: A file is of another kind, or does not hold what its suffix says.
        FileNotFoundError: A file is missing.
    """
    predictors: list[Predictor] = [Baseline(name) for name in BASELINES] if baselines else [Baseline("composite")]
    for path in models:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such model")
        if path.suffix == ".onnx":
            predictors.append(LiveOnnx(path))
        elif path.suffix == ".safetensors":
            dense = PHNetDense(open_phnet(path), path.stem)
            predictors += [dense, PHNetFitted(dense)]
        else:
            raise ValueError(f"{path}: expected .onnx (live model) or .safetensors (PHNet), received {path.suffix}")
    if oracle:
        predictors.append(Oracle())
    return predictors
