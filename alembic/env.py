"""How alembic reaches a registry: the URL comes from `provrun.store.migrations.config`, or with ``-x url=...``."""

from __future__ import annotations

from sqlalchemy import create_engine, pool
from sqlalchemy.engine import make_url

from alembic import context
from provrun.store.schema import metadata


def _url() -> str:
    given = context.config.attributes.get("url") or context.get_x_argument(as_dictionary=True).get("url")
    if not given:
        raise SystemExit("say which registry: alembic -x url=sqlite:///PATH ...")
    url = make_url(str(given))
    if url.get_backend_name() in {"postgresql", "postgres"}:
        url = url.set(drivername="postgresql+psycopg")
    return url.render_as_string(hide_password=False)


def _run() -> None:
    engine = create_engine(_url(), poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            # SQLite cannot alter a column: alembic copies the table instead.
            render_as_batch=True,
            compare_type=True,
            compare_server_default=True,
        )
        with context.begin_transaction():
            context.run_migrations()


_run()
