"""Backup: the registry as of one moment, in one SQLite file, whatever database it is in."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from provrun.errors import Refused, StorageFailed

if TYPE_CHECKING:
    from provrun.project.project import Project


class Saved(NamedTuple):
    """What a backup holds: maps and tasks; and the bytes of packs that it does not."""

    maps: int
    tasks: int
    size: int
    packs: int


def backup(project: Project, path: Path) -> Saved:
    """Write a backup to a new file, as a whole or not at all; runs may go on meanwhile.

    With a log, what jobs have recorded up to now is in it. Raises `Refused` if the file is there already.
    """
    from provrun.store.log import sync
    from provrun.store.saving import save

    if path.exists():
        raise Refused(f"{path} is there already", value=str(path), next="name a new file")
    registry = project.registry
    registry.fold()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        maps, tasks = save(registry.database, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        try:
            path.hardlink_to(temporary)  # unlike a rename it never takes the place of another file
        except FileExistsError:
            raise Refused(f"{path} is there already", value=str(path), next="name a new file") from None
        sync(path.parent)
    except OSError as error:
        raise StorageFailed(f"cannot write {path}: {error.strerror}", value=str(path)) from error
    finally:
        for left in (temporary, temporary.with_name(f"{temporary.name}-journal")):
            with suppress(FileNotFoundError):
                left.unlink()
    packs = sum(one.stat().st_size for one in (project.dir / "packs").glob("*.pack"))
    return Saved(maps, tasks, path.stat().st_size, packs)
