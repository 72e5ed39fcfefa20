"""Random histories of small studies: the store and a slow, simple model of it must agree after every step."""

from __future__ import annotations

from contextlib import closing
from itertools import count
from pathlib import Path

from fixtures.store_histories import agree_with_the_model
from provrun.store.database import connect
from provrun.store.registry import Registry


def test_random_histories_in_sqlite_agree_with_the_model(tmp_path: Path) -> None:
    numbers = count()

    def create() -> Registry:
        registry = Registry.create(f"sqlite:///{tmp_path / f'{next(numbers)}.sqlite'}")
        registry.database.run("pragma synchronous=off")  # what a crash leaves is another test's business
        return registry

    agree_with_the_model(create, 60)


def test_random_histories_in_postgresql_agree_with_the_model(postgres_url: str) -> None:
    def create() -> Registry:
        with closing(connect(postgres_url)) as database:
            database.run("drop schema public cascade")
            database.run("create schema public")
        return Registry.create(postgres_url)

    agree_with_the_model(create, 12)
