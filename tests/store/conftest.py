"""Registries on both databases."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fixtures.replicas import Group
from fixtures.study import Study
from provrun.store.registry import Registry


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'registry.sqlite'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest) -> str:
    """Give the URL of an empty database of each kind."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture
def any_registry(any_url: str) -> Iterator[Registry]:
    """Give an empty registry of each kind; whatever a test does to it, it must be sound afterwards."""
    made = Registry.create(any_url)
    yield made
    made.close()
    with closing(Registry.open(any_url)) as left:
        assert left.check() == []


@pytest.fixture
def study(any_registry: Registry) -> Study:
    return Study(any_registry)


@pytest.fixture
def group(sqlite_url: str, tmp_path: Path) -> Iterator[Group]:
    Registry.create(sqlite_url).close()
    made = Group(sqlite_url, tmp_path)
    yield made
    made.close()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """Give a folder in memory where there is one: thousands of files that need not outlive a power cut."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared, prefix="provrun-test-") as folder:
        yield Path(folder)
