"""A project and a way to export it into a string."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rdflib

from fixtures.study import Study
from provrun.project.project import Project
from provrun.project.publishing import export

# rdflib rewrites ".125" to ".125000" while parsing otherwise, and pages would not compare.
rdflib.NORMALIZE_LITERALS = False

Write = Callable[..., str]


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
