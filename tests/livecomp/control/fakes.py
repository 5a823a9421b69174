"""A call that only remembers what it was asked."""

from __future__ import annotations

from livecomp.config import Config
from livecomp.errors import ConfigError
from livecomp.live import Action, LiveStatus


class FakeSession:
    """Refuses the background "broken", and fails in a way that nobody expects with "odd"."""

    def __init__(self) -> None:
        self.config = Config()
        self.actions: list[Action] = []

    def apply(self, config: Config) -> None:
        if config.background.source == "broken":
            raise ConfigError("there is no background 'broken'")
        if config.background.source == "odd":
            raise ZeroDivisionError
        self.config = config

    def act(self, action: Action) -> None:
        self.actions.append(action)

    def status(self) -> LiveStatus:
        return LiveStatus("live", "", "cam", "dev", (64, 48), 30.0, (9.0, 12.0), 5, 4, 1, 0, 0, "full", [])
