"""What may be asked of a running call, wherever the question comes from: a socket, a file, a page."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from livecomp.config import Config
from livecomp.control.options import check_key, flat, layered, read_options
from livecomp.errors import ConfigError, LiveCompError, reason
from livecomp.live import Action, BusyError, Session
from livecomp.paths import exists

__all__ = ["Steering"]

log = logging.getLogger(__name__)

Answer = dict[str, Any]


class Steering:
    """Keeps the layers of options apart: file, command line, and what was set while the call runs.

    Later layers win. An option that is changed in the file wins over the others from then on, since that is what
    somebody who edits the file wants. May be called from any thread.

    Args:
        session: The call.
        file_options: Of the configuration file, dotted keys.
        given_options: Of the command line, dotted keys.
        request_stop: Makes the owner end the call.
    """

    def __init__(
        self,
        session: Session,
        *,
        file_options: Mapping[str, Any],
        given_options: Mapping[str, Any],
        request_stop: Callable[[], None],
    ) -> None:
        self.trouble = ""
        self._session = session
        self._file = dict(file_options)
        self._given = dict(given_options)
        self._set: dict[str, Any] = {}
        self._request_stop = request_stop
        self._lock = threading.Lock()

    def set(self, values: Mapping[str, Any]) -> None:
        """Change options, all or none.

        Args:
            values: Dotted keys, as in ``composite.color_strength``.

        Raises:
            LiveCompError: An option is unknown or wrong, or what it names cannot be had; nothing has changed.
        """
        for key in values:
            check_key(key)
        with self._lock:
            wanted = self._set | dict(values)
            self._session.apply(Config.from_options(layered(self._file, self._given, wanted)))
            self._set = wanted

    def reload(self, path: Path) -> bool:
        """Follow the configuration file; a bad edit is told, and changes nothing.

        Returns:
            Whether that is all; False when the call was too busy to follow, and will be another time.
        """
        try:
            with self._lock:
                found = read_options(path) if exists(path) else {}
                changed = {key for key in found.keys() | self._file.keys() if found.get(key) != self._file.get(key)}
                given = {key: value for key, value in self._given.items() if key not in changed}
                asked = {key: value for key, value in self._set.items() if key not in changed}
                self._session.apply(Config.from_options(layered(found, given, asked)))
                self._file, self._given, self._set = found, given, asked
        except Exception as error:  # a thread's boundary: whatever is wrong with this edit, the next is followed
            trouble = f"the configuration stays as it was: {reason(error)}"
            if trouble != self.trouble:
                log.warning("%s", trouble)
            self.trouble = trouble
            return not isinstance(error, BusyError)
        self.trouble = ""
        log.info("%s: %s", path, ", ".join(sorted(changed)) or "no option changed")
        return True

    def status(self) -> Answer:
        """The call's status for JSON, with what is wrong with the configuration file."""
        status = asdict(self._session.status())
        status["detail"] = status["detail"] or self.trouble
        status["background"] = self._session.config.background.source
        return status

    def answer(self, request: object) -> Answer:
        """Do what a request says.

        Args:
            request: A dictionary with ``do``: "status", "config", "set" with ``values``, "act" with ``action``, "stop".

        Returns:
            ``{"ok": True, ...}``, or ``{"ok": False, "error": ...}``.
        """
        try:
            return {"ok": True} | self._answer(request)
        except LiveCompError as error:
            return {"ok": False, "error": str(error), "exit_code": error.exit_code}

    def _answer(self, request: object) -> Answer:
        if not isinstance(request, dict):
            raise ConfigError(f"expected a request such as {{'do': 'status'}}, received {type(request).__name__}")
        match request.get("do"):
            case "status":
                return {"status": self.status()}
            case "config":
                return {"config": flat(self._session.config.model_dump(mode="json"))}
            case "set":
                values = request.get("values")
                if not isinstance(values, dict) or not values:
                    raise ConfigError("expected 'values', a dictionary of options, with the request 'set'")
                self.set(values)
                return {}
            case "act":
                known: dict[str, Action] = {action: action for action in get_args(Action)}
                wanted = str(request.get("action"))
                if wanted not in known:
                    raise ConfigError(f"expected an action of {', '.join(known)}; received {wanted!r}")
                self._session.act(known[wanted])
                return {}
            case "stop":
                self._request_stop()
                return {}
            case other:
                raise ConfigError(f"expected 'do' to be status, config, set, act or stop; received {other!r}")
