"""What a scheduler's dialect is: the script it wants, its commands, and how their answers read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple, Protocol

from provrun.core.allocation import Request, Told


class Command(NamedTuple):
    """A command line, what it reads on stdin, and variables it needs; None drops one."""

    words: list[str]
    stdin: str | None = None
    environ: Mapping[str, str | None] = {}


class Answer(NamedTuple):
    """What a command answered."""

    exit: int
    out: str
    err: str


class Unreadable(Exception):
    """The answer is none: an error message, or a form that is not known; nothing may be concluded from it."""


class Dialect(Protocol):
    """One scheduler, as text; nothing here runs anything."""

    name: str
    probe: tuple[str, ...]
    """A command that does nothing and succeeds where this scheduler is set up; a lone word has only to be there."""
    reuses: bool
    """Whether an id may be given to another job later, so that only name and time tell whose it is."""

    def job_name(self, uuid: str) -> str:
        """Give the name of the scheduler's job for one of ours: as much of its uuid as fits."""

    def render(self, request: Request) -> str:
        """Write the batch script; `UsageError` when this scheduler cannot do what is asked for."""

    def submit(self, script: str, request: Request) -> Command:
        """Give the command that submits the script at this path."""

    def submitted(self, answer: Answer) -> str:
        """Read the scheduler's id of the job; raises `Unreadable`."""

    def query(self, ids: Collection[str]) -> Command:
        """Give the one command that asks for all these jobs."""

    def told(self, answer: Answer, ids: Collection[str]) -> dict[str, Told]:
        """Read what was said of jobs; one that the answer does not name is absent. Raises `Unreadable`."""

    def cancel(self, ids: Collection[str]) -> Command:
        """Give the one command that cancels all these jobs."""
