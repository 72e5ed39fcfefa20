"""Following a log: how a registry is changed through it, so that all its replicas come to the same state.

A change folds in what others have appended, is tried on the replica's own database, appended as an entry, and
committed together with its position; when somebody else has been first it is undone, theirs is folded in, and it is
tried again. So what a call returns is what its operation did at its place in the order. A call that changes nothing
appends nothing. Whoever dies after appending has done it: his replica folds the entry in like anybody's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import msgspec

from provrun.errors import ProvrunError, StorageFailed, Unavailable, Unsound
from provrun.store import operations
from provrun.store.database import Database, LogIsClosed, LogIsOpen, undisturbed
from provrun.store.entries import Entry
from provrun.store.log import Log
from provrun.store.operations import Operation
from provrun.store.registry import Registry

Result = TypeVar("Result")

MANY = 200  # entries of one transaction
MANY_BYTES = 1 << 25
PATIENCE = 60.0  # seconds to wait for an entry that is there but not as it must be
UNUSED = 600_000_000  # microseconds for which a log waits for its first job
BEAT = 10.0  # seconds between signs of life of a job
SAID = 1.0  # seconds between words of how much it has seen
HEAL = 45.0  # seconds to wait for somebody to mend an entry; a network file system may hide a new file for 30
FRESH = 1.0  # seconds for which lookups are content with what has been folded in
MEND = 2.0  # seconds between looks whether somebody asks for an entry


class Forked(Exception):
    """This replica has folded in something that is not in the log."""


class _Outrun(Exception):
    """Somebody else has appended first."""


class Follower(Registry):
    """A registry that is changed directly as long as no log is open, and through the log as long as one is.

    ``find`` gives the log of a uuid. ``renew`` gives the database of a replica anew, for one that can be thrown away:
    None for the registry itself.
    """

    def __init__(
        self,
        database: Database,
        find: Callable[[str], Log],
        *,
        renew: Callable[[], Database] | None = None,
        closed: Callable[[str], None] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        super().__init__(database)
        self._find = find
        self._renew = renew
        self._on_closed = closed
        self._patience = patience
        self._direct = Registry(database)
        self._log: Log | None = None
        self._folded_at = self._mended_at = self._beaten_at = float("-inf")
        self._job: tuple[int, str] | None = None
        self._told = -1
        self.over = False
        """Whether this is a replica of a log that is closed: of no use any more."""
        found = database.one("select uuid from log where open=1")
        if found is not None:
            self._attach(str(found[0]))

    # The log

    @property
    def position(self) -> int | None:
        """The position up to which the log is folded in; None if no log is open."""
        return None if self._log is None else self._place()[0]

    @property
    def stuck(self) -> str | None:
        """What keeps this replica from folding in the rest of the log, in words; None if nothing does."""
        return None if self._log is None or self._log.stuck is None else str(self._log.stuck)

    def acknowledged(self, job: str, position: int) -> bool:
        """Tell whether a job has said that it has folded the log in as far as a position."""
        beat = self._log.last_beat(job) if self._log is not None else None
        return beat is not None and beat.position >= position

    def _attach(self, uuid: str) -> None:
        self._log = self._find(uuid)
        self.database.through = uuid

    def _detach(self) -> None:
        if self._renew is not None:
            self.over = True
            raise Unavailable("the log has been closed: all its jobs are over", next="try again")
        self._log = self.database.through = None

    def _place(self) -> tuple[int, bytes]:
        found = self.database.one("select position, digest from log where uuid=?", (self.database.through,))
        assert found is not None
        return int(found[0]), bytes(found[1])

    def _stand(self, position: int, digest: bytes) -> None:
        self.database.run(
            "update log set position=?, digest=? where uuid=?", (position, digest, self.database.through)
        )

    def _is_open(self) -> bool:
        return self.database.one("select 1 from log where open=1 and uuid=?", (self.database.through,)) is not None

    # Folding

    def fold(self, *, most: float = PATIENCE) -> bool:
        """Fold in what others have appended, for so many seconds at most; tell whether that was all."""
        log = self._log
        if log is None:
            found = self.database.one("select uuid from log where open=1")
            if found is None:
                return True
            self._attach(str(found[0]))
            log = self._log
            assert log is not None
        end = time.monotonic() + most
        self._mend(log)
        more = True
        while more and time.monotonic() < end:
            if log.head().position <= self._place()[0] and not log.may_probe:
                more = False
                break
            try:
                with self.database.writing():
                    more = self._fold_some(log)
            except LogIsClosed:
                self._detach()
                return True
            except Forked as error:
                self._begin_anew(error)
            except OSError as error:
                raise StorageFailed(f"reading the log failed: {error}", value=str(log.folder)) from error
        self._folded_at = time.monotonic()
        if not self._is_open():
            self._detach()
            return True
        self._beat(log)
        if log.stuck is not None:
            log.ask(log.stuck.position)
            return False
        return not more

    def _fold_some(self, log: Log) -> bool:
        """Fold in one transaction's worth; tell whether there may be more."""
        position, digest = start = self._place()
        n = size = 0
        for entry in log.read(position + 1):
            if entry.previous != digest and not entry.hole:
                raise Forked(f"entry {entry.position} of the log does not follow what has been folded in")
            self._do(entry)
            position, digest = entry.position, entry.digest
            n += 1
            size += len(entry.body)
            if n >= MANY or size >= MANY_BYTES:
                break
        else:
            n = 0
        if (position, digest) != start:
            self._stand(position, digest)
        return n > 0

    def _do(self, entry: Entry) -> None:
        if entry.hole:
            self.database.run(
                "insert into hole(log_uuid, position) values(?,?) on conflict do nothing",
                (self.database.through, entry.position),
            )
            return
        try:
            found = operations.read(entry.body)
        except msgspec.MsgspecError as error:
            raise Unavailable(
                f"entry {entry.position} of the log holds what this provrun does not know: {error}",
                value=entry.position, next="pip install --upgrade provrun",
            ) from error
        for operation in found:
            try:
                with self.database.writing():
                    operations.apply(self._direct, operation)
            except (StorageFailed, Unavailable):
                raise  # this replica's affair: to be tried again
            except ProvrunError:
                pass  # the operation's own fault: it has no effect in any replica

    def _begin_anew(self, error: Exception) -> None:
        if self._renew is None:
            raise Unsound(f"the registry and its log have parted: {error}", next="provrun recover")
        self.database.close()
        self.database = self._renew()
        self.database.guarded = True
        self._direct = Registry(self.database)
        assert self._log is not None
        self.database.through = self._log.folder.name

    def heal(self, patience: float = HEAL) -> list[int]:
        """Declare entries to be holes that nobody can read and nobody mends; give their positions.

        Only in the registry itself, and only when no job lives that may have them: `Unavailable` says so.
        """
        holes: list[int] = []
        while not self.fold() and self._log is not None and self._log.stuck is not None:
            log, stuck = self._log, self._log.stuck
            end = time.monotonic() + patience
            while not self.fold() and self.stuck is not None and time.monotonic() < end:
                time.sleep(min(1.0, patience / 10))
            if log.stuck is None or log.stuck.position != stuck.position:
                continue
            if self._renew is not None:
                raise Unavailable(str(stuck), value=stuck.position, next="provrun recover, where the log was opened")
            if log.anybody:
                raise Unavailable(f"{stuck}; a job lives that may still have it", value=stuck.position)
            log.declare_hole(stuck.position, self._place()[1])
            holes.append(stuck.position)
        return holes

    # Changing

    def _change(self, operation: Operation[Result]) -> Result:
        if self._log is None:
            try:
                return undisturbed(lambda: operation.on(self._direct))
            except LogIsOpen as found:
                self._attach(found.uuid)
        return self._through(operation)

    def _through(self, operation: Operation[Result]) -> Result:
        body = operations.written([operation])
        end = time.monotonic() + self._patience
        pause = 0.02
        while self._log is not None:
            self.fold()
            log = self._log
            if log is None:
                break
            try:
                answer = self._try(log, operation, body)
            except LogIsClosed:
                self._detach()
                break
            except Forked as error:
                self._begin_anew(error)
                continue
            except OSError as error:
                if not log.folder.exists():
                    self._detach()
                    break
                raise StorageFailed(f"writing the log failed: {error}", value=str(log.folder)) from error
            if isinstance(answer, ProvrunError):
                raise answer
            if answer:
                return answer[0]
            if log.stuck is not None:
                log.ask(log.stuck.position)
                if time.monotonic() > end:
                    raise Unavailable(str(log.stuck), value=log.stuck.position, next="provrun recover")
                time.sleep(pause)
                pause = min(1.0, pause * 2)
        return self._change(operation)

    def _try(
        self, log: Log, operation: Operation[Result], body: bytes
    ) -> tuple[Result] | tuple[()] | ProvrunError:
        """Try an operation at the end of the log: give what it returned or raised; nothing if that is not reached."""
        database = self.database
        with database.writing():
            while True:
                if self._fold_some(log) or log.stuck is not None:
                    return ()
                if not self._is_open():
                    return ()
                try:
                    with database.writing():
                        before = database.written
                        result = operations.apply(self._direct, operation)
                        if database.written == before:
                            return (result,)
                        position, digest = self._place()
                        entry = log.append(position + 1, digest, body)
                        if entry is None:
                            raise _Outrun  # noqa: TRY301 - which undoes the inner transaction
                        self._stand(entry.position, entry.digest)
                except _Outrun:
                    continue
                except (StorageFailed, Unavailable):
                    raise
                except ProvrunError as error:
                    return error
                log.announce(entry)
                return (result,)

    def _mend(self, log: Log) -> None:
        if time.monotonic() > self._mended_at + MEND:
            self._mended_at = time.monotonic()
            log.mend()

    def _live(self, job: int, uuid: str) -> None:
        """Give signs of life of a job from now on."""
        self._job = (job, uuid)
        self._beaten_at = float("-inf")
        if self._log is not None:
            self._beat(self._log)

    def _die(self, job: int) -> None:
        """Give no more signs of life of a job."""
        if self._job is not None and self._job[0] == job:
            if self._log is not None:
                self._log.forget(self._job[1])
            self._job = None

    def _beat(self, log: Log) -> None:
        """Say that the job lives, and soon what it has seen: somebody may wait for that."""
        if self._job is None or time.monotonic() < self._beaten_at + SAID:
            return
        position = self._place()[0]
        if position != self._told or time.monotonic() > self._beaten_at + BEAT:
            self._beaten_at, self._told = time.monotonic(), position
            log.beat(self._job[1], position, time.time_ns() // 1000)

    def _look(self) -> None:
        """Fold in what is there before something is looked up, unless that has just been done."""
        if time.monotonic() > self._folded_at + FRESH:
            with suppress(Unavailable, StorageFailed):  # somebody else is at it: what there is will do
                self.fold()

    @property
    def idle(self) -> bool:
        """Tell whether nobody needs the log any more, as far as it has been folded in.

        A job that queues or runs needs it. So may one that is about to be queued, until a job has used the log or
        that has not happened for long.
        """
        if self._log is None:
            return False
        with self.database.reading():
            if self.database.one("select 1 from job where state in ('queued', 'running')") is not None:
                return False
            found = self.database.one(
                "select opened, (select max(started) from job) from log where uuid=?", (self.database.through,)
            )
        assert found is not None
        opened, started = int(found[0]), found[1]
        return int(started or 0) >= opened or time.time_ns() // 1000 > opened + UNUSED

    def settle(self) -> bool:
        """Close the log if this is the registry itself and nobody needs it any more; tell whether."""
        if self._log is None or self._renew is not None:
            return self._log is None
        return self.fold() and self.idle and self.finish()

    def finish(self) -> bool:
        """Close the log of the registry for everybody; tell whether."""
        if self._log is None or self._renew is not None:
            return self._log is None
        uuid = self._log.folder.name
        self._through_close()
        if self._on_closed is not None:
            self._on_closed(uuid)
        return True

    def _through_close(self) -> None:
        while self._log is not None:
            self.fold()
            log = self._log
            if log is None:
                return
            with suppress(LogIsClosed):
                operation = operations.CloseLog()
                if self._try(log, operation, operations.written([operation])) == ():
                    continue
            self._detach()
