"""Compacting: what nobody needs any more goes from the packs, what it was called and what it was stay."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from provrun.core.records import DROPPED
from provrun.core.states import Outcome
from provrun.errors import Refused, StorageFailed
from provrun.run import packs
from provrun.store import compacting
from provrun.store.compacting import Held, Move

if TYPE_CHECKING:
    from provrun.project.project import Project
    from provrun.store.database import Database


class Rule(NamedTuple):
    """What may go: captured output of ``output`` attempts (all, succeeded, none), and contents of superseded ones.

    Only of these maps, if some are named, and of what began before ``before`` (microseconds since the epoch).
    """

    output: str = "succeeded"
    superseded: bool = True
    maps: Collection[int] = ()
    before: int | None = None

    def drops(self, one: Held) -> bool:
        """Tell whether a record goes."""
        if self.maps and one.map not in self.maps:
            return False
        if self.before is not None and (one.started is None or one.started >= self.before):
            return False
        if one.role:
            return self.superseded and one.superseded
        return self.output == "all" or (self.output == "succeeded" and one.outcome is Outcome.SUCCEEDED)


class Compacted(NamedTuple):
    """What went: records of captured output, contents of superseded attempts, and bytes on the disk."""

    outputs: int
    contents: int
    freed: int


def compact(project: Project, rule: Rule, *, dry: bool = False) -> Compacted:
    """Drop from the packs what a rule lets go, and what belongs to nothing any more.

    A pack is written anew beside the old one, the registry is told in one transaction, and the old one goes: whoever is
    killed loses nothing, and the next time does the rest. `Refused` while a job runs or waits.
    """
    registry = project.registry
    registry.settle()
    if registry.position is not None:
        raise Refused("jobs share a log, so packs must stay as they are", next="wait until they have ended")
    database = registry.database
    compacting.require_rest(database)
    folder = project.dir / "packs"
    files = _files(folder)
    outputs = contents = freed = 0
    for job, uuid in compacting.jobs(database):
        ranks = files.pop(uuid, {})
        kept, dropped = _parted(database, job, rule)
        outputs += sum(not one.role for one in dropped)
        contents += sum(bool(one.role) for one in dropped)
        freed += _compact(project, uuid, ranks, kept, dropped, dry=dry)
    for ranks in files.values():  # of jobs that nobody knows: what they gave was never recorded
        freed += sum(path.stat().st_size for path in ranks.values())
        if not dry:
            _unlink(ranks.values())
    if not dry:
        freed += _vacuumed(database)
    return Compacted(outputs, contents, freed)


def _files(folder: Path) -> dict[str, dict[int, Path]]:
    """Give the packs of each job by rank."""
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.glob("*.pack")):
        uuid, _, rank = path.stem.rpartition("-")
        if uuid and rank.isdecimal():
            found.setdefault(uuid, {})[int(rank)] = path
    return found


def _parted(database: Database, job: int, rule: Rule) -> tuple[list[Held], list[Held]]:
    """Part what the packs of a job hold into what stays and what goes; what is shared stays with those that keep it."""
    kept: list[Held] = []
    dropped: list[Held] = []
    for one in compacting.held(database, job):
        (dropped if rule.drops(one) else kept).append(one)
    return kept, dropped


def _compact(
    project: Project, uuid: str, ranks: dict[int, Path], kept: list[Held], dropped: list[Held], *, dry: bool
) -> int:
    """Write the packs of a job anew without what goes; give the bytes that are free then."""
    by_rank: dict[int, list[Held]] = {rank: [] for rank in ranks}
    for one in kept:
        by_rank.setdefault(_rank(one.place), []).append(one)
    lost = {_rank(one.place) for one in dropped}
    moves = [Move(one, DROPPED) for one in dropped]
    old: list[Path] = []
    made: list[Path] = []
    freed = 0
    for rank, path in ranks.items():
        size, needed = path.stat().st_size, _size(by_rank[rank])
        if needed and rank not in lost:
            continue  # what belongs to nothing is little, and goes when something else does
        freed += size - needed
        old.append(path)
        if needed and not dry:
            new = max((*ranks, *(_rank(move.place) for move in moves if move.place != DROPPED))) + 1
            moves += _rewritten(project, uuid, path, new, by_rank[rank])
            made.append(packs.pack_path(project.root, uuid, new))
    if dry or not (old or moves):
        return freed
    try:
        compacting.move(project.registry.database, moves)
    except BaseException:
        _unlink(made)
        raise
    _unlink(old)
    return freed


def _rewritten(project: Project, uuid: str, path: Path, rank: int, kept: list[Held]) -> list[Move]:
    """Copy what stays into a new pack that is on the disk before anything leads to it."""
    target = packs.pack_path(project.root, uuid, rank)
    target.unlink(missing_ok=True)
    writer = packs.PackWriter.of(project.root, uuid, rank)
    places: dict[str, str] = {}
    kinds = {"": packs.LOG, "result": packs.BLOB}
    moves = []
    for one in sorted(kept, key=lambda held: int(held.place.split(":")[1])):
        if one.place not in places:
            places[one.place] = writer.append(kinds.get(one.role, packs.FILE), packs.read(path, one.place))
        moves.append(Move(one, places[one.place]))
    writer.close()
    return moves


def _rank(place: str) -> int:
    return int(place.split(":", 1)[0])


def _size(some: list[Held]) -> int:
    return sum(int(place.split(":")[2]) for place in {one.place for one in some})


def _unlink(paths: Collection[Path]) -> None:
    try:
        for path in paths:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageFailed(f"cannot remove {error.filename}: {error.strerror}", value=str(error.filename)) from error


def _vacuumed(database: Database) -> int:
    """Give the pages of a SQLite file back that deleted rows have left, where they are many; give the bytes."""
    if database.dialect != "sqlite":
        return 0  # PostgreSQL looks after that itself
    free, pages, size = (
        int(database.fetch(f"pragma {name}")[0][0]) for name in ("freelist_count", "page_count", "page_size")
    )
    if free * 8 < pages:
        return 0
    database.run("vacuum")
    return free * size
