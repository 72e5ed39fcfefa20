"""A project and a way to export it into a string."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rdflib

from fixtures.study import Study
from provrun.project.pages.publishing import export
from provrun.project.project import Project

Write = Callable[..., str]


@pytest.fixture(autouse=True)
def exact_literals() -> None:
    """Have rdflib keep ".125", which it would rewrite to ".125000"; pyshacl leaves the switch the other way."""
    rdflib.NORMALIZE_LITERALS = False


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project.create(tmp_path)
    yield made
    made.close()


@pytest.fixture
def study(project: Project) -> Study:
    return Study(project.registry)


@pytest.fixture
def write(project: Project) -> Write:
    """Export into a string."""

    def written(format: str = "turtle", *names: str) -> str:
        chunks: list[str] = []
        export(project, names, format=format, write=chunks.append)
        return "".join(chunks)

    return written
