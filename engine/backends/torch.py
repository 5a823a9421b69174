"""torch, as a reference that shares no code with the other backends: the model's operators one by one.

On a GPU in channels-last order, under autocast for half types, and as one CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from engine.backend import Backend, Options, Probe
from engine.errors import BackendError
from engine.machine import cpu_name
from engine.model_file import ModelFile
from engine.spec import ModelSpec, TensorMap

if TYPE_CHECKING:
    from torch import Tensor

    from engine.backends.torch_graph import TorchGraph

__all__ = ["BACKENDS"]

_WARM_UP = 3


class _TorchProgram:
    """A graph on a device; see `Program`."""

    def __init__(self, torch: Any, graph: TorchGraph, spec: ModelSpec, report: Mapping[str, str]) -> None:  # noqa: ANN401
        self._torch = torch
        self._graph = graph
        self.spec = spec
        precision = report["precision"]
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._autocast = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision)
        self._captured: tuple[Callable[[], None], dict[str, Tensor], dict[str, Tensor]] | None = None
        if self._device == "cuda":
            self._captured = self._capture()
        self.report = {**report, "cuda_graph": "yes"} if self._captured else report

    def run(self, feed: TensorMap) -> TensorMap:
        """See `Program.run`."""
        if self._captured is None:
            outputs = self._forward({name: self._torch.tensor(array) for name, array in feed.items()})
        else:
            replay, inputs, outputs = self._captured
            for name, tensor in inputs.items():
                tensor.copy_(self._torch.tensor(feed[name]))
            replay()
        kinds = {tensor.name: tensor.dtype for tensor in self.spec.outputs}
        on_cpu = {
            name: (value.float() if value.is_floating_point() else value).cpu() for name, value in outputs.items()
        }
        return {name: value.numpy().astype(kinds[name], copy=True) for name, value in on_cpu.items()}

    def close(self) -> None:
        """See `Program.close`."""
        self._captured = None

    def _forward(self, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        torch = self._torch
        with (
            torch.inference_mode(),
            torch.autocast(self._device, dtype=self._autocast, enabled=self._autocast is not None),
        ):
            return self._graph(feed)

    def _capture(self) -> tuple[Callable[[], None], dict[str, Tensor], dict[str, Tensor]]:
        torch = self._torch
        self._graph.to("cuda")
        inputs = {}
        for name, array in self.spec.example_feed().items():
            tensor = torch.from_numpy(array).cuda()
            inputs[name] = tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                self._forward(inputs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self._forward(inputs)
        return graph.replay, inputs, outputs


def _import() -> ModuleType:
    try:
        import torch
    except (ImportError, OSError) as error:
        raise BackendError(f"torch cannot be imported ({error}); pip install 'livecomp[train]'") from error
    return torch


def _probe() -> Probe:
    torch = _import()
    if torch.cuda.is_available():
        return Probe(torch.__version__, str(torch.cuda.get_device_name()), ("fp32", "fp16", "bf16"))
    return Probe(torch.__version__, cpu_name(), ("fp32",))


def _load(model: ModelFile, options: Options) -> _TorchProgram:
    torch = _import()
    probe = _probe()
    from engine.backends.torch_graph import TorchGraph

    graph, spec = TorchGraph.read(model, options.shapes)
    torch.set_num_threads(options.threads)
    report = {"version": probe.version, "device": probe.device, "precision": options.precision or "fp32"}
    return _TorchProgram(torch, graph, spec, report | {"threads": str(torch.get_num_threads())})


BACKENDS: dict[str, Backend] = {
    "torch": Backend(
        name="torch",
        package="torch",
        install="pip install 'livecomp[train]'",
        precisions=("fp32", "bf16", "fp16"),
        prober=_probe,
        loader=_load,
    )
}
