"""Git's configuration as data: what a repository and a user have set, without acting on any of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Settings = Mapping[str, Sequence[str]]
"""All values of each key in order; keys as git prints them, section and name in lower case."""

_TRUE = ("true", "yes", "on", "1")


@dataclass(frozen=True)
class Configuration:
    """What the repository has set, and what the user and the system have."""

    repository: Settings
    user: Settings

    def own(self, key: str) -> str | None:
        """Return the value that the repository has set."""
        values = self.repository.get(key)
        return values[-1] if values else None

    def in_force(self, key: str) -> str | None:
        """Return the value of the repository, else of the user."""
        values = self.repository.get(key) or self.user.get(key)
        return values[-1] if values else None

    def own_flag(self, key: str, default: bool) -> bool:
        """Return a boolean that the repository has set."""
        value = self.own(key)
        return default if value is None else value.lower() in _TRUE

    def user_file(self, key: str, name: str) -> Path:
        """Return the file that the user has set, or the one of this name where git looks by default."""
        default = f"{os.environ.get('XDG_CONFIG_HOME') or '~/.config'}/git/{name}"
        named = Path((self.user.get(key) or [default])[-1])
        try:
            return named.expanduser()
        except RuntimeError:  # a user without a home
            return named


def parse_settings(texts: Iterable[bytes]) -> dict[str, list[str]]:
    """Return what ``git config -z --list`` printed, of several files in their order."""
    settings: dict[str, list[str]] = {}
    for text in texts:
        for item in filter(None, text.split(b"\0")):
            key, equals, value = item.partition(b"\n")
            settings.setdefault(os.fsdecode(key), []).append(os.fsdecode(value) if equals else "true")
    return settings
