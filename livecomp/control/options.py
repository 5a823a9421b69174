"""Options as nested dictionaries: layers, dotted keys, values from a command line, and the file with all of them."""

from __future__ import annotations

import codecs
import difflib
import json
import os
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from livecomp.config import Config
from livecomp.errors import ConfigError
from livecomp.harmonizers.registry import is_network_file
from livecomp.paths import exists

__all__ = [
    "absolute",
    "check_key",
    "flat",
    "full_paths",
    "known_keys",
    "layered",
    "nested",
    "parse_value",
    "read_options",
    "sample_toml",
]

_FILE_OPTIONS = ("background.source", "live.camera", "live.slate", "segment.model_file")

Options = dict[str, Any]


def flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys and their values; None is left out."""
    found: dict[str, Any] = {}
    for key, value in options.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{name}.")
        elif value is not None:
            found[name] = value
    return found


def nested(values: Mapping[str, Any]) -> Options:
    """The dictionary that `flat` would give back."""
    options: Options = {}
    for name, value in values.items():
        *sections, key = name.split(".")
        place = options
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    return options


def layered(*layers: Mapping[str, Any]) -> Options:
    """One dictionary of several with dotted keys, later ones first."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer
    return nested(merged)


def known_keys() -> dict[str, str]:
    """Every dotted key of the configuration, with its description."""
    return {name: description for name, _, description in _fields(Config)}


def check_key(key: str) -> None:
    """Refuse a key that there is not.

    Raises:
        ConfigError: Names the nearest ones.
    """
    known = known_keys()
    if key in known:
        return
    near = difflib.get_close_matches(key, known, 4, 0.5) or [name for name in known if name.endswith(f".{key}")]
    hint = f"did you mean {' or '.join(near)}?" if near else "`livecomp config` lists all"
    raise ConfigError(f"there is no option {key!r}; {hint}")


def parse_value(text: str) -> Any:  # noqa: ANN401  any TOML value
    """A value as in TOML, where it is one, and a string where it is not, so that quotes are not needed."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
        json.dumps(value)
    except (tomllib.TOMLDecodeError, TypeError):  # TOML has times, which JSON cannot say and no option takes
        return text
    return value


def absolute(spec: str, folder: Path) -> str:
    """A file's full path, since a call may run elsewhere; names and colours stay as they are.

    Args:
        spec: What was typed; "~" is the home folder.
        folder: Where relative paths begin.
    """
    path = folder / os.path.expanduser(spec)  # noqa: PTH111  Path's raises for "~" and a user that there is not
    return str(path) if exists(path) else spec


def full_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Options with dotted keys, those that name a file with its full path.

    Args:
        values: As they were given.
        folder: Where relative paths begin.
    """
    return {key: absolute(str(value), folder) if _may_be_file(key, value) else value for key, value in values.items()}


def _may_be_file(key: str, value: Any) -> bool:  # noqa: ANN401  any TOML value
    return key in _FILE_OPTIONS or (key == "harmonize.model" and is_network_file(str(value)))


def read_options(path: Path) -> dict[str, Any]:
    """The options of a TOML file, with dotted keys; every one has been checked. Paths begin at the file's folder.

    Raises:
        ConfigError: It cannot be read, is no TOML, or an option is wrong; names file, key and line.
    """
    try:
        text = _text(path.read_bytes())
        values = flat(tomllib.loads(text))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        is_of_windows = isinstance(error, tomllib.TOMLDecodeError) and re.search(r'"[A-Za-z]:\\', text)
        hint = r"; put paths with \ into single quotes, since within double ones it begins an escape"
        raise ConfigError(f"{path} is no valid TOML: {error}{hint if is_of_windows else ''}") from error
    for key in values:
        try:
            check_key(key)
        except ConfigError as error:
            raise ConfigError(f"{path}{_line(text, key)}: {error}") from error
    try:
        Config.from_options(nested(values))
    except ConfigError as error:
        wrong = next((key for key in values if str(error).startswith(f"{key}:")), "")
        raise ConfigError(f"{path}{_line(text, wrong)}: {error}") from error
    return full_paths(values, path.absolute().parent)


def _text(data: bytes) -> str:
    """TOML is UTF-8 whatever the system's encoding, perhaps with a mark before it; PowerShell redirects as UTF-16."""
    return data.decode("utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")


def _line(text: str, key: str) -> str:
    """Where a dotted key stands, as text to append to a file's name; empty when it is not found."""
    section, _, name = key.rpartition(".")
    inside = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([^\]]+)\]", line):
            inside = header[1].strip()
        elif name and re.match(rf"\s*{re.escape(name)}\s*=", line) and inside == section:
            return f", line {number}"
    return ""


def sample_toml() -> str:
    """Every option with its description and default, commented out."""
    lines = ["# Options of LiveComp. Remove the # of a line to change it; a running call follows at once."]
    section = ""
    for name, default, description in _fields(Config):
        here, _, key = name.rpartition(".")
        if here != section:
            section = here
            lines += ["", f"[{section}]"]
        lines += textwrap.wrap(description, 110, initial_indent="# ", subsequent_indent="# ")
        # null does not exist in TOML: an option without a default shows what a value looks like
        lines.append(f"# {key} = {json.dumps(default) if default is not None else '...'}")
    return "\n".join(lines) + "\n"


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Name, default and description of every option, those outside of sections first."""
    sections: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            sections.append((name, kind))
        else:
            yield f"{prefix}{name}", field.default, field.description or ""
    for name, kind in sections:
        yield from _fields(kind, f"{prefix}{name}.")
