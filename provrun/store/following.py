"""Following a log: how a registry is changed through it, so that all its replicas come to the same state.

A change folds in what others have appended, is tried on the replica's own database, appended as an entry, and
committed together with its position; when somebody else has been first it is undone, theirs is folded in, and it is
tried again. So what a call returns is what its operation did at its place in the order. A call that changes nothing
appends nothing. Whoever dies after appending has done it: his replica folds the entry in like anybody's.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TypeAlias, TypeVar, cast

from provrun.errors import DatabaseAway, ProvrunError, StorageFailed, Unavailable
from provrun.store import operations
from provrun.store.database import LogIsClosed, LogIsOpen, undisturbed
from provrun.store.folding import Folding, Forked
from provrun.store.log import Log
from provrun.store.operations import Operation

Result = TypeVar("Result")
Done: TypeAlias = tuple[Result] | ProvrunError
"""What an operation has returned or raised."""

UNUSED = 600_000_000  # microseconds for which a log waits for its first job


class _Unheard(Exception):
    """A change was made, and what came of it was told to somebody else."""


class _Outrun(Exception):
    """Somebody else has appended first."""


class Follower(Folding):
    """A registry that is changed directly as long as no log is open, and through the log as long as one is."""

    # Changing

    def _change(self, operation: Operation[Result]) -> Result:
        if self._log is None:
            try:
                return undisturbed(lambda: operation.on(self._direct))
            except LogIsOpen as found:
                self._attach(found.uuid)
        return self._through(operation)

    def _through(self, operation: Operation[Result]) -> Result:
        """Do an operation through the log; waits for entries that are not as they must be, and for its own database."""
        body = operations.written([operation])
        end = time.monotonic() + self._patience
        pause = 0.02
        self._mine = self._answer = None
        while self._log is not None:
            try:
                done = self._step(operation, body)
            except (LogIsClosed, LogIsOpen):
                self._detach()
                break
            except Forked as error:
                self._begin_anew(error)
                continue
            except DatabaseAway:
                raise  # this connection will not come back, and whoever can wait makes another one
            except (StorageFailed, Unavailable):
                # What has been appended has been done: our own database has only to take it in, like anybody's entry.
                if self._mine is None or self.over or time.monotonic() > end:
                    raise
                done = None
            except _Unheard:
                self._mine = None
                raise Unavailable(
                    "the change was made, but what came of it is not known: the database was locked for too long",
                    next="provrun status",
                ) from None
            if isinstance(done, ProvrunError):
                raise done
            if done is not None:
                return done[0]
            if self._log is None:
                break
            if (stuck := self._log.stuck) is not None:
                self._log.ask(stuck.position)
                if time.monotonic() > end:
                    raise Unavailable(str(stuck), value=stuck.position, next="provrun recover")
            elif self._mine is None:
                continue
            time.sleep(pause)
            pause = min(1.0, pause * 2)
        return self._change(operation)

    def _step(self, operation: Operation[Result], body: bytes) -> Done[Result] | None:
        """Fold in what there is and do an operation after it, or find it done; None if that was not possible yet."""
        whole = self.fold()
        log = self._log
        if log is None:
            return None
        if self._mine is not None:
            answer, self._answer = self._answer, None
            if answer is None and whole:
                if log.holds(*self._mine):
                    # Made once, and not to be made again: another process of this replica has taken it in.
                    raise _Unheard
                self._mine = None  # taken back by a log that is another one by now
            return cast("Done[Result] | None", answer)
        try:
            return self._try(log, operation, body)
        except OSError as error:
            if not log.folder.exists() and (self._renew is not None or not self._is_open()):
                raise LogIsClosed from error
            raise StorageFailed(f"writing the log failed: {error}", value=str(log.folder)) from error

    def _try(self, log: Log, operation: Operation[Result], body: bytes) -> Done[Result] | None:
        """Try an operation at the end of the log; None if that is not reached."""
        database = self.database
        with database.writing():
            while True:
                if self._fold_some(log) or log.stuck is not None or not self._is_open():
                    return None
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
                        self._mine = (entry.position, entry.digest)
                        self._stand(entry.position, entry.digest)
                except _Outrun:
                    continue
                except (StorageFailed, Unavailable):
                    raise
                except ProvrunError as error:
                    return error
                log.announce(entry)
                return (result,)

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
        return self.fold() and (self._log is None or (self.idle and self.finish()))

    def finish(self) -> bool:
        """Close the log of the registry for everybody, unless a job has come that needs it; tell whether."""
        if self._log is None or self._renew is not None:
            return self._log is None
        operation = operations.CloseLog()
        while self._log is not None:
            whole = self.fold()
            log = self._log
            if log is None:
                break
            if not whole:
                return False
            with suppress(LogIsClosed, LogIsOpen):
                if self._try(log, operation, operations.written([operation])) is None:
                    continue
                if self._is_open():
                    return False
            self._detach()
        return True
