"""What a backend must offer: say whether it works here, and load a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from engine.errors import BackendError, EngineError
from engine.model_file import ModelFile
from engine.spec import ModelSpec, TensorMap

__all__ = ["Backend", "Options", "Probe", "Program"]


@dataclass(frozen=True, slots=True)
class Options:
    """How a model is to be run.

    Args:
        threads: Upper bound on CPU threads.
        precision: "fp32", "fp16", "bf16" or "int8"; None for the backend's default.
        shapes: Shapes for inputs that leave some side open, by name; such sides are 1 where nothing is said.
        resident: Names of inputs that seldom change. A backend with memory of its own keeps their values there, and
            copies one again only when it is another array, or one that can be written to. An array that is fed again
            must be read-only and hold what it held before.
    """

    threads: int = 1
    precision: str | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    resident: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Probe:
    """What a backend found on this machine.

    Args:
        version: Of its package.
        device: What it would run on.
        precisions: Those that this machine computes natively, the default one first.
    """

    version: str
    device: str
    precisions: tuple[str, ...]


class Program(Protocol):
    """A loaded model. It trusts what it is fed: `ModelRunner` checks both ways."""

    @property
    def spec(self) -> ModelSpec:
        """What it takes and gives."""
        ...

    @property
    def report(self) -> Mapping[str, str]:
        """What really runs: version, device, precision and whatever else the backend decided."""
        ...

    def run(self, feed: TensorMap) -> TensorMap:
        """Run once on C-contiguous inputs; the outputs are new arrays."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


@dataclass(frozen=True, slots=True)
class Backend:
    """One entry of the registry.

    Args:
        name: Its name.
        package: The distribution it needs, whose version keys what is cached.
        install: How to install that.
        precisions: All it can be asked for.
        prober: See `probe`.
        loader: See `load`.
    """

    name: str
    package: str
    install: str
    precisions: tuple[str, ...]
    prober: Callable[[], Probe]
    loader: Callable[[ModelFile, Options], Program]

    def probe(self) -> Probe:
        """Look whether it can run here.

        Raises:
            BackendError: It cannot; says why.
        """
        try:
            return self.prober()
        except BackendError:
            raise
        except Exception as error:  # the boundary of foreign code: drivers that are half there raise what they like
            raise BackendError(f"{self.name} cannot be used here: {_words(error)}") from error

    def load(self, model: ModelFile, options: Options) -> Program:
        """Load a model.

        Raises:
            ModelFileError: The model is damaged, or has something that the backend does not know.
            BackendError: The backend cannot run here.
            InferenceError: The model's first run failed.
        """
        try:
            return self.loader(model, options)
        except EngineError:
            raise
        except Exception as error:  # likewise
            raise BackendError(f"{self.name} cannot load {model.name}: {_words(error)}") from error

    def check(self, options: Options) -> None:
        """Compare options with what the backend knows.

        Raises:
            BackendError: The precision is not one of its own, or there is no thread.
        """
        if options.precision is not None and options.precision not in self.precisions:
            raise BackendError(
                f"{self.name} has no precision {options.precision!r}; known are {', '.join(self.precisions)}"
            )
        if options.threads < 1:
            raise BackendError(f"{self.name} needs at least one thread, received {options.threads}")


def _words(error: Exception) -> str:
    """What an error says, and of foreign code also what it is."""
    return str(error) if isinstance(error, EngineError) else repr(error)
