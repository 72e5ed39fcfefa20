"""The configuration of a project: ``.provrun/config.toml``, overruled by ``PROVRUN_*``, overruled by options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from provrun.core.nearest import suggestion
from provrun.errors import InvalidInput, NotFound, UsageError

FILE = "config.toml"
Value = str | int


class Setting(NamedTuple):
    """One thing that can be configured; the default's type is the setting's."""

    default: Value
    meaning: str


SETTINGS: dict[str, Setting] = {
    "title": Setting("", "the title of a crate; empty for one made of the names of its maps"),
    "author": Setting("", "your name, as crates give it: Jane Roe, or Roe, Jane; empty for none"),
    "affiliation": Setting("", "where you work, with an address in angle brackets: Example Institute <https://...>"),
    "license": Setting("", "the licence of what crates hold, by its SPDX identifier (CC-BY-4.0) or address"),
    "orcid": Setting("", "your ORCID iD (0000-0000-0000-0000), named in exports; empty for none"),
    "export_base": Setting("", "the address under which exports name things (https://...); empty for urn:uuid:"),
    "url": Setting("", "the registry: sqlite:///PATH or postgresql://...; empty for a SQLite file in .provrun"),
    "slots": Setting(0, "tasks that `run` runs at once on a rank; 0 for one per usable core"),
    "log": Setting("auto", "when changes go through a log of files: auto (batch jobs), always (every run), never"),
    "host": Setting("", "the name under which this host goes; empty for the node's own"),
    "scratch": Setting("", "a folder on this host's own disk for what can be made anew; empty for TMPDIR"),
    "queue_cores": Setting(0, "cores of a node that `launch` counts on; 0 for what the scheduler says"),
    "queue_nodes": Setting(0, "nodes that a job of `launch` has at most; 0 for what the scheduler says"),
    "queue_time": Setting("", "time that a job of `launch` asks for at most; empty for what the scheduler says"),
    "queue_jobs": Setting(0, "jobs that `launch` submits at once at most; 0 for what the scheduler says"),
    "takeover": Setting("1h", "after how long the tasks of a job that cannot be asked may be taken over"),
}


class Configured(NamedTuple):
    """A value and where it comes from: ``default``, ``config.toml``, a variable or an option."""

    value: Value
    origin: str


class Config:
    """The values in force."""

    def __init__(self, values: Mapping[str, Configured]) -> None:
        self._values = dict(values)

    @classmethod
    def load(cls, folder: Path, environ: Mapping[str, str] | None = None) -> Config:
        """Read the configuration of a project folder and of the environment; all problems are reported at once."""
        environ = os.environ if environ is None else environ
        values = {name: Configured(setting.default, "default") for name, setting in SETTINGS.items()}
        problems: list[str] = []
        for name, value in _read(folder / FILE).items():
            if name not in SETTINGS:
                problems.append(f"{name}: no such setting; {suggestion(name, SETTINGS, 'see provrun config')}")
            elif type(value) is not type(SETTINGS[name].default):
                problems.append(f"{name}: {value!r} should be {_kind(name)}")
            else:
                values[name] = Configured(value, FILE)
        for name in SETTINGS:
            variable = f"PROVRUN_{name.upper()}"
            if variable in environ:
                try:
                    values[name] = Configured(parsed(name, environ[variable]), variable)
                except UsageError as error:
                    problems.append(f"{variable}: {error.message}")
        if problems:
            raise InvalidInput(f"the configuration in {folder / FILE}", problems)
        return cls(values)

    def __getitem__(self, name: str) -> Value:
        return self._values[name].value

    def text(self, name: str) -> str:
        """Give a setting that is text."""
        return str(self._values[name].value)

    def number(self, name: str) -> int:
        """Give a setting that is a whole number."""
        return int(self._values[name].value)

    def configured(self) -> dict[str, Configured]:
        """Give every setting with its value and origin; passwords are hidden."""
        return {name: Configured(hidden(value), origin) for name, (value, origin) in self._values.items()}


def parsed(name: str, text: str) -> Value:
    """Read the text of a setting's value as the setting's type."""
    if name not in SETTINGS:
        raise NotFound(f"no such setting: {name}", value=name, next=suggestion(name, SETTINGS, "see provrun config"))
    if isinstance(SETTINGS[name].default, str):
        return text
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{text!r} should be {_kind(name)}", value=text) from None


def write(folder: Path, name: str, value: Value) -> None:
    """Set one value in a project's file, replaced atomically and readable by its owner alone."""
    values = {**_read(folder / FILE), name: value}
    lines = [f"{key} = {_toml(each)}\n" for key, each in values.items()]
    temporary = folder / f"{FILE}.{os.getpid()}"
    # A database's URL may hold a password.
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.writelines(lines)
    temporary.replace(folder / FILE)


def hidden(value: Value) -> Value:
    """Hide the password in a database's URL."""
    if not isinstance(value, str) or "@" not in value or "://" not in value:
        return value
    scheme, rest = value.split("://", 1)
    login, host = rest.rsplit("@", 1)
    return f"{scheme}://{login.split(':', 1)[0]}:***@{host}" if ":" in login else value


def _read(path: Path) -> dict[str, Value]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    if not text.strip():
        return {}
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(str(path), [str(error)]) from error


def _toml(value: Value) -> str:
    import json

    return json.dumps(value)  # a TOML basic string escapes as JSON does


def _kind(name: str) -> str:
    return "text" if isinstance(SETTINGS[name].default, str) else "a whole number"
