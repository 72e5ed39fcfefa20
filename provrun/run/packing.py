"""Moving output files into the pack: small ones at once, large ones aside."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from functools import partial

import msgspec

from provrun.core.records import Artifact
from provrun.run.packs import FILE
from provrun.run.reports import Reports

_LARGE = 1 << 22  # bytes: compressing fewer takes less time than a process of its own

Then = Callable[[list[Artifact]], None]


def pack_outputs(reports: Reports, workdir: str, names: Collection[str], artifacts: list[Artifact], then: Then) -> None:
    """Move the files of the outputs of these names into the pack, and go on with the artifacts as they are then.

    A file is removed when its content is on disk in the pack; one that cannot be copied stays where it is.
    """
    done = list(artifacts)
    copying = 0
    waiting = False

    def copied(position: int, path: str, place: str, answer: bytes | None) -> None:
        nonlocal copying
        copying -= 1
        if answer is not None:
            done[position] = msgspec.structs.replace(done[position], place=place)
            reports.remove_when_safe(path)
        if waiting and not copying:
            then(done)

    for position, artifact in enumerate(artifacts):
        if artifact.role != "output" or artifact.name not in names or artifact.path is None:
            continue
        path = os.path.join(workdir, artifact.path)
        copying += 1
        if artifact.size < _LARGE:
            with open(path, "rb") as file:
                copied(position, path, reports.pack.append(FILE, file.read()), b"")
        else:
            reserved = reports.pack.reserve(FILE, artifact.size)
            reports.asides.run(partial(reserved.fill, path), partial(copied, position, path, reserved.place))
    waiting = True
    if not copying:
        then(done)
