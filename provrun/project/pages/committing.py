"""Committing to every task of the maps on a page, and writing the records that are committed to."""

from __future__ import annotations

import os
import secrets
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from provrun.core import leaves, merkle
from provrun.core.cohorts import MOST_COHORTS, CohortKey, GroupKey, key_of
from provrun.core.commitment import MapCommitment, commit_trees
from provrun.core.states import State
from provrun.errors import ProvrunError
from provrun.store.leaves import Leaves

if TYPE_CHECKING:
    from provrun.core.cohorts import Grouping
    from provrun.core.history import Circumstances, History
    from provrun.core.records import MapRecord
    from provrun.store.database import Database

SECRET = "secret"
_REUSED = leaves.counted(State.SUCCEEDED.word, True, 0).pack()
_SUMS = {state: leaves.counted(state.word, False, 0).pack() for state in State}


class Changed(ProvrunError):
    """The registry changed while it was read."""

    code = "changed"

    def __init__(self, map: str) -> None:
        super().__init__(
            f"{map} changed while it was read, so nothing was written", value=map,
            next="export again when nothing runs, or once more",
        )


class Way(NamedTuple):
    """The way from a task to the root of its group: the group's position, its own, its record, siblings bottom up."""

    group: int
    position: int
    record: bytes
    path: tuple[merkle.Node, ...]


class Planted(NamedTuple):
    """A commitment, the number of the tree of each task by index, and the numbers of the trees by position of group."""

    commitment: MapCommitment
    tree_of: array[int]
    order: Sequence[int]

    def task(self, position: int) -> int:
        """Give the index of the task at a position of the whole: group after group, in each by index."""
        for group, number in zip(self.commitment.groups, self.order, strict=True):
            if group.sums.tasks == len(self.tree_of):
                return position
            if position < group.sums.tasks:
                of_group = (index for index, tree in enumerate(self.tree_of) if tree == number)
                return next(islice(of_group, position, None))
            position -= group.sums.tasks
        raise IndexError(position)

    def sample(self) -> Iterator[int]:
        """Give the indices of tasks drawn from the root, each once, as whoever has the page draws them."""
        root, sums = self.commitment.root.hash, self.commitment.sums
        return (self.task(position) for position in merkle.sample(root, b"", sums.tasks))


class Apart:
    """Trees over the tasks of a map, one for each cohort, while it is not known yet which groups these will be."""

    def __init__(self) -> None:
        self.trees: list[merkle.Tree] = []
        self.tree_of = array("I")
        self._numbers: dict[CohortKey | GroupKey, int] = {}

    def position(self, key: CohortKey | GroupKey) -> int:
        """Give the number of a tree."""
        number = self._numbers.setdefault(key, len(self.trees))
        if number == len(self.trees):
            self.trees.append(merkle.Tree())
        return number

    def planted(self, groups: Sequence[GroupKey]) -> Planted | None:
        """Commit to a map that has these groups; None if some of them are pooled, so that trees are missing.

        The same where there are more trees than cohorts can be without being pooled.
        """
        if len(self.trees) > MOST_COHORTS:
            return None
        found = {key.group if isinstance(key, CohortKey) else key: number for key, number in self._numbers.items()}
        if found.keys() != set(groups):
            return None
        order = [found[key] for key in groups]
        return Planted(commit_trees(groups, [self.trees[number] for number in order]), self.tree_of, order)


class Committing:
    """Makes the records of tasks and the trees over them, in one pass over each map."""

    def __init__(self, database: Database, secret: bytes | None = None) -> None:
        """With a ``secret`` every record is salted."""
        self._leaves = Leaves(database)
        self._secret = secret

    def commit(
        self, record: MapRecord, grouping: Grouping, circumstances: Callable[[int], Circumstances],
        level: Callable[[int], int], write: Callable[[int, bytes], object] | None = None,
    ) -> Planted:
        """Commit to a map; ``write`` takes each record with the position of its group."""
        trees = [merkle.Tree() for _ in grouping.groups]
        tree_of = array("I")
        for position, _, sums, line in self._lines(record, grouping, circumstances, level):
            trees[position].add(sums, merkle.leaf_hash(line))
            tree_of.append(position)
            if write is not None:
                write(position, line)
        return Planted(commit_trees(grouping.groups, trees), tree_of, range(len(trees)))

    def commit_apart(
        self, record: MapRecord, circumstances: Callable[[int], Circumstances], level: Callable[[int], int],
        count: Callable[[Iterable[History]], object], write: Callable[[int, bytes], object] | None = None,
    ) -> Apart:
        """Make the trees of a map and let ``count`` count its tasks, in one pass over them.

        ``write`` takes each record with the number of its tree, unless they are too many.
        """
        apart = Apart()
        for number, _, sums, line in self._lines(record, apart, circumstances, level, count):
            apart.trees[number].add(sums, merkle.leaf_hash(line))
            apart.tree_of.append(number)
            if write is not None and number < MOST_COHORTS:
                write(number, line)
        return apart

    def way(
        self, record: MapRecord, grouping: Grouping, circumstances: Callable[[int], Circumstances],
        level: Callable[[int], int], index: int,
    ) -> tuple[MapCommitment, Way]:
        """Commit to a map and give the way from one of its tasks to the root of its group."""
        trees = [merkle.Tree() for _ in grouping.groups]
        found: tuple[int, int, bytes] | None = None
        for position, task, sums, line in self._lines(record, grouping, circumstances, level):
            if task == index:
                trees[position].watch()
                found = position, trees[position].size, line
            trees[position].add(sums, merkle.leaf_hash(line))
        commitment = commit_trees(grouping.groups, trees)
        assert found is not None, f"{record.name}/{index} is gone"
        return commitment, Way(*found, tuple(trees[found[0]].path))

    def _lines(
        self, record: MapRecord, grouping: Grouping | Apart, circumstances: Callable[[int], Circumstances],
        level: Callable[[int], int], count: Callable[[Iterable[History]], object] | None = None,
    ) -> Iterator[tuple[int, int, int, bytes]]:
        places: dict[object, int] = {}
        dependent = any(one.kind != "after" for one in record.dependencies)
        writer = leaves.Writer(
            record.name, self._leaves.around, own=frozenset(record.own) if dependent else None, secret=self._secret
        )
        for histories, flows in self._leaves.pages(record):
            if count is not None:
                try:
                    count(histories)
                except KeyError:  # circumstances that were not there when all were read
                    raise Changed(record.name) from None
            for history in histories:
                depth, shown, taken = level(history.task), history.shown, history.reused
                stands: object = None
                if shown is not None:
                    stands, sums = (shown.context, shown.outcome, depth), _SUMS[history.state] + (shown.wall or 0)
                elif taken is not None:
                    stands, sums = (taken.made.context, taken.origin.registry, taken.origin.map), _REUSED
                else:
                    sums = _SUMS[history.state]
                place = places.get(stands)
                if place is None:
                    try:
                        place = places[stands] = grouping.position(key_of(history, circumstances, depth))
                    except KeyError:
                        raise Changed(record.name) from None
                yield place, history.task, sums, writer.write(history, depth, flows).encode()


def secret_of(folder: Path) -> bytes:
    """Give the secret from which salts are made, kept in the project's folder; made when first asked for."""
    path = folder / SECRET
    if not path.exists():
        # Whole from the beginning, and only one of those who make it at this moment.
        made = folder / f"{SECRET}.{os.getpid()}"
        try:
            with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(32) + "\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(made, path)
        finally:
            made.unlink(missing_ok=True)
    return bytes.fromhex(path.read_text().strip())
