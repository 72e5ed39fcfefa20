"""Registries on both databases, and the parts of a study to put into them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.study import Study
from provrun.store.registry import Registry


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'registry.sqlite'}"


@pytest.fixture
def registry(sqlite_url: str) -> Iterator[Registry]:
    made = Registry.create(sqlite_url)
    yield made
    made.close()


@pytest.fixture
def study(registry: Registry) -> Study:
    return Study(registry)
