"""Files that this user may not look at, and names that no file can have: for real, also where the tests run as root."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from livecomp.api import check_targets
from livecomp.background import open_background
from livecomp.capture.registry import open_camera, open_source
from livecomp.control.call import default_config_file
from livecomp.control.options import absolute, read_options
from livecomp.errors import ConfigError, InputError, LiveCompError
from livecomp.install import write_user_unit
from livecomp.media.text import write_text
from livecomp.media.video import VideoReader
from livecomp.models import list_models, models_folder
from livecomp.paths import exists, followed, is_dir, is_file

NOBODY = 65534
TOO_LONG = Path("x" * 300)


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A file in a folder that is closed to who runs the test."""
    if not hasattr(os, "geteuid"):
        pytest.skip("this system has no folders that are closed to a user")
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "beach.jpg").touch()
    folder.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    yield folder / "beach.jpg"
    if is_root:
        os.seteuid(0)
    folder.chmod(0o700)


def test_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.touch()
    assert [exists(file), is_file(file), is_dir(file)] == [True, True, False]
    assert [exists(tmp_path), is_file(tmp_path), is_dir(tmp_path)] == [True, False, True]
    nothing = tmp_path / "b"
    assert [exists(nothing), is_file(nothing), is_dir(nothing)] == [False, False, False]


def test_what_may_not_be_looked_at_is_not_there(closed: Path) -> None:
    with pytest.raises(PermissionError):
        closed.stat()
    for path in (closed, TOO_LONG):
        assert [exists(path), is_file(path), is_dir(path)] == [False, False, False]


def test_links_are_followed_wherever_they_lead(tmp_path: Path) -> None:
    link, loop = tmp_path / "link.png", tmp_path / "loop.png"
    try:
        link.symlink_to("there.png")
        loop.symlink_to(loop)
    except OSError:
        pytest.skip("this user may not make links")
    assert followed(link) == followed(tmp_path) / "there.png"
    followed(loop)
    with pytest.raises(ConfigError, match="another output"):
        check_targets([], [link, tmp_path / "there.png"], overwrite=False)
    check_targets([loop], [loop], overwrite=False)
    write_text(loop, "text")
    assert loop.read_text() == "text"


USES: dict[str, tuple[Callable[[Path], object], type[LiveCompError] | None]] = {
    "background": (open_background, ConfigError),
    "source": (open_source, InputError),
    "video": (lambda path: VideoReader(path).open(), InputError),
    "camera": (lambda path: open_camera(str(path), size_wh=(64, 48), fps=30), None),
    "option": (lambda path: absolute(str(path), Path("/")), None),
    "target": (lambda path: check_targets([path], [path.with_suffix(".png")], overwrite=False), None),
}


@pytest.mark.parametrize(("use", "error"), USES.values(), ids=USES.keys())
def test_whoever_is_given_it_says_so_in_an_error_of_ours(
    closed: Path, use: Callable[[Path], object], error: type[LiveCompError] | None
) -> None:
    for path in (closed, TOO_LONG):
        if error is None:
            use(path)
            continue
        with pytest.raises(error):
            use(path)


def test_a_home_of_nobody_is_a_name_like_others(tmp_path: Path) -> None:
    spec = "~nobody-of-this-name/beach.jpg"
    assert absolute(spec, tmp_path) == spec
    file = tmp_path / "config.toml"
    file.write_text(f"background.source = '{spec}'\n")
    assert read_options(file) == {"background.source": spec}


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without HOME whom the system's list does not know, as in some containers."""
    if os.name != "posix":
        pytest.skip("HOME is POSIX's")

    def unknown(_: int) -> None:
        raise KeyError("uid not found")

    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize("find", [models_folder, default_config_file, write_user_unit])
def test_who_has_no_home_is_told_what_to_set(find: Callable[[], Path]) -> None:
    with pytest.raises(ConfigError, match="set HOME"):
        find()


@pytest.mark.usefixtures("homeless")
def test_without_a_home_there_are_still_the_networks_that_ship() -> None:
    installed = {entry.name: entry.path for entry in list_models()}
    assert installed["rvm"] is None
    assert installed["live"] is not None


def test_a_home_is_not_needed_where_the_folder_is_named(
    homeless: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_config_file() == tmp_path / "livecomp" / "config.toml"
