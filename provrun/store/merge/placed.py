"""Where the tasks and attempts of another registry's map are here."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping

import msgspec


class Placed:
    """A map that has been merged: its id here, and what its tasks and attempts are called.

    ``indices`` gives the index here of each task; None where indices are the same.
    """

    def __init__(self, map: int, name: str, indices: array[int] | None = None) -> None:
        self.map = map
        self.name = name
        self.indices = indices
        self.numbers: dict[tuple[int, int], int] = {}
        """Of attempts (index, number there) that have another number here: that number."""

    @property
    def keeps_names(self) -> bool:
        """Tell whether all tasks and attempts are called here what they are called there."""
        return self.indices is None and not self.numbers

    def index(self, index: int) -> int:
        """Give the index here of a task."""
        return index if self.indices is None else self.indices[index]

    def number(self, index: int, number: int) -> int:
        """Give the number here of an attempt, by its index and number there."""
        return self.numbers.get((index, number), number)


def trail(text: str | None, placed: Mapping[int, Placed]) -> str | None:
    """Write what an attempt read (see `core.records.Claimed`) in the numbers of this registry.

    Of more than a few attempts there is only a digest, which stays what it is: in the numbers of there.
    """
    if text is None:
        return None
    entries: list[tuple[int, int, int | str]] = msgspec.json.decode(text, type=list[tuple[int, int, int | str]])
    written: list[tuple[int, int, int | str]] = []
    for map, first, second in entries:
        there = placed[map]
        if isinstance(second, str):
            written.append((there.map, first, second))
        else:
            written.append((there.map, there.index(first), there.number(first, second)))
    return msgspec.json.encode(written).decode()


def in_other_names(text: str, placed: Mapping[int, Placed]) -> bool:
    """Tell whether a text that `trail` gave has a digest in which attempts are not called what they are called here."""
    others = {there.map for there in placed.values() if not there.keeps_names}
    entries: list[tuple[int, int, int | str]] = msgspec.json.decode(text, type=list[tuple[int, int, int | str]])
    return any(isinstance(second, str) and map in others for map, _, second in entries)


def ranges(indices: Iterable[int]) -> list[tuple[int, int]]:
    """Gather indices into ranges (first, last + 1)."""
    found: list[tuple[int, int]] = []
    for index in sorted(indices):
        if found and found[-1][1] == index:
            found[-1] = (found[-1][0], index + 1)
        else:
            found.append((index, index + 1))
    return found
