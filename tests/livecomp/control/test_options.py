from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from livecomp.config import Config
from livecomp.control.options import (
    absolute,
    check_key,
    flat,
    full_paths,
    known_keys,
    layered,
    nested,
    parse_value,
    read_options,
    sample_toml,
)
from livecomp.errors import ConfigError


def test_dotted_keys_and_sections_are_the_same() -> None:
    values = {"on_miss": "slate", "live.fps": 25.0, "composite.light_wrap": 0.5}
    assert flat(nested(values)) == values
    assert flat({"live": {"fps": 25, "slate": None}}) == {"live.fps": 25}


def test_later_layers_win() -> None:
    assert layered({"live.fps": 25, "on_miss": "stop"}, {"live.fps": 30}) == {"live": {"fps": 30}, "on_miss": "stop"}


def test_every_option_is_known_and_described() -> None:
    assert set(flat(Config().model_dump())) <= set(known_keys())
    assert all(known_keys().values())


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("composite.light_warp", "did you mean composite.light_wrap"),
        ("light_wrap", "composite.light_wrap"),
        ("xyzzy", "`livecomp config` lists all"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(key: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_key(key)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        ("3", 3),
        ("true", True),
        ("#204060", "#204060"),
        ("a b.jpg", "a b.jpg"),
        ('"12"', "12"),
        ("12:30:00", "12:30:00"),
    ],
)
def test_values_need_no_quotes(text: str, value: object) -> None:
    assert parse_value(text) == value


def test_the_sample_is_valid_with_and_without_its_hashes() -> None:
    sample = sample_toml()
    assert tomllib.loads(sample) == {section: {} for section in tomllib.loads(sample)}
    lines = [line.removeprefix("# ") for line in sample.splitlines() if " = " in line and "..." not in line]
    sections = [line for line in sample.splitlines() if line.startswith("[")]
    assert len(lines) > 30
    assert len(sections) == 8
    uncommented = "\n".join(
        line.removeprefix("# ") if " = " in line and "..." not in line else line for line in sample.splitlines()
    )
    assert Config.from_options(tomllib.loads(uncommented)) == Config()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[live\n", ["no valid TOML"]),
        ("[live]\nfps = 25\nfsp = 3\n", ["line 3", "live.fsp", "did you mean"]),
        ("on_miss = 'slate'\n[composite]\n\nlight_wrap = 7\n", ["line 4", "composite.light_wrap"]),
        ("magic = 1\n", ["line 1", "magic"]),
        ('[background]\nsource = "C:\\Users\\ann\\beach.jpg"\n', ["line 2", "into single quotes"]),
    ],
)
def test_a_wrong_file_is_told_by_line(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_options(path)
    assert all(word in str(error.value) for word in [str(path), *words])


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_options(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="no valid TOML"):
        read_options(tmp_path / "binary")


def test_a_file_is_utf8_whatever_the_system_says_and_may_begin_with_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[background]\nsource = 'Größe.jpg'\n", "utf-8-sig")
    program = "from livecomp.control.options import *; from pathlib import Path; import sys;"
    program += "print(ascii(read_options(Path(sys.argv[1]))))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONUTF8": "0", "LC_ALL": "C"}
    environment["PYTHONCOERCECLOCALE"] = "0"
    command = [sys.executable, "-c", program, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert result.stdout.strip() == ascii({"background.source": "Größe.jpg"})


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_file_that_powershell_redirected_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes("\ufeff[background]\r\nsource = 'Größe.jpg'\r\n".encode(encoding))
    assert read_options(path) == {"background.source": "Größe.jpg"}


def test_paths_begin_at_the_files_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "beach.jpg").touch()
    path = tmp_path / "config.toml"
    path.write_text("background.source = 'beach.jpg'\nlive.slate = 'nowhere.png'\n")
    found = read_options(path)
    assert found["background.source"] == str(tmp_path / "beach.jpg")
    assert found["live.slate"] == "nowhere.png"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert absolute("~/beach.jpg", Path("/")) == str(tmp_path / "beach.jpg")
    assert absolute("#204060", tmp_path) == "#204060"


def test_a_harmonizer_is_a_path_only_where_it_is_a_network(tmp_path: Path) -> None:
    for name in ("live", "mine.onnx"):
        (tmp_path / name).touch()
    assert full_paths({"harmonize.model": "live"}, tmp_path) == {"harmonize.model": "live"}
    assert full_paths({"harmonize.model": "mine.onnx"}, tmp_path) == {"harmonize.model": str(tmp_path / "mine.onnx")}
    assert full_paths({"harmonize.model": 3}, tmp_path) == {"harmonize.model": 3}
