"""Situations, each a class that tells when it holds and what to say about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Generic, Protocol, TypeVar

import msgspec

from provrun.query.facts import Facts


class Answer(msgspec.Struct, frozen=True):
    """Why something is as it is: the ``situation`` by name, one sentence, what is known beside it, the next command."""

    ref: str
    situation: str
    because: str
    details: tuple[str, ...]
    next: str

    def document(self) -> dict[str, object]:
        """Give the answer for JSON."""
        return {
            "ref": self.ref, "situation": self.situation, "because": self.because, "details": list(self.details),
            "next": self.next,
        }

    def text(self) -> str:
        """Give the answer for a person."""
        lines = [f"{self.ref}: {self.because}", *(f"  {detail}" for detail in self.details)]
        return "\n".join([*lines, f"next: {self.next}"])


class Named(Protocol):
    """What is known of something that has a REF."""

    ref: str


F = TypeVar("F", bound=Named)


class Situation(ABC, Generic[F]):
    """One class of answer; the first of a table that holds is given."""

    name: ClassVar[str]

    @abstractmethod
    def holds(self, facts: F) -> bool:
        """Tell whether the task is in this situation."""

    @abstractmethod
    def because(self, facts: F) -> str:
        """Say why, in one sentence."""

    @abstractmethod
    def next(self, facts: F) -> str:
        """Give the command to go on with."""

    def details(self, facts: F) -> Iterable[str]:
        """Tell what is known beside it, line by line."""
        return ()

    def answer(self, facts: F) -> Answer:
        """Explain the task."""
        return Answer(facts.ref, self.name, self.because(facts), tuple(self.details(facts)), self.next(facts))


def first(table: Iterable[Situation[F]], facts: F) -> Answer:
    """Explain by the first situation that holds; the last one of a table always does."""
    return next(situation for situation in table if situation.holds(facts)).answer(facts)


def only(facts: Facts) -> str:
    """Give the words that restrict a command to the task."""
    return f"{facts.map.name} --where 'index == {facts.task.index}'"


def times(n: int) -> str:
    """Say how often."""
    return {1: "once", 2: "twice"}.get(n, f"{n:,} times")


def plural(n: int, noun: str) -> str:
    """Count things."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
