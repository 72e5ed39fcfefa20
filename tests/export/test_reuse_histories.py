"""Random histories in which results are reused, rerun, appended to and fail: their pages hold for all who check."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rdflib import Graph

from export.test_reused import reuse
from fixtures import stranger
from fixtures import study as studies
from fixtures.constraints import violations
from fixtures.study import AT, Study, grid
from provrun.core.code import CapturedCode, Code
from provrun.core.records import Claimed, Dependency
from provrun.core.states import Outcome, State
from provrun.project.pages.publishing import export
from provrun.project.pages.verifying import verify
from provrun.project.project import Project

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning")]
MAPS = ("scan", "more", "obs", "again", "sum")


class Told(Study):
    """A study whose clock goes on, driven by one source of chance."""

    def __init__(self, project: Project, chance: random.Random) -> None:
        super().__init__(project.registry)
        self.chance = chance
        self.clock = AT

    def end(self, job: int, claimed: list[Claimed], outcome: Outcome, state: State) -> int:
        context = self.context(job)
        self.clock += 10_000_000
        done = [studies.ended(one, context, outcome, state) for one in claimed]
        later = [msgspec.structs.replace(one, started=self.clock + 1000 * n) for n, one in enumerate(done)]
        return self.registry.record(job, later)

    def begin(self) -> None:
        """Submit maps that apply the same to the same, and maps over them."""
        self.submit("scan", self.chance.sample(grid(x=12), self.chance.randint(1, 9)))
        self.submit("more", self.chance.sample(grid(x=12), self.chance.randint(1, 9)), reuse=True)
        self.submit("obs", grid(y=2), on=[Dependency(upstream="scan", kind="each")])
        self.submit("again", grid(y=2), on=[Dependency(upstream="scan", kind="each")], reuse=True)
        self.submit("sum", [{}], on=[Dependency(upstream="more", kind="all", on_failed="skip")])

    def go_on(self) -> None:
        """Let something happen."""
        chance = self.chance
        match chance.choice(("run", "run", "run", "reuse", "reuse", "rerun", "retry", "edit", "append")):
            case "run":
                job = self.job()
                claimed = self.claim(job, *chance.sample(MAPS, 2), limit=chance.randint(1, 12))
                good = [one for one in claimed if chance.random() < 0.8]
                self.succeed(job, good)
                self.fail(job, [one for one in claimed if one not in good], again=chance.random() < 0.5)
            case "reuse":
                reuse(self, *chance.choice((("more", "scan"), ("scan", "more"), ("again", "obs"), ("obs", "again"))))
            case "rerun":
                name = chance.choice(MAPS)
                done = [n for n, state in enumerate(self.states(name)) if state == "s"]
                self.registry.rerun(self.id(name), chance.sample(done, min(2, len(done))))
            case "retry":
                self.registry.retry(self.id(chance.choice(MAPS)), None, time=None, memory=None)
            case "edit":
                code = Code(kind="git", root="/s", commit=f"{chance.randint(0, 3):040x}", tree="b" * 40)
                self.code = self.registry.intern_code(CapturedCode(code), self.clock)
            case "append":
                name = chance.choice(("scan", "more"))
                self.submit(name, chance.sample(grid(x=14), 2), **({"reuse": True} if name == "more" else {}))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), steps=st.integers(3, 25))
def test_pages_with_reused_results_hold_whatever_happened(
    tmp_path_factory: pytest.TempPathFactory, seed: int, steps: int
) -> None:
    folder = tmp_path_factory.mktemp("told")
    project = Project.create(folder)
    project.registry.database.run("pragma synchronous=off")
    try:
        told = Told(project, random.Random(seed))
        told.begin()
        for _ in range(steps):
            told.go_on()
        assert project.registry.check() == []
        check(project, folder)
    finally:
        project.close()


def check(project: Project, folder: Path) -> None:
    """Export and let all readers check it; a reader knows nothing of the registry."""
    page, leaves = folder / "page.ttl", folder / "leaves.jsonl"
    export(project, path=page)
    in_one_pass = page.read_bytes()
    export(project, path=page, leaves=leaves)
    assert page.read_bytes() == in_one_pass
    stranger.check(page, leaves)
    assert verify(page, leaves=leaves).problems == []
    assert violations(Graph().parse(page)) == []
