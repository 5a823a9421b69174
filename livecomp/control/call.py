"""Everything of a call put together: camera, virtual camera, page, socket, configuration file and signals."""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import Any

import platformdirs

from livecomp.capture.registry import open_camera
from livecomp.config import Config
from livecomp.control.options import layered, read_options
from livecomp.control.place import default_socket
from livecomp.control.preview import PreviewServer, PreviewSink
from livecomp.control.server import ControlServer
from livecomp.control.steering import Steering
from livecomp.control.watch import FileWatcher
from livecomp.errors import ConfigError, DependencyError
from livecomp.live.session import LiveSession
from livecomp.output import Sink
from livecomp.output.viewers import ViewerWatch
from livecomp.output.virtual import VirtualCameraSink, virtual_cameras
from livecomp.paths import is_file, user_folder

__all__ = ["CallOptions", "default_config_file", "run_call"]

log = logging.getLogger(__name__)

_TICK_S = 0.5


def default_config_file() -> Path:
    """``$XDG_CONFIG_HOME/livecomp/config.toml``, or where the system keeps such files.

    Raises:
        ConfigError: The user has no home.
    """
    folder = user_folder(lambda: platformdirs.user_config_path("livecomp", appauthor=False), "the configuration file")
    return folder / "config.toml"


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How a call is run.

    Args:
        given: Options of the command line, dotted keys; they win over the file.
        file: Configuration file; None for the usual one, which need not exist.
        virtual_camera: Whether the call goes to a virtual camera.
        preview: Whether there is a page.
        port: Of the page; 0 takes a free one.
        socket: Of the control socket; None for the usual place.
        root: Where dev, sys and proc are.
    """

    given: Mapping[str, Any]
    file: Path | None = None
    virtual_camera: bool = True
    preview: bool = False
    port: int = 0
    socket: Path | None = None
    root: Path = Path("/")


def run_call(
    options: CallOptions,
    *,
    started: Callable[[Steering, str], None] = lambda steering, address: None,
    tick: Callable[[Steering], None] = lambda steering: None,
) -> None:
    """Run a call until SIGINT or SIGTERM, its terminal is closed, or it is asked to stop.

    A second signal ends the process at once. Without a terminal, SIGHUP reloads the configuration.

    Args:
        options: How.
        started: Called once when the call runs, with the page's address, or "".
        tick: Called twice a second.

    Raises:
        LiveCompError: It cannot begin.
    """
    file = options.file or default_config_file()
    if options.file is not None and not is_file(options.file):
        raise ConfigError(
            f"there is no configuration file {options.file}; `livecomp config > {options.file}` makes one"
        )
    found = read_options(file) if is_file(file) else {}
    config = Config.from_options(layered(found, options.given))
    live = config.live
    size_wh, fps = (live.width, live.height), Fraction(live.fps).limit_denominator(1001)
    page = PreviewSink() if options.preview else None
    cameras: list[VirtualCameraSink] = []
    if options.virtual_camera:
        cameras = virtual_cameras(live.device, size_wh=size_wh, fps=fps, root=options.root)
    sinks: list[Sink] = [*cameras, *([page] if page is not None else [])]
    watch = ViewerWatch(lambda: _viewers(cameras, page)) if cameras else None
    session = LiveSession(
        config,
        source=open_camera(live.camera, size_wh=size_wh, fps=fps, root=options.root),
        sinks=sinks,
        watch=watch,
        device=lambda: _names(cameras) if cameras else "preview",
    )
    # no Event: what a signal interrupts may hold its lock, and would wait for itself
    stop: queue.SimpleQueue[None] = queue.SimpleQueue()

    def request_stop() -> None:
        stop.put(None)

    steering = Steering(session, file_options=found, given_options=options.given, request_stop=request_stop)
    with ExitStack() as parts:
        server = ControlServer(options.socket or default_socket(), steering.answer)
        try:
            server.start()
        except DependencyError as error:
            log.warning("%s", error)
        parts.callback(server.stop)
        watcher = FileWatcher(file, steering.reload)
        with _signals(request_stop, lambda: steering.reload(file)):
            parts.callback(session.stop)
            watcher.start()  # first, since loading may take a minute, in which the file may be edited
            parts.callback(watcher.stop)
            session.start()
            address = ""
            if page is not None:
                serving = PreviewServer(page, steering.answer, port=options.port)
                serving.start()
                parts.callback(serving.stop)
                address = serving.address
            started(steering, address)
            while not _is_asked(stop):
                tick(steering)
            parts.close()


def _is_asked(stop: queue.SimpleQueue[None]) -> bool:
    """Whether somebody asks for the end before the next tick."""
    try:
        stop.get(timeout=_TICK_S)
    except queue.Empty:
        return False
    return True


def _viewers(cameras: Sequence[VirtualCameraSink], page: PreviewSink | None) -> int | None:
    if page is not None and page.viewers:
        return page.viewers
    counts = [camera.viewers() for camera in cameras if camera.device]  # what is closed has none
    known = [count for count in counts if count is not None]
    return sum(known) if counts and len(known) == len(counts) else None


def _names(cameras: Sequence[VirtualCameraSink]) -> str:
    """Of those that are open, as "LiveComp (/dev/video10, PipeWire)"."""
    places: dict[str, list[str]] = {}
    for camera in cameras:
        if camera.device:
            places.setdefault(camera.label, []).append(camera.device)
    return ", ".join(f"{label} ({', '.join(devices)})" for label, devices in places.items())


@contextmanager
def _signals(request_stop: Callable[[], None], reload: Callable[[], object]) -> Iterator[None]:
    """SIGINT and SIGTERM stop, and have their usual effect when they come again.

    SIGHUP reloads in a service. In a terminal it says that the terminal was closed: the camera is not to stay on,
    unless `nohup` had it ignored.
    """

    def on_stop(number: int, frame: FrameType | None) -> None:
        request_stop()
        for known in (signal.SIGINT, signal.SIGTERM):
            signal.signal(known, signal.SIG_DFL)

    def on_reload(number: int, frame: FrameType | None) -> None:
        # a signal comes in the middle of anything, with locks held: reload elsewhere
        threading.Thread(target=reload, name="livecomp-reload", daemon=True).start()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wanted: dict[int, Callable[[int, FrameType | None], None]] = {signal.SIGINT: on_stop, signal.SIGTERM: on_stop}
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # not on Windows
        wanted[signal.SIGHUP] = on_stop if _in_a_terminal() else on_reload
    with ExitStack() as handlers:
        for number, handler in wanted.items():
            handlers.callback(signal.signal, number, signal.signal(number, handler))
        yield


def _in_a_terminal() -> bool:
    """Whether a terminal controls this process, wherever its output goes."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
