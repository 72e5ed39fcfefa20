"""Random histories under a clock that moves: whatever came before what, a page is valid by PROV-CONSTRAINTS."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from rdflib import Graph

from export.test_reused import reuse
from export.test_tails import use_code
from fixtures import stranger
from fixtures.constraints import violations
from fixtures.expanded import compare
from fixtures.study import AT, Study, ended, grid
from provrun.core.records import Claimed, Dependency
from provrun.core.states import Outcome, State
from provrun.project.pages.publishing import export
from provrun.project.pages.verifying import verify
from provrun.project.project import Project

NAMES = ("scan", "q", "obs", "mean", "all", "more")
FAILED = [outcome for outcome in Outcome if outcome is not Outcome.SUCCEEDED]


class TimedStudy(Study):
    """A study whose attempts follow each other, a second each."""

    now = AT

    def end(self, job: int, claimed: Sequence[Claimed], outcome: Outcome, state: State) -> int:
        context, done = self.context(job), []
        for one in claimed:
            self.now += 1_000_000
            done.append(msgspec.structs.replace(ended(one, context, outcome, state), started=self.now, wall=900_000))
        return self.registry.record(job, done)


def live(study: TimedStudy, chance: random.Random, steps: int) -> None:
    """Run, fail, edit code, run again, retry, reuse and add, in any order."""
    registry = study.registry
    study.submit("scan", grid(x=12))
    study.submit("q", grid(x=5))
    waits = Dependency(upstream="q", kind="after", upstream_tasks=((0, 3),))
    study.submit("q", [{"x": "a"}] * 2, distinct=True, on=[waits])
    study.submit("obs", grid(k=2), on=[Dependency(upstream="scan", kind="each")])
    study.submit("mean", [{}], on=[Dependency(upstream="obs", kind="group", by=("k",), on_failed="skip")])
    study.submit("all", [{}], on=[Dependency(upstream="scan", kind="all", on_failed="skip")])
    study.submit("more", grid(x=15), reuse=True)
    for step in range(steps):
        name, what = chance.choice(NAMES), chance.random()
        states = study.states(name)
        if what < 0.7:
            use_code(study, chance.randrange(3))
            job = study.job()
            for one in study.claim(job, name, limit=chance.choice([1, 3, 20])):
                if chance.random() < 0.75:
                    study.succeed(job, [one])
                else:
                    study.end(job, [one], chance.choice(FAILED), chance.choice([State.FAILED, State.PENDING]))
        elif what < 0.85:
            again = [index for index, state in enumerate(states) if state == "s"]
            registry.rerun(study.id(name), chance.sample(again, min(len(again), 3)))
        elif what < 0.92:
            again = [index for index, state in enumerate(states) if state == "f"]
            registry.retry(study.id(name), again[:3], time=None, memory=None)
        elif what < 0.97:
            reuse(study, "more", "scan")
        else:
            study.submit("scan", grid(x=12 + step), at=study.now)


@pytest.mark.parametrize("seed", range(8))
def test_pages_are_valid_whatever_came_before_what(project: Project, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    live(TimedStudy(project.registry), chance, 25 + 5 * seed)
    page, leaves = tmp_path / "page.ttl", tmp_path / "leaves.jsonl"
    export(project, path=page, leaves=leaves)
    assert verify(page, leaves=leaves).problems == []
    stranger.check(page, leaves)
    compare(project, page, leaves)
    assert violations(Graph().parse(page)) == []
