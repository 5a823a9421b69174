"""What goes wrong with engines.

::

    EngineError (RuntimeError)
     ├── ModelFileError (ValueError)       the file is no usable model
     ├── BackendError (ImportError)        the backend is not installed, or cannot run on this machine
     ├── TensorError (TypeError)           an input has the wrong name, shape or dtype
     └── InferenceError                    the backend failed while running, or gave values that are not finite
"""

__all__ = ["BackendError", "EngineError", "InferenceError", "ModelFileError", "TensorError"]


class EngineError(RuntimeError):
    """Base of everything an engine raises on purpose."""


class ModelFileError(EngineError, ValueError):
    """The file is no usable model."""


class BackendError(EngineError, ImportError):
    """The backend is not installed, or cannot run on this machine."""


class TensorError(EngineError, TypeError):
    """An input has the wrong name, shape or dtype."""


class InferenceError(EngineError):
    """The backend failed while running, or gave values that are not finite."""
