"""Folding: how a replica takes in what others have appended to its log, in order, whatever stands in the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import msgspec

from provrun.errors import LogEnded, ProvrunError, StorageFailed, Unavailable, Unsound
from provrun.store import operations
from provrun.store.database import Database, LogIsClosed, LogIsOpen
from provrun.store.entries import Entry
from provrun.store.log import Log
from provrun.store.registry import Registry

Result = TypeVar("Result")

MANY = 200  # entries of one transaction
MANY_BYTES = 1 << 25
PATIENCE = 60.0  # seconds to wait for an entry that is there but not as it must be
BEAT = 10.0  # seconds between signs of life of a job
SAID = 1.0  # seconds between words of how much it has seen
HEAL = 45.0  # seconds to wait for somebody to mend an entry; a network file system may hide a new file for 30
FRESH = 1.0  # seconds for which lookups are content with what has been folded in
MEND = 2.0  # seconds between looks whether somebody asks for an entry


class Forked(Exception):
    """This replica has folded in something that is not in the log."""


class Folding(Registry):
    """A registry that follows a log while one is open.

    ``find`` gives the log of a uuid. ``only`` is the log of a replica that follows this one and nothing after it, and
    ``renew`` gives the database of such a replica anew: both are None for the registry itself.
    """

    def __init__(
        self,
        database: Database,
        find: Callable[[str], Log],
        *,
        only: str | None = None,
        renew: Callable[[], Database] | None = None,
        closed: Callable[[str], None] | None = None,
        left: Callable[[bool], None] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        super().__init__(database)
        self._find = find
        self._renew = renew
        self._on_closed = closed
        self._on_left = left
        self._worked = False
        self._patience = patience
        self._direct = Registry(database)
        self._log: Log | None = None
        self._folded_at = self._mended_at = self._beaten_at = float("-inf")
        self._job: tuple[int, str] | None = None
        self._told = -1
        self._mine: tuple[int, bytes] | None = None
        """Position and digest of an entry that was appended and not yet committed here, and what came of it then."""
        self._answer: tuple[object] | ProvrunError | None = None
        self.over = False
        """Whether this is a replica of a log that is closed: of no use any more."""
        if only is not None:
            self._attach(only)
            assert self._log is not None
            self.over = self._has_ended(self._log)
        elif (found := database.one("select uuid from log where open=1")) is not None:
            self._attach(str(found[0]))

    def close(self) -> None:
        """Close the connection, and leave what only a job needed."""
        super().close()
        if self._on_left is not None:
            self._on_left(self._worked)
            self._on_left = None

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
            raise LogEnded
        closed = self.database.through
        self._log = self.database.through = None
        if self._on_closed is not None and closed is not None:
            # By whoever learns of it: who closed it may have been killed before he came to this.
            self._on_closed(closed)

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

    def _has_ended(self, log: Log) -> bool:
        # Files of a log go when it has been closed, and those who come late may not have read that in them.
        return not self._is_open() or (self._renew is not None and not log.folder.exists())

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
            except (LogIsClosed, LogIsOpen):  # or another one has been opened since
                self._detach()
                return True
            except Forked as error:
                self._begin_anew(error)
            except OSError as error:
                raise StorageFailed(f"reading the log failed: {error}", value=str(log.folder)) from error
        self._folded_at = time.monotonic()
        if self._has_ended(log):
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
        answer: tuple[object] | ProvrunError | None = None
        for operation in found:
            try:
                with self.database.writing():
                    answer = (operations.apply(self._direct, operation),)
            except (StorageFailed, Unavailable):
                raise  # this replica's affair: to be tried again
            except ProvrunError as error:
                answer = error  # the operation's own fault: it has no effect in any replica
        if (entry.position, entry.digest) == self._mine:
            self._answer = answer

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

    def _mend(self, log: Log) -> None:
        if time.monotonic() > self._mended_at + MEND:
            self._mended_at = time.monotonic()
            log.mend()

    def _live(self, job: int, uuid: str) -> None:
        """Give signs of life of a job from now on."""
        self._job = (job, uuid)
        self._worked = True
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
