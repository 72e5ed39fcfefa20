"""A project: a folder with ``.provrun/`` in it, its configuration and its registry."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from provrun.core.nearest import suggestion
from provrun.errors import NoProject, NotFound, Refused
from provrun.project.config import Config, write

if TYPE_CHECKING:
    from provrun.core.records import MapRecord
    from provrun.store.database import Database
    from provrun.store.reads import Reads
    from provrun.store.replica import Replica
    from provrun.store.replicas import Current, Logs

Opened = TypeVar("Opened")

DIR = ".provrun"
LOG = "log"
FRESH = 1.0  # seconds for which questions are content with what was folded in
_ENDING = 30.0  # seconds that a log which is closed may take to go
_PAUSE = 0.05  # between looks whether it has
MOMENT = 3.0  # seconds that a question may take to fold in what others have done


class Project:
    """A folder whose maps are kept together; opening it touches nothing, its registry is opened when first used."""

    def __init__(self, root: Path, *, created: bool = False) -> None:
        self.root = root
        self.dir = root / DIR
        self.created = created
        self.config = Config.load(self.dir)
        self._registry: Replica | None = None
        self._reads: Reads | None = None
        self._folded_at = float("-inf")

    @classmethod
    def find(cls, start: Path | None = None, *, create: bool = False) -> Project:
        """Open the project in ``start`` or ``PROVRUN_PROJECT``, else the nearest one upward from here.

        With ``create`` one is made where there is none: in ``start``, or at the git root or here, but never
        unasked in the home folder. Raises `NoProject` or `Refused`.
        """
        start = asked(start)
        root = locate(start)
        if root is not None:
            return cls(root)
        if create:
            try:
                return cls.create(place(start))
            except Refused:
                root = locate(start)
                if root is None:
                    raise
                return cls(root)  # somebody has made it at this moment
        if start is not None:
            raise NoProject(f"no project in {start}", value=str(start), next=f"provrun init {start}")
        raise NoProject(
            f"no project in {Path.cwd()} or above it", value=str(Path.cwd()),
            next="provrun submit makes one, or provrun init",
        )

    @classmethod
    def create(cls, root: Path, url: str | None = None) -> Project:
        """Make a project in a folder, with its registry at ``url`` (default: a SQLite file); refuse if there is one."""
        from provrun.store.registry import Registry

        root = root.resolve()
        folder = root / DIR
        if (folder / "config.toml").exists():
            raise Refused(f"there is a project in {root} already", value=str(root), next="provrun config shows it")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitignore").write_text("*\n")
        url = url or os.environ.get("PROVRUN_URL") or ""
        try:
            Registry.create(url or default_url(folder)).close()
        except Refused:
            if url:
                raise
            # Somebody makes the same project at this moment, or did not come to its end: the registry is this one.
        # Written last: a folder without it is no project yet, and making it can be tried again.
        write(folder, "url", url)
        return cls(root, created=True)

    @property
    def url(self) -> str:
        """Where the registry is."""
        return self.config.text("url") or default_url(self.dir)

    @property
    def logs(self) -> Logs:
        """The logs through which hosts that do not share a database change the registry."""
        from provrun.store.replicas import Logs

        return Logs(self.dir / LOG, self.host, Path(scratch) if (scratch := self.config.text("scratch")) else None)

    @property
    def host(self) -> str:
        """The name under which this host goes: as configured, as the scheduler calls this node, or its own."""
        from provrun.run.node import node_name

        return self.config.text("host") or node_name()

    @property
    def registry(self) -> Replica:
        """The registry, opened when first asked for.

        While a log is open every change goes through it: on the host that opened it the registry itself follows the
        log, on any other one a replica does.
        """
        if self._registry is not None and self._registry.over:
            self._registry.close()
            self._registry = None
        if self._registry is None:
            self._registry = self._private() or self.logs.registry(self._connect())
        return self._registry

    def _private(self) -> Replica | None:
        """Give this host's replica of the log that another host has opened; None if none is open.

        One that is closed may still be named for a moment, or for long if who closed it was killed.
        """
        if self._away() is None:
            return None
        from provrun.errors import LogEnded

        end = time.monotonic() + _ENDING
        while (away := self._away()) is not None:
            with suppress(LogEnded):  # its files go at this moment
                found = self.logs.private(away)
                if not found.over:
                    return found
                found.close()
            if time.monotonic() > end:
                raise LogEnded
            self._conclude(away)
            time.sleep(_PAUSE)
        return None

    def _conclude(self, closed: Current) -> None:
        """Do what is left to do of the end of a log that has been closed through a replica."""
        from provrun.errors import StorageFailed, Unavailable

        with suppress(Unavailable, StorageFailed):  # the registry may be out of reach from here
            registry = self.logs.registry(self._connect())
            try:
                if registry.fold() and registry.database.through != closed.uuid:
                    self.logs.remove(registry.database, closed.uuid)
            finally:
                registry.close()

    @property
    def reads(self) -> Reads:
        """The registry for questions, opened when first asked for, without loading what writes.

        While a log is open, what others have appended is folded in first, as far as that takes no more than moments.
        """
        from provrun.store.reads import Reads

        if self._away() is not None:
            registry = self._up_to_date(self.registry)
            if not registry.idle or not self._adopt():
                return Reads(registry.database)
        if self._reads is None:
            self._reads = self._waited(lambda: Reads.open(self.url))
        if self._reads.log_is_open:
            self._fold()
        return self._reads

    def _away(self) -> Current | None:
        """Give the log that is open if its registry is another host's."""
        # Most projects have none: this must cost nothing.
        return self.logs.elsewhere() if (self.dir / LOG / "current").exists() else None

    def _connect(self, **how: float) -> Database:
        from provrun.store import migrations
        from provrun.store.database import connect

        # Whoever says how long to wait means it.
        database = connect(self.url, **how) if how else self._waited(lambda: connect(self.url))  # type: ignore[arg-type]  # by name
        try:
            migrations.require_head(database, self.url)
        except BaseException:
            database.close()
            raise
        return database

    def _waited(self, open: Callable[[], Opened]) -> Opened:
        """Open a database; a task waits for one that is away."""
        from provrun.errors import DatabaseAway

        try:
            return open()
        except DatabaseAway:
            from provrun.project.submitter import patiently, submitter

            if submitter(self) is None:
                raise
            return patiently(self, open)

    def _fold(self) -> None:
        """Fold the log into the registry, over a connection that waits for nobody long."""
        if time.monotonic() < self._folded_at + FRESH:
            return
        from provrun.errors import StorageFailed, Unavailable

        # Whoever writes at this moment folds the log in too, and who may only read sees what there is.
        with suppress(Unavailable, StorageFailed, OSError):
            registry = self.logs.registry(self._connect(patience=1.0), patience=0.0)
            try:
                self._up_to_date(registry)
                registry.settle()
            finally:
                registry.close()
        self._folded_at = time.monotonic()

    def _adopt(self) -> bool:
        """Fold the log into the registry and close it, though another host has opened it: nobody needs it any more."""
        from provrun.errors import StorageFailed, Unavailable

        with suppress(Unavailable, StorageFailed, OSError):
            registry = self.logs.registry(self._connect(patience=MOMENT), patience=0.0)
            try:
                return registry.settle()
            finally:
                registry.close()
        return False

    def _up_to_date(self, registry: Replica) -> Replica:
        from provrun.errors import StorageFailed, Unavailable

        with suppress(Unavailable, StorageFailed, OSError):
            registry.fold(most=MOMENT)
        return registry

    def map(self, name: str) -> MapRecord:
        """Give a map by name; an unknown one is `NotFound` with the nearest name."""
        found = self.registry.find_map(name)
        if found is None:
            listed = "provrun list shows the maps"
            raise NotFound(
                f"no map named {name}", value=name, next=suggestion(name, self.registry.map_names(), listed)
            )
        return found

    def close(self) -> None:
        """Close the registry if it was opened."""
        if self._registry is not None:
            self._registry.close()
            self._registry = None
        if self._reads is not None:
            self._reads.close()
            self._reads = None


def default_url(folder: Path) -> str:
    """Give the URL of the SQLite registry in a ``.provrun`` folder."""
    return f"sqlite:///{folder / 'registry.sqlite'}"


def locate(start: Path | None = None) -> Path | None:
    """Give the root of the project in ``start`` or ``PROVRUN_PROJECT``, else of the nearest upward from here."""
    start = asked(start)
    if start is not None:
        root = start.parent if start.name == DIR else start
        return root if _is_project(root) else None
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if _is_project(folder)), None)


def asked(start: Path | None) -> Path | None:
    """Give the folder that was asked for, as an argument or in ``PROVRUN_PROJECT``; None if none was."""
    if start is None and "PROVRUN_PROJECT" in os.environ:
        start = Path(os.environ["PROVRUN_PROJECT"])
    return start.resolve() if start is not None else None


def place(start: Path | None = None) -> Path:
    """Give the folder where `submit` makes a project: the one asked for, else the git root or here, never home."""
    start = asked(start)
    if start is not None:
        return start
    here = Path.cwd()
    home = Path.home()
    if home.is_relative_to(here):
        raise Refused(
            "a project in the home folder must be asked for", value=str(here), next=f"provrun init {here}, or cd first"
        )
    git = next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)
    return here if home.is_relative_to(git) else git


def _is_project(folder: Path) -> bool:
    return (folder / DIR / "config.toml").is_file()
