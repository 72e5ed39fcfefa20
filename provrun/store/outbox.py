"""The outbox of a job whose database is away: what its tasks gave, in files, until it can be recorded.

It is a log with one writer, the job's manager. An entry holds operations; those that intern something have a name, a
negative number that stands for the id they will give, in later operations too. Folding does each entry once: how far it
is done is moved in the transaction that does it. Interning again gives the same id, so names are found again by doing
so.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from provrun.core.records import Context
from provrun.errors import ProvrunError, StorageFailed, Unavailable
from provrun.store import entries, operations
from provrun.store.database import Database, LogIsOpen
from provrun.store.entries import Entry
from provrun.store.log import Log
from provrun.store.log_files import LogFiles
from provrun.store.operations import CloseJob, InternContext, Record
from provrun.store.registry import Registry

PREFIX = "outbox-"
DONE = 2  # what ``log.open`` says of an outbox: neither open nor closed, it is no log of the registry

Step = tuple[int, operations.Every]
"""The name under which later operations know what this one gives (0: none), and the operation."""

_decoder = msgspec.msgpack.Decoder(tuple[Step, ...])
_encoder = msgspec.msgpack.Encoder()


class Outbox:
    """The outbox of a running job; there are no files as long as nothing was put into it."""

    def __init__(self, folder: Path, job: str) -> None:
        self.folder = folder_of(folder, job)
        self._job = job
        self._last: Entry | None = None
        self._log: Log | None = None

    @property
    def empty(self) -> bool:
        """Tell whether nothing was put into it."""
        return self._last is None

    def put(self, steps: list[Step]) -> None:
        """Keep operations on the disk; `StorageFailed` if that cannot be done."""
        try:
            if self._log is None or self._last is None:
                self._log, self._last = Log.create(self.folder, self._job, self._job)
            entry = self._log.append(self._last.position + 1, self._last.digest, _encoder.encode(tuple(steps)))
            assert entry is not None, "somebody else writes into the outbox of this job"
            self._last = entry
            self._log.announce(entry)
        except OSError as error:
            raise StorageFailed(
                f"the database is away, and what tasks give cannot be kept: {error}", value=str(self.folder),
                next="free some space and run again",
            ) from error


class Folded(msgspec.Struct):
    """What folding an outbox did: attempts recorded, ids by name, why it ended before the end of the outbox."""

    attempts: int = 0
    promoted: int = 0
    ids: dict[int, int] = {}
    stuck: str | None = None


def folder_of(folder: Path, job: str) -> Path:
    """Give the folder of the outbox of a job, by its uuid."""
    return folder / f"{PREFIX}{job}"


def left(folder: Path) -> Iterator[str]:
    """Give the uuids of the jobs that have an outbox."""
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.name.startswith(PREFIX):
                yield path.name.removeprefix(PREFIX)


def fold(registry: Registry, folder: Path, job: str) -> Folded:
    """Do what stands in the outbox of a job and was not done yet, each entry in a transaction of its own."""
    log = LogFiles(folder_of(folder, job))
    folded = Folded()
    for entry in log.read(0):
        if entry.position:
            _do(registry, job, entry, folded)
    folded.stuck = None if log.stuck is None else str(log.stuck)
    return folded


def remove(folder: Path, job: str) -> None:
    """Remove an outbox of which everything has been done."""
    shutil.rmtree(folder_of(folder, job), ignore_errors=True)


def _do(registry: Registry, job: str, entry: Entry, folded: Folded) -> None:
    db = registry.database
    steps = _decoder.decode(entry.body)
    closing: list[CloseJob] = []
    try:
        with db.writing():
            fresh = entry.position > _position(db, job)
            attempts = promoted = 0
            for name, operation in steps:
                translated = with_ids(operation, folded.ids)
                if name:
                    folded.ids[name] = made(registry, translated)
                elif isinstance(translated, CloseJob):
                    closing.append(translated)
                elif fresh:
                    promoted += _effect(registry, translated)
                    attempts += len(translated.ended) if isinstance(translated, Record) else 0
            if fresh:
                db.run("update log set position=?, digest=? where uuid=?", (entry.position, entry.digest, _name(job)))
    except LogIsOpen as error:
        raise Unavailable("a log has been opened for this registry", next="try again") from error
    for operation in closing:
        _close(registry, operation)
    folded.attempts += attempts
    folded.promoted += promoted


def _close(registry: Registry, operation: CloseJob) -> None:
    """Close a job, in transactions of its own since it may be the last one of a log; once more does no harm."""
    if all(job.id != operation.job for job in registry.running_jobs()):
        return
    if never_begun := registry.held(operation.job):
        registry.release(operation.job, never_begun)  # of a claim whose answer was lost with the database
    operation.on(registry)


def _name(job: str) -> str:
    return f"{PREFIX}{job}"


def _position(db: Database, job: str) -> int:
    """Give the position up to which an outbox has been done."""
    db.run(
        "insert into log(uuid, position, digest, open, opened) values(?,0,?,?,?) on conflict(uuid) do nothing",
        (_name(job), entries.ZERO, DONE, time.time_ns() // 1000),
    )
    return int(db.fetch("select position from log where uuid=?", (_name(job),))[0][0])


def made(registry: Registry, operation: operations.Every) -> int:
    """Do an operation that gives an id."""
    id = operation.on(registry)
    assert isinstance(id, int), operation
    return id


def _effect(registry: Registry, operation: operations.Every) -> int:
    """Do an operation; give how many tasks became pending by recording."""
    try:
        with registry.database.writing():
            result = operation.on(registry)
    except (StorageFailed, Unavailable):
        raise
    except ProvrunError:
        return 0  # the operation's own fault, which it would have had at its time, too
    return result if isinstance(operation, Record) and isinstance(result, int) else 0


def with_ids(operation: operations.Every, ids: Mapping[int, int]) -> operations.Every:
    """Replace names by the ids they stand for; a name without one stays."""
    if isinstance(operation, InternContext):
        return InternContext(_context(operation.context, ids))
    if isinstance(operation, Record) and any(one.context < 0 for one in operation.ended):
        ended = tuple(
            msgspec.structs.replace(one, context=ids.get(one.context, one.context)) if one.context < 0 else one
            for one in operation.ended
        )
        return Record(operation.job, ended)
    return operation


def _context(context: Context, ids: Mapping[int, int]) -> Context:
    def known(id: int | None) -> int | None:
        return id if id is None else ids.get(id, id)

    return msgspec.structs.replace(
        context, code=known(context.code), environment=known(context.environment), host=known(context.host),
        uses=known(context.uses), inputs=known(context.inputs), code_after=known(context.code_after),
    )
