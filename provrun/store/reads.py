"""What asking needs of the registry: statements that read, in classes by what they read."""

from __future__ import annotations

from provrun.core.messages import Pin
from provrun.core.records import MapRecord
from provrun.store import lookups, migrations
from provrun.store.database import connect
from provrun.store.reads_acceptances import AcceptanceReads
from provrun.store.reads_contexts import ContextReads
from provrun.store.reads_flow import FlowReads
from provrun.store.reads_submissions import SubmissionReads
from provrun.store.reads_tasks import TaskReads


class Reads(TaskReads, ContextReads, FlowReads, SubmissionReads, AcceptanceReads):
    """Reads the registry for `query`; every call is one or few statements, nothing is ever written.

    Opening it loads nothing of what writes, so that questions are answered soon.
    """

    @classmethod
    def open(cls, url: str) -> Reads:
        """Open the registry at ``url``; `Unavailable` if there is none, or one of another revision."""
        # Not read-only: after a crash the first one to look must be able to roll the journal back.
        database = connect(url)
        try:
            migrations.require_head(database, url)
        except BaseException:
            database.close()
            raise
        return cls(database)

    @property
    def log_is_open(self) -> bool:
        """Tell whether a log is open, so that there may be more than has been folded in."""
        return self.db.one("select 1 from log where open=1") is not None

    def find_map(self, name: str) -> MapRecord | None:
        """Give a map by its name."""
        return lookups.find_map(self.db, name)

    def maps(self) -> list[MapRecord]:
        """Give all maps, in the order in which they were first submitted."""
        return lookups.maps(self.db)

    def pin(self, map: int) -> Pin:
        """Give where the code that a map was submitted with last is checked out."""
        return lookups.pin_of(self.db, map)

    @property
    def uuid(self) -> str:
        """The registry's own name, unique in the world."""
        return str(self.db.fetch("select uuid from registry")[0][0])

    def close(self) -> None:
        """Close the connection."""
        self.db.close()
