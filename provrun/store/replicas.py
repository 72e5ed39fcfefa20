"""Logs of a project and the replicas that follow them: which log is open, where replicas lie, how they begin.

Beside the folders of logs lies ``current``, which names the one that is open. Only the host that opened it changes the
registry's own database; any other one has a replica of its own, in its temporary folder.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import msgspec

from provrun.errors import LogEnded, StorageFailed, Unavailable
from provrun.store import plan
from provrun.store.database import Database, LogIsOpen, SqliteDatabase
from provrun.store.entries import Entry
from provrun.store.folding import PATIENCE
from provrun.store.host_lock import is_shared
from provrun.store.log import Log, sync
from provrun.store.log_files import LogFiles
from provrun.store.replica import Replica

CURRENT = "current"
LOCAL = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
MUCH = 5000  # entries after the plan that are worth another one when jobs are added
OLD = 14 * 86_400  # seconds without use after which a replica of another log is removed


class Current(msgspec.Struct, frozen=True):
    """The log that is open: its uuid, the host whose registry it is of, when it was opened.

    ``plan`` is the SHA-256 of the plan, which stands at ``position``.
    """

    uuid: str
    host: str
    opened: int
    plan: str
    position: int = 0


class Logs:
    """The logs of a project, as a host of a name sees them."""

    def __init__(self, folder: Path, host: str, scratch: Path | None = None) -> None:
        self.folder = folder
        self.host = host
        self._scratch = scratch or Path(os.environ.get("TMPDIR") or "/tmp")
        self._writer = f"{host}:{os.getpid()}"

    def current(self) -> Current | None:
        """Give the log that is open; None if there is none."""
        try:
            return msgspec.json.decode((self.folder / CURRENT).read_bytes(), type=Current)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def elsewhere(self) -> Current | None:
        """Give the log that is open if its registry is another host's."""
        found = self.current()
        return found if found is not None and found.host != self.host else None

    # The registry's own host

    def registry(self, database: Database, *, patience: float = PATIENCE) -> Replica:
        """Give the registry itself as a replica: changed directly as long as no log is open."""
        return Replica(
            database, lambda uuid: self._own(database, uuid), closed=lambda uuid: self.remove(database, uuid),
            patience=patience,
        )

    def open(self, registry: Replica) -> Current:
        """Open a log for a registry, unless one is open; give it."""
        database = registry.database
        uuid = str(uuid4())
        try:
            with database.submitting():
                self._remove_left(database)
                log, first = Log.create(self.folder / uuid, self._own_name(), self._writer)
                log.announce(first)
                with database.writing():
                    database.run(
                        "insert into log(uuid, position, digest, open, opened) values(?,?,?,1,?)",
                        (uuid, 0, first.digest, time.time_ns() // 1000),
                    )
        except BaseException as error:
            _remove(self.folder / uuid)
            if not isinstance(error, LogIsOpen):
                raise
        registry.fold()  # finishes what has begun
        self._refresh(registry)
        found = self.current()
        assert found is not None
        return found

    def _refresh(self, registry: Replica) -> None:
        """Make a new plan for those who come now, if they would have to fold in much after the old one."""
        found, position = self.current(), registry.position
        if found is not None and position is not None and found.host == self.host and position > found.position + MUCH:
            self._publish(registry.database, found.uuid, anew=True)

    def _own(self, database: Database, uuid: str) -> Log:
        found = self.current()
        if found is None or found.uuid != uuid:
            self._publish(database, uuid)
        return Log(self.folder / uuid, self._own_name(), self._writer)

    def _own_name(self) -> str:
        # Several processes are the same replica, one after the other, since they hold the registry's lock.
        return f"{self.host}-{os.getuid()}"

    def _publish(self, database: Database, uuid: str, *, anew: bool = False) -> None:
        """Make the plan of a log that has been opened and let everybody know; done again if it was not finished."""
        with self._alone():
            found = self.current()
            if found is not None and found.uuid == uuid and not anew:
                return
            row = database.one("select opened from log where open=1 and uuid=?", (uuid,))
            if row is None:
                return  # closed meanwhile
            temporary = self.folder / uuid / "plan.new"
            plan.make(database, temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            position = plan.position(temporary, uuid)
            made = Current(uuid, self.host, int(row[0]), plan.digest(temporary), position)
            temporary.replace(self._plan(made))
            sync(self.folder / uuid)
            new = self.folder / f"{CURRENT}.new"
            with new.open("wb") as file:
                file.write(msgspec.json.encode(made))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.folder / CURRENT)
            sync(self.folder)
            if found is not None and self._plan(found) != self._plan(made):
                self._plan(found).unlink(missing_ok=True)

    def renew_plan(self, registry: Replica) -> bool:
        """Make the plan anew if somebody who starts from it could not come to where the registry stands; tell whether.

        What the registry has folded in may have been damaged since.
        """
        found, position = self.current(), registry.position
        if found is None or position is None or found.host != self.host or not self._broken(found, position):
            return False
        self._publish(registry.database, found.uuid, anew=True)
        return True

    def _plan(self, current: Current) -> Path:
        return self.folder / current.uuid / f"plan-{current.position}.sqlite"

    def _broken(self, current: Current, position: int) -> bool:
        path = self._plan(current)
        if not path.exists() or plan.digest(path) != current.plan:
            return True
        files = LogFiles(self.folder / current.uuid)
        last = current.position
        for entry in files.read(last + 1):
            last = entry.position
        return last < position

    def check(self) -> list[str]:
        """Give the problems found in the log that is open, in words; holes are among them."""
        found = self.current()
        if found is None:
            return []
        problems = []
        path = self._plan(found)
        if not path.exists() or plan.digest(path) != found.plan:
            return ["the plan of the log is damaged"]
        files = LogFiles(self.folder / found.uuid)
        before: Entry | None = None
        for entry in files.read(found.position):
            if before is not None and entry.previous != before.digest:
                problems.append(f"entry {entry.position} of the log does not follow the one before")
            if entry.hole:
                problems.append(f"entry {entry.position} of the log was lost and is a hole")
            before = entry
        return [*problems, *([str(files.stuck)] if files.stuck else [])]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep out other processes of this host."""
        with (self.folder / "opening").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def remove(self, database: Database, uuid: str) -> None:
        """Remove the files of a log that is closed in the registry; whoever meets it does what is left to do."""
        # While nobody writes nobody opens another one, and if one is open it names itself.
        with suppress(LogIsOpen, Unavailable, StorageFailed), database.writing():
            found = self.current()
            if found is not None and found.uuid == uuid:
                (self.folder / CURRENT).unlink(missing_ok=True)
        _remove_log(self.folder / uuid)

    def _remove_left(self, database: Database) -> None:
        """Remove what is left of logs that were being opened or removed when somebody was killed."""
        row = database.one("select uuid from log where open=1")
        for path in self.folder.glob("*-*"):
            if row is None or path.name != row[0]:
                _remove_log(path)

    # Other hosts

    def private(self, current: Current, *, patience: float = PATIENCE) -> Replica:
        """Give the replica that this host's processes of this user share, made from the plan if there is none."""
        folder, users = self._enter(current)
        name = _identity(folder)
        log = Log(self.folder / current.uuid, name, self._writer)

        def renew() -> Database:
            now = self.current()
            return self._begin(folder, now if now is not None and now.uuid == current.uuid else current, anew=True)

        def leave(worked: bool) -> None:
            # Whoever asks often needs it again; behind the last manager of a node nobody may come for long.
            try:
                if worked:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(folder)
            except BlockingIOError:
                pass  # others are still here
            finally:
                os.close(users)

        try:
            return Replica(
                self._begin(folder, current), lambda _: log, only=current.uuid, renew=renew, left=leave,
                patience=patience,
            )
        except BaseException:
            os.close(users)
            raise

    def _enter(self, current: Current) -> tuple[Path, int]:
        """Give the folder of this host's replica, and a descriptor that keeps others from removing it."""
        while True:
            folder = self._place(current)
            try:
                users = os.open(folder / "users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue
            fcntl.flock(users, fcntl.LOCK_SH)
            with suppress(FileNotFoundError):
                if (folder / "users").stat().st_ino == os.fstat(users).st_ino:
                    return folder, users
            os.close(users)  # somebody has removed it at this moment

    def _place(self, current: Current) -> Path:
        """Give the folder of this host's replica; it is nobody else's."""
        scratch = self._scratch
        if is_shared(scratch):
            # Its files would be written over the network that the log is to spare, under locks that may not hold.
            scratch = next((place for place in LOCAL if os.access(place, os.W_OK) and not is_shared(place)), scratch)
        mine = scratch / f"provrun-{os.getuid()}"
        mine.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = mine.lstat()
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise Unavailable(
                f"{mine} should be a folder of yours that nobody else writes to", value=str(mine),
                next="set PROVRUN_SCRATCH to another folder of this host",
            )
        _remove_old(mine)
        folder = mine / f"{current.uuid}@{self.host}"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _begin(self, folder: Path, current: Current, *, anew: bool = False) -> SqliteDatabase:
        """Open the database of a replica, copied from the plan if it is not there or shall be made anew."""
        path = folder / "replica.sqlite"
        with (folder / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.utime(folder)
            # Others keep the file they have open if it is made anew, and find out themselves.
            if not anew and path.exists():
                with suppress(Unavailable, StorageFailed):
                    return _opened(path, current)
            return _opened(path, self._fetch(current, path))

    def _fetch(self, current: Current, path: Path) -> Current:
        """Copy the plan to this host; give the log with the plan that was copied."""
        # A name of its own: whoever still has the one before open must not find this one's journal, nor leave it his.
        new = path.with_name(f"{uuid4().hex}.sqlite")
        try:
            found = plan.fetch(self._plan(current), new)
        except FileNotFoundError as error:
            now = self.current()
            if now is not None and now.uuid == current.uuid and now != current:
                return self._fetch(now, path)
            raise LogEnded from error
        except OSError as error:
            new.unlink(missing_ok=True)
            raise StorageFailed(f"copying the plan of the log failed: {error}", value=str(new)) from error
        if found != current.plan:
            new.unlink()
            raise Unavailable("the plan of the log is damaged", value=current.uuid, next="provrun recover")
        before = path.with_name(path.readlink().name) if path.is_symlink() else None
        link = path.with_name("replica.new")
        link.unlink(missing_ok=True)
        link.symlink_to(new.name)
        link.replace(path)
        if before is not None:
            before.unlink(missing_ok=True)
            before.with_name(f"{before.name}-journal").unlink(missing_ok=True)
        return current


def _opened(path: Path, current: Current) -> SqliteDatabase:
    """Open the database of a replica; `Unavailable` if it is not one of this log, or behind its plan.

    What comes before the plan may not be readable any more.
    """
    database = SqliteDatabase(path, durable=False)
    try:
        found = database.one("select position from log where uuid=?", (current.uuid,))
        if found is not None and found[0] >= current.position:
            return database
    except BaseException:
        database.close()
        raise
    database.close()
    raise Unavailable("this is no replica of the log", value=str(path))


def _identity(folder: Path) -> str:
    """Give the name of a replica, unique in the world, made once."""
    path = folder / "name"
    new = folder / f"name.{os.getpid()}"
    new.write_text(uuid4().hex)
    try:
        path.hardlink_to(new)
    except FileExistsError:
        pass
    finally:
        new.unlink()
    return path.read_text()


def _remove_old(folder: Path) -> None:
    """Remove replicas that nobody has used for long."""
    for one in folder.iterdir():
        if time.time() - one.stat().st_mtime > OLD:
            _remove(one)


def _remove_log(folder: Path) -> None:
    """Remove a log: all of it is gone at once, and who asks for an entry meanwhile keeps nothing of it there."""
    gone = folder.with_suffix(".gone")
    with suppress(OSError):
        folder.rename(gone)
        folder = gone
    _remove(folder)


def _remove(folder: Path) -> None:
    from shutil import rmtree  # late: few need it

    rmtree(folder, ignore_errors=True)

