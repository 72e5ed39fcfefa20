"""Successors: one for each allocation, however often that begins."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.runs import Runs
from fixtures.stand_ins import StandIns
from provrun.core.allocation import Request
from provrun.errors import Unavailable
from provrun.project.jobs.chain import Chain
from provrun.project.jobs.marks import folder
from provrun.project.jobs.plans import BatchPlan
from provrun.project.project import Project


@pytest.fixture
def project(runs: Runs, stand_ins: StandIns) -> Iterator[Project]:
    runs.submit("scan", ["true"], 1)
    stand_ins.answer("sbatch", "12\n")
    opened = runs.project()
    yield opened
    opened.close()


@pytest.fixture
def chain(project: Project) -> Chain:
    plan = BatchPlan(
        uuid="11111111-1111-4111-8111-111111111111", chain="11111111-1111-4111-8111-111111111111",
        project=str(project.root), request=Request(scheduler="slurm", time=60.0), python="python3",
    )
    return Chain(project, plan, "11")


def token(project: Project) -> Path:
    (found,) = folder(project).glob("*.token")
    return found


def test_an_allocation_that_begins_again_has_its_successor_already(
    chain: Chain, stand_ins: StandIns
) -> None:
    assert (chain.follow(), chain.follow()) == ("12", None)
    assert len(stand_ins.calls("sbatch")) == 1
    assert [id for _, id in chain.followers()] == ["12"]


def test_a_successor_that_was_refused_is_handed_in_when_its_allocation_begins_again(
    chain: Chain, stand_ins: StandIns
) -> None:
    stand_ins.answer("sbatch", exit=1, err="sbatch: error: Slurm controller not responding\n")
    with pytest.raises(Unavailable):
        chain.follow()
    stand_ins.answer("sbatch", "13\n")
    assert chain.follow() == "13"
    assert [id for _, id in chain.followers()] == ["13"]


def test_a_token_whose_writer_was_killed_before_it_wrote_holds_nobody_up(chain: Chain, project: Project) -> None:
    chain.follow()
    os.truncate(token(project), 0)
    assert chain.follow() == "12"


def test_a_successor_that_may_be_at_the_scheduler_is_not_handed_in_twice(
    chain: Chain, project: Project, stand_ins: StandIns
) -> None:
    chain.follow()
    path = token(project)
    # As after a kill between the scheduler's answer and its being written down.
    path.write_bytes(path.read_bytes().replace(b'"12"', b"null"))
    assert chain.follow() is None
    assert len(stand_ins.calls("sbatch")) == 1
