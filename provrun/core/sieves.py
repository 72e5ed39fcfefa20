"""Sieves: what a database can tell of a condition before any value is read.

A sieve lets every task pass for which its condition holds, and as few others as it can; `None` lets all pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

Within = Literal["params", "result"]
Column = Literal["state", "index", "attempts", "number", "outcome", "context", "detail", "wall", "cpu", "max_rss"]
OF_TASKS = frozenset(("state", "index", "attempts"))


class Holds(msgspec.Struct, frozen=True):
    """One of some texts stands in the task's parameters or in the shown attempt's result.

    A result of which the database has the digest alone passes.
    """

    within: Within
    texts: tuple[str, ...]


class Number(msgspec.Struct, frozen=True):
    """The number under a key of the parameters or of the result is at most, or at least, a finite one.

    What is neither a number nor null passes, and so does a result of which the database has the digest alone.
    """

    within: Within
    key: str
    sign: Literal["<=", ">="]
    bound: float


class Is(msgspec.Struct, frozen=True):
    """A column compares so with a number; a missing ``detail`` counts as 0, another missing value does not pass."""

    column: Column
    sign: Literal["=", "!=", "<=", ">="]
    number: int


class Among(msgspec.Struct, frozen=True):
    """A column has one of these values."""

    column: Column
    values: tuple[int, ...]


class All(msgspec.Struct, frozen=True):
    """All of some sieves let it pass."""

    sieves: tuple[Sieve, ...]


class Any(msgspec.Struct, frozen=True):
    """One of some sieves lets it pass; of none, none does."""

    sieves: tuple[Sieve, ...]


Sieve: TypeAlias = "Holds | Number | Is | Among | All | Any"
NONE = Any(())


def both(sieves: Iterable[Sieve | None]) -> Sieve | None:
    """Join sieves so that all must let a task pass."""
    known = tuple(sieve for sieve in sieves if sieve is not None)
    if NONE in known:
        return NONE
    return All(known) if len(known) > 1 else known[0] if known else None


def either(sieves: Iterable[Sieve | None]) -> Sieve | None:
    """Join sieves so that one must let a task pass."""
    known: list[Sieve] = []
    for sieve in sieves:
        if sieve is None:
            return None
        if sieve != NONE:
            known.append(sieve)
    return Any(tuple(known)) if len(known) != 1 else known[0]


def apart(sieve: Sieve | None) -> tuple[Sieve | None, Sieve | None]:
    """Part a sieve in two, of which one lets a task pass if it does; no task without an attempt passes the second."""
    if not isinstance(sieve, Any):
        return sieve, NONE
    return (
        either(each for each in sieve.sieves if not needs_attempt(each)),
        either(each for each in sieve.sieves if needs_attempt(each)),
    )


def needs_attempt(sieve: Sieve) -> bool:
    """Tell whether no task without a shown attempt passes."""
    match sieve:
        case Holds(within) | Number(within):
            return within == "result"
        case Is(column) | Among(column):
            return column not in OF_TASKS
        case All(sieves):
            return any(map(needs_attempt, sieves))
        case Any(sieves):
            return all(map(needs_attempt, sieves))


def is_of_params(sieve: Sieve) -> bool:
    """Tell whether few tasks pass, for what their parameters hold."""
    match sieve:
        case Holds(within):
            return within == "params"
        case All(sieves):
            return any(map(is_of_params, sieves))
        case Any(sieves):
            return bool(sieves) and all(map(is_of_params, sieves))
        case _:
            return False


def bounds(sieve: Sieve | None) -> tuple[int, float]:
    """Give between which indices, both included, all tasks lie that pass."""
    match sieve:
        case Is("index", "<=", number):
            return 0, number
        case Is("index", ">=", number):
            return number, math.inf
        case All(sieves):
            of_each = [bounds(each) for each in sieves]
            return max(least for least, _ in of_each), min(most for _, most in of_each)
        case _:
            return 0, math.inf


def state_of(sieve: Sieve | None) -> int | None:
    """Give the state that all tasks have which pass, if it is one."""
    match sieve:
        case Among("state", (state,)):
            return state
        case All(sieves):
            return next((found for each in sieves if (found := state_of(each)) is not None), None)
        case _:
            return None
