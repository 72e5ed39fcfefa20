"""The statements that make an empty registry, kept as text: a new one is there before SQLAlchemy would be imported.

The text is what the schema compiles to (``python -m provrun.store.ddl`` writes it again), and the migrations give the
same tables; tests compare all three.
"""

from __future__ import annotations

from pathlib import Path

from provrun.store.migrations import HEAD

DIALECTS = ("sqlite", "postgresql")


def path(dialect: str) -> Path:
    """Give the file that holds the statements for ``sqlite`` or ``postgresql``."""
    return Path(__file__).with_name(f"{dialect}.sql")


def statements(dialect: str) -> list[str]:
    """Give the statements that make an empty registry of the newest revision."""
    made = [statement for statement in path(dialect).read_text().split(";\n\n") if statement.strip()]
    return [*made, f"insert into alembic_version(version_num) values('{HEAD}')"]


def compiled(dialect: str) -> str:
    """Compile the schema to the text that ``path`` should hold."""
    from sqlalchemy.dialects import postgresql, sqlite
    from sqlalchemy.schema import CreateIndex, CreateTable

    from provrun.store.schema import metadata

    chosen = {"sqlite": sqlite.dialect, "postgresql": postgresql.dialect}[dialect]()
    out = ["CREATE TABLE alembic_version (\n\tversion_num VARCHAR(32) NOT NULL, \n"
           "\tCONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)\n)"]
    for table in metadata.sorted_tables:
        out.append(str(CreateTable(table).compile(dialect=chosen)).strip())
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        out += [str(CreateIndex(index).compile(dialect=chosen)).strip() for index in indexes]
    lines = "".join(f"{statement};\n\n" for statement in out)
    return "\n".join(line.rstrip() for line in lines.splitlines()) + "\n"


if __name__ == "__main__":
    for name in DIALECTS:
        path(name).write_text(compiled(name))
