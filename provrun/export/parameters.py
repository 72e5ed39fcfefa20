"""What a page says of the values of parameters: exact where that is small, honest where it is not."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import cast

from provrun.core.canonical import encode

DISTINCT = 100_000
DISTINCT_ADDED = 1_000
"""Of each submission fewer: a map may have many, and memory stays constant."""
SHOWN_VALUES = 8
SHOWN_CHARACTERS = 256


class _NonFinite:
    """The kind under which NaN and infinities are counted."""


class _Zero:
    """The kind under which 0.0 and -0.0 are counted, which are equal and two values."""


_KINDS: dict[type, str] = {
    bool: "boolean", int: "integer", float: "number", str: "text", type(None): "null", list: "list", dict: "mapping",
    _NonFinite: "number", _Zero: "number",
}
_BY_TEXT = (list, dict, _NonFinite, _Zero)


class Parameter:
    """Statistics of one parameter."""

    def __init__(self, most: int = DISTINCT) -> None:
        """Distinct values are counted up to ``most``."""
        self.most = most
        self.count = 0
        self.kinds: set[str] = set()
        self.minimum: int | float | None = None
        self.maximum: int | float | None = None
        self.non_finite = 0
        self.full = False
        self._seen: dict[type, set[object]] = {}
        self._distinct = 0

    def add(self, value: object) -> None:
        """Count one value."""
        self.count += 1
        kind = type(value)
        item: object = value
        if kind is float and not math.isfinite(cast("float", value)):
            # No NaN equals another: they are told apart, like lists and mappings, by their canonical text.
            self.non_finite += 1
            kind, item = _NonFinite, encode(value)
        elif kind is float and not value:
            kind, item = _Zero, encode(value)
        elif kind is list or kind is dict:
            item = encode(value)
        seen = self._seen.get(kind)
        if seen is None:
            seen = self._seen[kind] = set()
            self.kinds.add(_KINDS[kind])
        if item in seen:
            return
        if not self.full:
            seen.add(item)
            self._distinct += 1
            self.full = self._distinct >= self.most
        if kind is int or kind is float or kind is _Zero:
            number = cast("int | float", value)
            self._reach(number)

    def _reach(self, number: int | float) -> None:
        if self.minimum is None or number < self.minimum or _stands_for(number, self.minimum):
            self.minimum = number
        if self.maximum is None or number > self.maximum or _stands_for(number, self.maximum):
            self.maximum = number

    def include(self, other: Parameter) -> None:
        """Count all values that another has counted."""
        self.count += other.count
        self.kinds |= other.kinds
        self.non_finite += other.non_finite
        for number in (other.minimum, other.maximum):
            if number is not None:
                self._reach(number)
        for kind, items in other._seen.items():
            seen = self._seen.setdefault(kind, set())
            for item in items - seen:
                if not self.full:
                    seen.add(item)
                    self._distinct += 1
                    self.full = self._distinct >= self.most

    @property
    def distinct(self) -> int:
        """Count distinct values; at least so many when `full`."""
        return self._distinct

    def values(self) -> list[str] | None:
        """Give the canonical texts of all distinct values, sorted, if they are few and short."""
        if self._distinct > SHOWN_VALUES:
            return None
        texts = [
            cast("str", item) if kind in _BY_TEXT else encode(item)
            for kind, seen in self._seen.items()
            for item in seen
        ]
        texts.sort(key=_by_value)
        return texts if sum(map(len, texts)) <= SHOWN_CHARACTERS else None


def _stands_for(number: int | float, other: int | float) -> bool:
    """Tell which of 1 and 1.0 is shown, whichever came first."""
    return number == other and encode(number) < encode(other)


class Parameters:
    """Statistics of all parameters of some tasks, by name."""

    def __init__(self, most: int = DISTINCT) -> None:
        self.most = most
        self.members = 0
        self.by_name: dict[str, Parameter] = {}

    def add(self, params: dict[str, object]) -> None:
        """Count the parameters of one task."""
        self.members += 1
        for name, value in params.items():
            found = self.by_name.get(name)
            if found is None:
                found = self.by_name[name] = Parameter(self.most)
            found.add(value)


def merged(parts: Iterable[Parameters]) -> Parameters:
    """Give the statistics of all tasks of some parts."""
    whole = Parameters()
    for part in parts:
        whole.members += part.members
        for name, found in part.by_name.items():
            whole.by_name.setdefault(name, Parameter(whole.most)).include(found)
    return whole


class Additions:
    """Statistics of the parameters that each submission added; ``firsts`` are the first indices of each, ascending."""

    def __init__(self, firsts: Sequence[int]) -> None:
        self._firsts = firsts
        self.parts = [Parameters(DISTINCT_ADDED) for _ in firsts]

    def add(self, index: int, params: dict[str, object]) -> None:
        """Count the parameters of one task."""
        self.parts[bisect_right(self._firsts, index) - 1].add(params)


def _by_value(text: str) -> tuple[int, float, str]:
    """Order numbers by value and before all else, other values by their text."""
    try:
        number = float(text)
    except ValueError:
        return 1, 0.0, text
    return (0, number, text) if math.isfinite(number) else (1, 0.0, text)
