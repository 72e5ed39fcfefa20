"""What a page and the records of its tasks say, as far as it takes to run some of them again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, cast

from provrun.core.canonical import Value, encode
from provrun.core.leaves import Record, read_of
from provrun.core.merkle import sample
from provrun.core.refs import valid_map_name
from provrun.core.states import State
from provrun.export.recipes import Applied, applied
from provrun.export.view import Broken, Mapped, View
from provrun.project.pages.leaf_files import opened_leaves

MOST_READ = 100_000
"""Tasks of one map that are looked through to find out which of them another task read."""
_INDEX = re.compile(rb'"index":(\d+),"inputs"')

Entry = tuple[int, int, str | None]
"""An upstream attempt that was read: index, number, digest of its result."""
Named = tuple[str, int]
"""A task: map and index."""


class Unknown(Exception):
    """The records do not say what it takes to run a task again; the message says what is missing."""


class Needed(NamedTuple):
    """A task that is to be run: its record, all its parameters, and by map what it reads.

    ``upstream`` is the index of the task it builds on, or the number of its group.
    """

    record: Record
    params: dict[str, Value]
    reads: dict[str, Sequence[Entry]]
    upstream: int | None


class Evidence:
    """A page that holds, and its records in a file."""

    def __init__(self, view: View, leaves: Path) -> None:
        self.view = view
        self.maps = {one.name: one for one in view.maps()}
        self.applied: dict[str, Applied] = {name: _applied(view, one) for name, one in self.maps.items()}
        self._leaves = leaves
        self._records: dict[Named, Record] = {}
        self._params: dict[str, list[tuple[int, int, str | None, dict[str, Value]]]] = {}

    def drawn(self, name: str, wanted: int, nonce: bytes) -> list[Record]:
        """Draw succeeded tasks of a map from its root and the nonce, in the order in which they were drawn."""
        one = self.maps[name]
        positions = sample(one.commitment.root, nonce, one.commitment.sums.tasks)
        found: list[Record] = []
        while len(found) < wanted and (some := list(islice(positions, max(64, 2 * wanted)))):
            lines = self._at(one, set(some))
            records = [Record(lines[place]) for place in some]
            found += [record for record in records if record.fields["state"] == State.SUCCEEDED.word]
        chosen = found[:wanted]
        self._records.update(((name, record.index), record) for record in chosen)
        return chosen

    def _lines(self, one: Mapped) -> Iterator[bytes]:
        """Give the records of a map as they stand in the file."""
        with opened_leaves(self._leaves) as file:
            for other in self.maps.values():
                for _ in range(other.commitment.sums.tasks):
                    line = file.readline()
                    if other is one:
                        yield line.rstrip(b"\n")
                if other is one:
                    return

    def _at(self, one: Mapped, places: set[int]) -> dict[int, bytes]:
        return {place: line for place, line in enumerate(self._lines(one)) if place in places}

    def records(self, name: str, indices: set[int]) -> dict[int, Record]:
        """Give records of a map by index."""
        missing = {index for index in indices if (name, index) not in self._records}
        if missing:
            for line in self._lines(self.maps[name]):
                if any(int(found[1]) in missing for found in _INDEX.finditer(line)):
                    record = Record(line)
                    self._records[name, record.index] = record
        return {index: self._records[name, index] for index in indices}

    def fetch_read(self, records: Iterable[Record]) -> None:
        """Read the records of what some tasks read, and of what those read, in as few passes as there are maps."""
        wanted: dict[str, set[int]] = {}
        for record in records:
            for read in cast("list[dict[str, object]]", record.fields["reads"] or []):
                if read["list"] is not None and read["map"] in self.maps:
                    listed = cast("list[list[int]]", read["list"])
                    wanted.setdefault(str(read["map"]), set()).update(one[0] for one in listed)
        for name, indices in wanted.items():
            self.fetch_read(self.records(name, indices).values())

    # What a task needs

    def needed(self, record: Record) -> Needed:
        """Say what it takes to run a task again; raises `Unknown`."""
        how = self.applied[record.map]
        own = cast("dict[str, Value]", record.fields["params"])
        params: dict[str, Value] = {}
        reads: dict[str, Sequence[Entry]] = {}
        upstream: int | None = None
        for read in cast("list[dict[str, object]]", record.fields["reads"] or []):
            name, count = str(read["map"]), cast("int", read["tasks"])
            if name not in self.maps:
                raise Unknown(f"it read {name}, which is not on the page")
            listed = read["list"]
            if listed is not None:
                reads[name] = [cast("Entry", tuple(one)) for one in cast("list[list[object]]", listed)]
            else:
                reads[name] = self._gathered(how, name, count, str(read["digest"]))
            if name not in how.reduces:
                index = reads[name][0][0]
                params |= self.params(name, index)
                nearest = max((other for other in reads if other not in how.reduces), key=self._place)
                upstream = index if name == nearest else upstream
            elif how.by:
                first = self.params(name, reads[name][0][0])
                params |= {key: first[key] for key in how.by if key in first}
        if how.reduces and not own:
            upstream = record.index  # one task for each group, in the order of the groups
        return Needed(record, {**params, **own}, reads, upstream)

    def _place(self, name: str) -> int:
        return self.maps[name].position

    def params(self, name: str, index: int) -> dict[str, Value]:
        """Give all parameters of a task, those it inherits included."""
        record = self.records(name, {index})[index]
        inherited: dict[str, Value] = {}
        for read in cast("list[dict[str, object]]", record.fields["reads"] or []):
            listed = cast("list[list[object]] | None", read["list"])
            if listed and read["map"] not in self.applied[name].reduces:
                inherited |= self.params(str(read["map"]), cast("int", listed[0][0]))
        return {**inherited, **cast("dict[str, Value]", record.fields["params"])}

    def _gathered(self, how: Applied, name: str, count: int, digest: str) -> list[Entry]:
        """Find which of a map's tasks were read, of which the record says only how many, and a digest of them."""
        total = self.maps[name].commitment.sums.tasks
        if total > MOST_READ:
            raise Unknown(f"it read {count:,} tasks of {name}, which has {total:,}: too many to find out which")
        for entries in self._candidates(how, name, count):
            if len(entries) == count and read_of(name, entries).digest == digest:
                return sorted(entries)
        raise Unknown(f"the records do not say which {count:,} tasks of {name} it read")

    def _candidates(self, how: Applied, name: str, count: int) -> Iterator[list[Entry]]:
        every = self._entries(name)
        yield [(index, number, result) for index, number, result, _ in every]
        groups: dict[str, list[Entry]] = {}
        for index, number, result, params in every:
            key = encode({by: params.get(by) for by in how.by})
            groups.setdefault(key, []).append((index, number, result))
        yield from groups.values()
        plain = [(index, number, result) for index, number, result, _ in every]
        for start in (*range(0, len(plain), count), len(plain) - count):
            yield plain[start : start + count]

    def _entries(self, name: str) -> list[tuple[int, int, str | None, dict[str, Value]]]:
        """Give index, attempt, result and all parameters of the succeeded tasks of a map."""
        if name not in self._params:
            records = self.records(name, set(range(self.maps[name].commitment.sums.tasks)))
            self.fetch_read(records.values())
            self._params[name] = [
                (index, cast("int", record.fields["attempt"]), cast("str | None", record.fields["result"]),
                 self.params(name, index))
                for index, record in sorted(records.items()) if record.fields["state"] == State.SUCCEEDED.word
            ]
        return self._params[name]


def _applied(view: View, one: Mapped) -> Applied:
    """Read how a map was computed, of a page of which nobody knows who wrote it."""
    try:
        how = applied(view, one)
    except (ValueError, TypeError):
        how = None
    if how is None or not all(isinstance(word, str) for word in how.recipe.words) or not valid_map_name(one.name):
        raise Broken("recipe", f"the recipe or the name of {one.name} cannot be read")
    return how
