"""What all commands share: the program itself, its options, its consoles and its progress bar."""

from __future__ import annotations

import io
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from enum import StrEnum
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

import livecomp
from livecomp.errors import LiveCompError, reason
from livecomp.threads import bound_arenas, bound_threads

__all__ = [
    "Background",
    "ColorStrength",
    "Compute",
    "ComputeOption",
    "Defocus",
    "Down",
    "Fit",
    "Model",
    "OnMiss",
    "Right",
    "ShadingStrength",
    "Size",
    "Strength",
    "Yes",
    "app",
    "ends_tidily",
    "main",
    "say",
    "show_progress",
    "stderr",
    "stdout",
]

app = typer.Typer(
    name="livecomp",
    help="Put a person into any scene and make them look as if they were there.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class _Log(Console):
    """A console that falls silent once nobody reads it; Rich would end the thread that writes."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


log = logging.getLogger(__name__)

# names of files are shown as they are: neither [red] nor :smile: in them is an order
stderr = _Log(stderr=True, markup=False, emoji=False)
stdout = Console(markup=False, emoji=False)


def say(text: str, style: str = "") -> None:
    """Print a line for the user beside the results; a full disk or a closed terminal is no reason to end a call."""
    with suppress(OSError):
        stderr.print(text, style=style, highlight=False, soft_wrap=True)


class _ConsoleHandler(logging.Handler):
    """Writes above a progress bar or status line, not into it."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record))


class OnMiss(StrEnum):
    """What happens to a frame without a valid matte."""

    stop = "stop"
    slate = "slate"


class Compute(StrEnum):
    """Where frames are processed."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


class Fit(StrEnum):
    """How a background of another shape fills the picture."""

    cover = "cover"
    contain = "contain"
    stretch = "stretch"


def main() -> None:
    """The entry point of the command `livecomp`: runs it and turns errors into one line and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        # of what this terminal or pipe cannot show an escape is printed; it is no reason to fail after the work
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    bound_arenas()
    bound_threads()
    try:
        app()
    except LiveCompError as error:
        # what another library said of a file may have many lines
        words = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
        say(f"livecomp: {words}", "red")
        raise SystemExit(error.exit_code) from None
    except Exception as error:  # the last resort: nobody expected this one
        log.debug("it was raised here:", exc_info=error)
        text = " ".join(reason(error).split())
        say(f"livecomp: unexpected {type(error).__name__}: {text}; `livecomp -vv ...` says where", "red")
        raise SystemExit(LiveCompError.exit_code) from None


def _version(wanted: bool) -> None:
    if wanted:
        stdout.print(f"livecomp {livecomp.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _common(
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="Say more; twice for debugging.")] = 0,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format="livecomp: %(levelname)s: %(message)s", handlers=[_ConsoleHandler()])


Background = Annotated[
    str, typer.Option("--background", "-b", help="A picture, a video, a colour such as '#204060', or 'blur'.")
]
Model = Annotated[
    str | None,
    typer.Option("--model", help="Harmonizer: live (the network), an .onnx file of yours, mkl, reinhard or identity."),
]
ColorStrength = Annotated[
    float | None, typer.Option(min=0, max=1, help="How much of the colour correction is applied.")
]
ShadingStrength = Annotated[float | None, typer.Option(min=0, max=1, help="How much of the shading is applied.")]
Strength = Annotated[float | None, typer.Option(min=0, max=1, help="Both strengths at once.")]
Defocus = Annotated[
    float | None, typer.Option(min=0, max=1, help="How far the scene is out of focus, as behind a person.")
]
Size = Annotated[float | None, typer.Option(min=0.1, max=4, help="How large the person is in the scene, 1 as filmed.")]
Right = Annotated[
    float | None, typer.Option(min=-1, max=1, help="How far to the right of where they were filmed, in widths.")
]
Down = Annotated[float | None, typer.Option(min=-1, max=1, help="How far lower, in heights of the picture.")]
ComputeOption = Annotated[
    Compute | None, typer.Option("--compute", help="Where frames are processed: a GPU (NVIDIA) if any, or the CPU.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Replace existing files.")]


@contextmanager
def ends_tidily() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP end the command as Ctrl-C does: nothing half done stays. The exit code is a shell's.

    What was ignored before, as `nohup` does, stays so. Only the first counts: a terminal that is closed may send more.
    """
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]

    def end(number: int, frame: FrameType | None) -> None:
        for known in numbers:
            signal.signal(known, signal.SIG_IGN)
        raise SystemExit(128 + number)

    with ExitStack() as handlers:
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                handlers.callback(signal.signal, number, signal.signal(number, end))
        yield


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:5.1f}/s")


@contextmanager
def show_progress(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar with rate and time left on a terminal, nothing when the output is piped."""
    label_column = TextColumn("{task.description}", markup=False)
    columns = (label_column, BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
