"""What attempts printed, and what they wrote into packs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from provrun.core.answers import Shown
from provrun.core.records import DROPPED, Artifact, AttemptRecord, MapRecord
from provrun.errors import NotFound, Refused, Unsound, UsageError
from provrun.query.labels import attempt_ref
from provrun.query.tables import replacing
from provrun.query.view import Captured, View


class Printed(NamedTuple):
    """What one attempt printed."""

    ref: str
    captured: Captured


class Written(NamedTuple):
    """A file that `get` has put somewhere; ``fresh`` is false when it lay there already."""

    attempt: str
    name: str
    path: str
    size: int
    fresh: bool


def log(view: View, map: MapRecord, shown: Shown, number: int | None = None) -> Printed:
    """Give what a task's attempt printed: the one with this number, else the last that ended."""
    index = shown.task.index
    attempts = view.reads.attempts(map.id, index)
    chosen = [attempt for attempt in attempts if number is None or attempt.number == number]
    if not chosen:
        ref = f"{map.name}/{index}" + (f"#{number}" if number is not None else "")
        running = shown.task.job is not None
        raise NotFound(
            f"no attempt of {ref} has ended", value=ref,
            next=f"provrun logs {ref} -f waits for it" if running else f"provrun why {map.name}/{index}",
        )
    return _printed(view, map, chosen[-1])


def logs(view: View, map: MapRecord, tasks: Iterable[Shown]) -> Iterator[Printed]:
    """Give what the attempts that stand for some tasks printed; those of which nothing is there are left out."""
    return (
        _printed(view, map, shown.attempt) for shown in tasks
        if shown.attempt is not None and shown.attempt.log != DROPPED
    )


def matching_lines(text: bytes, pattern: str) -> Iterator[bytes]:
    """Give the lines in which a regular expression is found, without their ends."""
    try:
        wanted = re.compile(pattern.encode())
    except re.error as error:
        raise UsageError(f"{pattern!r} is no regular expression: {error}", value=pattern) from None
    return (line for line in text.splitlines() if wanted.search(line))


def get(view: View, map: MapRecord, shown: Shown, folder: Path, *, force: bool = False) -> Iterator[Written]:
    """Write the packed outputs of a task's accepted attempt beneath a folder, under the paths they were written to.

    Raises `NotFound` when it has none, `Refused` when another file lies there and ``force`` is not given.
    """
    attempt = shown.attempt
    ref = f"{map.name}/{shown.task.index}"
    packed = [made for made in shown.artifacts if made.role == "output" and made.place not in (None, DROPPED)]
    if attempt is None or attempt.number != shown.task.accepted or not packed:
        lying = [str(made.path) for made in shown.artifacts if made.role == "output"]
        raise NotFound(
            f"no output of {ref} is kept in a pack", value=ref,
            next=f"it was written to {', '.join(lying)}" if lying else f"provrun why {ref}",
        )
    for made in packed:
        yield _put(view, f"{ref}#{attempt.number}", attempt, made, folder, force=force)


def _put(view: View, ref: str, attempt: AttemptRecord, made: Artifact, folder: Path, *, force: bool) -> Written:
    target = folder / str(made.path or made.name)
    there = view.digest(str(target.absolute()))
    if there == made.digest.hex():
        return Written(ref, made.name, str(target), made.size, fresh=False)
    if there is not None and not force:
        raise Refused(f"{target} is there with another content", value=str(target), next="give --force or -o DIR")
    content = view.pack(view.contexts[attempt.context].job_uuid, str(made.place))
    if sha256(content).digest() != made.digest:
        raise Unsound(f"the pack does not hold what {ref} wrote as {made.name}", value=ref, next="provrun verify")
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as out:
        out.write(content)
    return Written(ref, made.name, str(target), made.size, fresh=True)


def _printed(view: View, map: MapRecord, attempt: AttemptRecord) -> Printed:
    return Printed(attempt_ref(map.name, attempt.index, attempt.number), view.captured(attempt))
