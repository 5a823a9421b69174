"""Everything LiveComp raises on purpose.

::

    LiveCompError (Exception)
     ├── InputError (ValueError)         a file, picture or mask the user gave cannot be used
     ├── OutputError (OSError)           the result cannot be written
     ├── ConfigError (ValueError)        an option or a configuration key is wrong
     ├── DependencyError (ImportError)   an optional package or model is not installed
     ├── ModelError (RuntimeError)       a network cannot be loaded or run
     ├── MatteError (RuntimeError)       a frame has no valid alpha of its own; nothing of it may be shown
     └── ContractError (TypeError)       a stage handed on a value of the wrong shape, dtype or range: our bug

Each message says what happened, what was received, what was expected and what to do about it.
"""

__all__ = [
    "ConfigError",
    "ContractError",
    "DependencyError",
    "InputError",
    "LiveCompError",
    "MatteError",
    "ModelError",
    "OutputError",
    "reason",
]


class LiveCompError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns for it."""

    exit_code = 1


class InputError(LiveCompError, ValueError):
    """A file, picture or mask that was given cannot be used."""

    exit_code = 3


class OutputError(LiveCompError, OSError):
    """The result cannot be written; a file that was there before is untouched."""

    exit_code = 4


class MatteError(LiveCompError, RuntimeError):
    """A frame has no valid alpha of its own, so nothing of it may be shown."""

    exit_code = 5


class ModelError(LiveCompError, RuntimeError):
    """A network cannot be loaded or run."""

    exit_code = 6


class DependencyError(LiveCompError, ImportError):
    """An optional package or model is not installed."""

    exit_code = 7


class ConfigError(LiveCompError, ValueError):
    """An option or a configuration key is wrong."""

    exit_code = 8


class ContractError(LiveCompError, TypeError):
    """A stage handed on a value of the wrong shape, dtype or range: a bug of ours."""

    exit_code = 9


def reason(error: BaseException) -> str:
    """What to say of an error: its message, or its kind where it has none."""
    return str(error) or type(error).__name__
