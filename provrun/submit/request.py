"""What a user asks for, from the command line or from Python, before anything is checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from provrun.core.problems import Problems
from provrun.submit.flow import Building


@dataclass(frozen=True, kw_only=True)
class Request:
    """A map as a user asks for it: one of ``words``, ``function`` and ``lines`` says what is applied.

    ``policy`` holds what was given, by the names of `Policy`; ``folder`` is where the tasks start, beneath or beside
    ``root``, the project's folder.
    """

    name: str
    folder: Path
    root: Path
    words: tuple[str, ...] = ()
    shell: bool = False
    function: str | None = None
    bound: Mapping[str, object] = field(default_factory=dict)
    lines: bool = False
    building: Building = field(default_factory=Building)
    inputs: tuple[str, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    result: str = "auto"
    pack: bool = False
    policy: Mapping[str, object] = field(default_factory=dict)
    priority: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    user: str = ""


def pairs(option: str, texts: Iterable[str], problems: Problems) -> dict[str, str]:
    """Read ``NAME=VALUE`` options; one that is not of this form, or given twice, is a problem."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            problems.add(f"{option} {text}: write {option} NAME=VALUE")
        elif name in found:
            problems.add(f"{option} {name} is given twice")
        else:
            found[name] = value
    return found
