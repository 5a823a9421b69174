from __future__ import annotations

from pathlib import Path

import pytest

from livecomp.config import Config
from livecomp.control.options import read_options
from livecomp.control.steering import Steering
from livecomp.errors import ConfigError
from livecomp.live import BusyError
from tests.livecomp.control.fakes import FakeSession


class Desk:
    """A call with a file, an option from the command line, and its steering."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "config.toml"
        self.file.write_text("composite.light_wrap = 0.1\n")
        self.session = FakeSession()
        self.stopped = 0
        self.steering = Steering(
            self.session,
            file_options=read_options(self.file),
            given_options={"composite.color_strength": 0.5},
            request_stop=self.stop,
        )

    def stop(self) -> None:
        self.stopped += 1

    def edit(self, text: str) -> None:
        self.file.write_text(text)
        self.steering.reload(self.file)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_layers_stay_apart(desk: Desk) -> None:
    desk.steering.set({"composite.shading_strength": 0.25})
    composite = desk.session.config.composite
    assert (composite.light_wrap, composite.color_strength, composite.shading_strength) == (0.1, 0.5, 0.25)
    desk.edit("composite.light_wrap = 0.7\n")
    composite = desk.session.config.composite
    assert (composite.light_wrap, composite.color_strength, composite.shading_strength) == (0.7, 0.5, 0.25)


def test_what_is_edited_wins_over_all_from_then_on(desk: Desk) -> None:
    desk.steering.set({"composite.shading_strength": 0.25})
    desk.edit("composite.color_strength = 0.9\ncomposite.shading_strength = 0.8\n")
    composite = desk.session.config.composite
    assert (composite.light_wrap, composite.color_strength, composite.shading_strength) == (0.25, 0.9, 0.8)
    desk.steering.set({"composite.shading_strength": 0.3})
    assert desk.session.config.composite.shading_strength == 0.3


@pytest.mark.parametrize(
    "text",
    [
        "[composite\n",
        "composite.light_warp = 1\n",
        "background.source = 'broken'\n",
        "background.source = 'odd'\n",
        "a = " + 2000 * "[" + "\n",
    ],
)
def test_a_bad_edit_changes_nothing_and_is_told_until_it_is_mended(desk: Desk, text: str) -> None:
    before = desk.session.config
    desk.edit(text)
    assert desk.session.config == before
    assert "stays as it was" in desk.steering.status()["detail"]
    desk.edit("composite.light_wrap = 0.2\n")
    assert desk.steering.status()["detail"] == ""
    assert desk.session.config.composite.light_wrap == 0.2


def test_an_edit_while_a_frame_takes_too_long_is_to_be_followed_again(desk: Desk) -> None:
    follow = desk.session.apply

    def refuse(config: Config) -> None:
        raise BusyError("the frame before takes too long")

    desk.file.write_text("composite.light_wrap = 0.2\n")
    desk.session.apply = refuse  # type: ignore[method-assign]
    assert not desk.steering.reload(desk.file)
    assert "too long" in desk.steering.status()["detail"]
    desk.session.apply = follow  # type: ignore[method-assign]
    assert desk.steering.reload(desk.file)
    assert desk.session.config.composite.light_wrap == 0.2
    assert desk.steering.status()["detail"] == ""
    desk.file.write_text("composite.light_warp = 1\n")
    assert desk.steering.reload(desk.file), "a wrong option is no better another time"


def test_a_deleted_file_gives_the_defaults_back(desk: Desk) -> None:
    desk.steering.set({"composite.shading_strength": 0.25})
    desk.file.unlink()
    desk.steering.reload(desk.file)
    composite = desk.session.config.composite
    assert (composite.light_wrap, composite.color_strength, composite.shading_strength) == (0.25, 0.5, 0.25)


def test_set_is_all_or_nothing(desk: Desk) -> None:
    before = desk.session.config
    for values in (
        {"composite.light_wrap": 0.4, "composite.light_warp": 1},
        {"composite.light_wrap": 0.4, "composite.color_strength": 7},
        {"composite.light_wrap": 0.4, "background.source": "broken"},
    ):
        with pytest.raises(ConfigError):
            desk.steering.set(values)
        assert desk.session.config == before
    desk.steering.set({"composite.color_strength": 1.0})
    assert desk.session.config.composite.light_wrap == 0.1


def test_requests(desk: Desk) -> None:
    answer = desk.steering.answer
    assert answer({"do": "status"})["status"]["state"] == "live"
    assert answer({"do": "config"})["config"]["composite.color_strength"] == 1.0
    assert answer({"do": "act", "action": "freeze"}) == {"ok": True}
    assert desk.session.actions == ["freeze"]
    assert answer({"do": "set", "values": {"on_miss": "slate"}}) == {"ok": True}
    assert desk.session.config.on_miss == "slate"
    assert answer({"do": "stop"}) == {"ok": True}
    assert desk.stopped == 1


@pytest.mark.parametrize(
    "request_",
    [
        None,
        [],
        "status",
        {},
        {"do": "dance"},
        {"do": "act"},
        {"do": "act", "action": ["freeze"]},
        {"do": "set"},
        {"do": "set", "values": {}},
        {"do": "set", "values": {"composite": {"light_wrap": 1}}},
        {"do": "set", "values": {"composite.light_wrap": "much"}},
    ],
)
def test_nonsense_is_refused_and_changes_nothing(desk: Desk, request_: object) -> None:
    before = desk.session.config
    answer = desk.steering.answer(request_)
    assert not answer["ok"]
    assert answer["error"]
    assert answer["exit_code"] == 8
    assert desk.session.config == before
    assert not desk.session.actions
