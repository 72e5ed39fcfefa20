"""Making a registry, bringing an older one up to date, refusing a newer one."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from alembic import command
from fixtures.study import Study, grid
from provrun.errors import Refused, Unavailable
from provrun.store import ddl, migrations
from provrun.store.database import connect
from provrun.store.registry import Registry

NEXT = '''
import sqlalchemy as sa
from alembic import op

revision = "next"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("map") as batch:
        batch.add_column(sa.Column("colour", sa.Text(), nullable=True))
'''


def scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(migrations.config("sqlite://"))


def tables(path: Path) -> dict[str, list[str]]:
    """Give what SQLite wrote down of each table and index; white space, quotes and the order of constraints apart."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("select name, sql from sqlite_master where sql is not null").fetchall()
    parts = re.compile(r", (?=CONSTRAINT)| (?=\)(?: WITHOUT|$))")
    return {name: sorted(parts.split(" ".join(sql.replace('"', "").split()))) for name, sql in found}


def test_there_is_one_head_and_the_program_knows_every_revision() -> None:
    assert scripts().get_heads() == [migrations.head()]
    assert [script.revision for script in scripts().walk_revisions()][::-1] == list(migrations.REVISIONS)


@pytest.mark.parametrize("dialect", ddl.DIALECTS)
def test_the_statements_kept_as_text_are_those_of_the_schema(dialect: str) -> None:
    assert ddl.path(dialect).read_text() == ddl.compiled(dialect), "run python -m provrun.store.ddl"


def test_creating_and_migrating_give_the_same_tables(tmp_path: Path) -> None:
    Registry.create(f"sqlite:///{tmp_path / 'created'}").close()
    command.upgrade(migrations.config(f"sqlite:///{tmp_path / 'migrated'}"), "head")
    assert tables(tmp_path / "created") == tables(tmp_path / "migrated")


def test_alembic_finds_no_difference_between_schema_and_registry(any_url: str) -> None:
    Registry.create(any_url).close()
    command.check(migrations.config(any_url))


def test_alembic_finds_no_difference_after_migrating(any_url: str) -> None:
    command.upgrade(migrations.config(any_url), "head")
    command.check(migrations.config(any_url))


def test_upgrading_keeps_the_data(tmp_path: Path, sqlite_url: str) -> None:
    with closing(Registry.create(sqlite_url)) as registry:
        Study(registry).submit("scan", grid(x=3))
    shutil.copytree(migrations.location(), tmp_path / "scripts")
    (tmp_path / "scripts" / "versions" / "next.py").write_text(NEXT.format(head=migrations.head()))
    config = migrations.config(sqlite_url)
    config.set_main_option("script_location", str(tmp_path / "scripts"))
    command.upgrade(config, "head")
    with closing(connect(sqlite_url)) as database:
        assert database.fetch("select name, size, colour from map") == [("scan", 3, None)]
        assert database.fetch("select count(*) from task") == [(3,)]
        assert database.damage() == []


def test_an_upgraded_registry_is_left_alone(any_url: str) -> None:
    with closing(Registry.create(any_url)) as registry:
        Study(registry).submit("scan", grid(x=3))
        uuid = registry.uuid
    migrations.upgrade(any_url)
    with closing(Registry.open(any_url)) as registry:
        assert (registry.uuid, registry.map_names()) == (uuid, ["scan"])


def test_a_registry_that_a_newer_provrun_made_is_refused(any_url: str) -> None:
    with closing(Registry.create(any_url)) as registry:
        registry.database.run("update alembic_version set version_num='9999'")
    with pytest.raises(Unavailable, match="9999, which this provrun does not know"):
        Registry.open(any_url)
    with pytest.raises(Refused, match="9999"):
        migrations.upgrade(any_url)


def test_a_database_without_a_registry_is_not_opened(any_url: str, tmp_path: Path) -> None:
    connect(any_url, create=True).close()
    with pytest.raises(Unavailable, match="no registry in this database"):
        Registry.open(any_url)
    with pytest.raises(Unavailable, match="no registry in this database"):
        migrations.upgrade(any_url)
    assert migrations.current(any_url) is None


def test_a_missing_file_is_not_made_by_opening_it(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot open the registry"):
        Registry.open(f"sqlite:///{tmp_path / 'none.sqlite'}")
    assert not (tmp_path / "none.sqlite").exists()


def test_a_file_that_is_no_database_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database at all, but long enough to be mistaken for one" * 40)
    with pytest.raises(Unavailable, match="not a database"):
        Registry.open(f"sqlite:///{tmp_path / 'text'}")


def test_a_registry_is_not_made_twice(any_url: str) -> None:
    Registry.create(any_url).close()
    with pytest.raises(Refused, match="a registry already"):
        Registry.create(any_url)
    Registry.open(any_url).close()


def test_creating_and_opening_a_registry_imports_neither_sqlalchemy_nor_alembic(sqlite_url: str) -> None:
    code = (
        "import sys; from provrun.store.registry import Registry;"
        f"Registry.create({sqlite_url!r}).close(); Registry.open({sqlite_url!r}).maps();"
        "assert not {'sqlalchemy', 'alembic', 'psycopg'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
