"""Merging: the maps of another registry come into this one, and the packs that their jobs have left."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from provrun.core.nearest import suggestion
from provrun.core.problems import Problems
from provrun.core.records import DROPPED
from provrun.core.refs import valid_map_name
from provrun.errors import Refused, StorageFailed
from provrun.record.files import digest_file
from provrun.record.scratch import Scratch

if TYPE_CHECKING:
    from provrun.project.project import Project
    from provrun.store.database import Database
    from provrun.store.merge.merging import Merged

_HELD = (
    "select distinct j.uuid from attempt a join context x on x.id=a.context_id join job j on j.id=x.job_id"
    " where a.log is not null and a.log<>? union select distinct j.uuid from artifact f join attempt a"
    " on a.map_id=f.map_id and a.idx=f.idx and a.number=f.number join context x on x.id=a.context_id"
    " join job j on j.id=x.job_id where f.place is not null and f.place<>?"
)


FUNCTIONS = "functions"  # where `api.functions` keeps the source of what was defined at a prompt
_STORED = f".provrun/{FUNCTIONS}/*.py"


class _Uses(msgspec.Struct):
    """What of a record of used files is of interest here."""

    files: dict[str, str] = {}


class Merge(NamedTuple):
    """What came from a registry; ``without`` counts the jobs whose contents lie in packs that are not here."""

    registry: str
    maps: tuple[Merged, ...]
    packs: int
    without: int


def merge(
    project: Project, path: Path, *, renamed: Sequence[str] = (), prefix: str = "", packs: Path | None = None,
    dry: bool = False,
) -> Merge:
    """Bring the maps of the registry in a SQLite file, ``NAME=NEW`` under other names, with all that is known of them.

    ``packs`` is the folder with that registry's packs (default: beside the file). Raises `NotFound`, `Refused` and
    `InvalidInput` before anything is written; merging again brings only what is new.
    """
    from provrun.store.database import LogIsOpen
    from provrun.store.merge import merging, source

    registry = project.registry
    registry.settle()
    if registry.position is not None:
        raise _logged()
    if project.url.startswith("sqlite:///") and path.exists() and path.samefile(project.url.removeprefix("sqlite:///")):
        raise Refused(f"{path} is the registry of this project", value=str(path), next="name another one's")
    temporary = project.dir / "tmp"
    temporary.mkdir(exist_ok=True)
    with Scratch(str(temporary)) as scratch, source.opened(path, scratch.path) as other:
        names = _names(other, renamed, prefix)
        copied = 0
        try:
            if not dry:
                merging.require_fit(registry.database, other, names)
                folder = packs if packs is not None else path.parent / "packs"
                copied = _copy_packs(project, other, folder)
                _copy_functions(project, other, folder.parent / FUNCTIONS)
            done = merging.merge(registry.database, other, names, dry=dry)
        except LogIsOpen:
            raise _logged() from None
        uuid = str(other.fetch("select uuid from registry")[0][0])
        return Merge(uuid, tuple(done), copied, 0 if dry else _without(project, other))


def _logged() -> Refused:
    return Refused("jobs share a log, so no other registry can come in now", next="wait until they have ended")


def _names(other: Database, renamed: Sequence[str], prefix: str) -> dict[str, str]:
    """Give what the maps of the other registry are to be called."""
    from provrun.store import lookups

    known = lookups.map_names(other)
    names = {name: prefix + name for name in known}
    problems = Problems("names of maps")
    for text in renamed:
        name, equals, new = text.partition("=")
        if not equals:
            problems.add(f"{text}: write --as NAME=NEW")
        elif name not in names:
            problems.add(f"{text}: no map named {name} there; {suggestion(name, known, 'see its provrun list')}")
        else:
            names[name] = new
    for name, new in names.items():
        if not valid_map_name(new):
            problems.add(f"{name} cannot be called {new!r}: letters, digits, _ and -, no digit or - first")
    problems.raise_any()
    return names


def _copy_packs(project: Project, other: Database, folder: Path) -> int:
    """Copy the packs that are not here; each is whole before it has its name. Refuse where two differ."""
    target = project.dir / "packs"
    count = 0
    for (uuid,) in other.fetch("select uuid from job order by id"):
        for path in sorted(folder.glob(f"{uuid}-*.pack")):
            here = target / path.name
            if here.exists():
                if not here.samefile(path) and not filecmp.cmp(here, path, shallow=False) and _is_new(project, uuid):
                    raise Refused(
                        f"{here} is there and another one than {path}", value=path.name, next=f"move {here} away"
                    )
                continue
            _copy(path, here)
            count += 1
    return count


def _copy_functions(project: Project, other: Database, folder: Path) -> None:
    """Copy the sources of notebook functions that attempts used; none takes the place of another version."""
    used: set[tuple[str, str]] = set()
    for (text,) in other.fetch("select body from uses order by id"):
        files = msgspec.json.decode(text, type=_Uses).files
        used |= {(PurePath(path).name, digest) for path, digest in files.items() if PurePath(path).match(_STORED)}
    for name, digest in sorted(used):
        for there in (folder / f"{digest}.py", folder / name):
            here = project.dir / FUNCTIONS / there.name
            if not here.exists() and there.is_file() and digest_file(there)[0] == digest:
                _copy(there, here)


def _is_new(project: Project, job: str) -> bool:
    """Tell whether this registry does not know a job: then what its packs hold here belongs to nothing."""
    return project.registry.database.one("select 1 from job where uuid=?", (job,)) is None


def _copy(path: Path, here: Path) -> None:
    from provrun.store.log import sync

    temporary = here.with_name(f".{here.name}")  # should it be left, compact takes it for a pack of no job
    try:
        here.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(here)
        sync(here.parent)
    except OSError as error:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise StorageFailed(f"cannot copy {path}: {error.strerror}", value=str(path)) from error


def _without(project: Project, other: Database) -> int:
    folder = project.dir / "packs"
    return sum(
        not any(folder.glob(f"{uuid}-*.pack")) for (uuid,) in other.fetch(_HELD, (DROPPED, DROPPED))
    )
