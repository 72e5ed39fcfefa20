"""Which revision of the schema a registry has, and how it is brought to the newest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from provrun.errors import Refused, Unavailable
from provrun.store.database import Database, connect

if TYPE_CHECKING:
    from alembic.config import Config

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006")
"""All revisions, oldest first: opening a registry needs no more than these names. A test compares them with alembic."""
HEAD = REVISIONS[-1]


def head() -> str:
    """Give the revision this program works with."""
    return HEAD


def revision(database: Database) -> str | None:
    """Give the revision of an open database; None if it holds no registry."""
    if not database.has_table("alembic_version"):
        return None
    rows = database.fetch("select version_num from alembic_version")
    return str(rows[0][0]) if rows else None


def current(url: str) -> str | None:
    """Give the revision of the registry at ``url``; None if it holds no registry."""
    database = connect(url, readonly=True)
    try:
        return revision(database)
    finally:
        database.close()


def require_none(database: Database, url: str) -> None:
    """Raise `Refused` if the database holds a registry."""
    if revision(database) is not None:
        raise Refused("there is a registry already", value=url, next="provrun status shows it")


def require_head(database: Database, url: str) -> None:
    """Raise `Unavailable` unless the registry has exactly the revision this program works with."""
    found = revision(database)
    if found == HEAD:
        return
    if found is None:
        raise Unavailable("there is no registry in this database", value=url, next="provrun init makes one")
    if found in REVISIONS:
        raise Unavailable(
            f"the registry has schema {found}, this provrun wants {HEAD}", value=found, next="provrun db upgrade"
        )
    raise Unavailable(
        f"the registry has schema {found}, which this provrun does not know: a newer one made it", value=found,
        next="pip install --upgrade provrun",
    )


def upgrade(url: str) -> None:
    """Bring the registry at ``url`` to the newest revision; its data are kept. Refuse one that is newer."""
    found = current(url)
    if found is None:
        raise Unavailable("there is no registry in this database", value=url, next="provrun init makes one")
    if found not in REVISIONS:
        raise Refused(
            f"the registry has schema {found}, which this provrun does not know: a newer one made it", value=found,
            next="pip install --upgrade provrun",
        )
    if found != HEAD:
        from alembic import command

        command.upgrade(config(url), "head")


def config(url: str) -> Config:
    """Give alembic's configuration for the registry at ``url``."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(location()).replace("%", "%%"))
    made.attributes["url"] = url
    return made


def location() -> Path:
    """Give the folder of the migrations: beside the package in a working tree, inside it when installed."""
    package = Path(__file__).parent.parent
    inside = package / "_alembic"
    return inside if inside.is_dir() else package.parent / "alembic"
