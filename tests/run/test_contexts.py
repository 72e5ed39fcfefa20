"""Contexts: which code, software and host an attempt is recorded with, as agents report and captures answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.study import AT, Study, grid
from provrun.core.code import CapturedCode, Code
from provrun.core.environment import Environment, Host
from provrun.core.messages import Joined, Loaded
from provrun.run.contexts import FRESH, Contexts
from provrun.store.reads import Reads
from provrun.store.registry import Registry

HOST = Host(platform="linux", cpu="x86", cores=2, memory=4)
OTHER_HOST = '{"platform":"linux","cpu":"arm","cores":64,"memory":256}'
SOFTWARE = Environment(python="3.11.7", implementation="cpython")


def code(letter: str) -> CapturedCode:
    return CapturedCode(Code(kind="git", root="/study", commit=letter * 40, tree=letter * 40))


def loaded(number: int, digest: str, map: int = 1) -> Loaded:
    return Loaded(number, map, {"a.py": digest * 64}, [], {"y": 1}, [])


class Job:
    """A job of one map, its contexts, what they asked for and what they told."""

    def __init__(self, registry: Registry) -> None:
        self.reads = Reads(registry.database)
        study = Study(registry)
        study.submit("scan", grid(x=2))
        self.asked: list[int] = []
        self.told: list[str] = []
        self.differing: set[str] | None = None
        self.contexts = Contexts(
            registry, study.job(), registry.select_maps(("scan",)), self.asked.append, self.told.append,
            lambda map, then, now: self.differing,
        )
        self.contexts.joined(0, 0, Joined(2, "n1", ""))
        self.contexts.host(HOST)

    def captured(self, letter: str, now: float = 0.0) -> None:
        self.contexts.captured(1, code(letter), SOFTWARE, AT, now)

    def commits(self, agent: int, before: int, after: int) -> tuple[str | None, str | None]:
        """Give the commits that an attempt with these numbers of `Loaded` is recorded with."""
        id = self.contexts.resolve([(1, agent, before, after)]).get((1, agent, before, after))
        assert id is not None
        context = self.reads.context(id)
        then = None if context.code_after is None else self.reads.code(context.code_after).code.commit
        return self.reads.code(context.code).code.commit, then


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(Registry.create(f"sqlite:///{tmp_path}/registry.sqlite"))


def test_results_wait_until_the_code_has_been_captured(job: Job) -> None:
    job.contexts.capture(1)
    job.contexts.loaded(0, loaded(1, "1"), 0.0)
    assert job.contexts.resolve([(1, 0, 1, 1)]).get((1, 0, 1, 1)) is None
    job.captured("c")
    assert job.commits(0, 1, 1) == ("c" * 40, None)
    assert job.asked == [1]


def test_the_same_circumstances_are_one_context(job: Job) -> None:
    job.contexts.capture(1)
    job.contexts.loaded(0, loaded(1, "1"), 0.0)
    job.captured("c")
    first, second = (job.contexts.resolve([(1, 0, 1, 1)])[1, 0, 1, 1] for _ in range(2))
    assert first == second


def test_other_files_are_other_code_and_an_attempt_in_between_carries_both(job: Job) -> None:
    job.contexts.capture(1)
    job.contexts.loaded(0, loaded(1, "1"), 0.0)
    job.captured("c")
    job.contexts.loaded(0, loaded(2, "2"), 0.1)
    assert job.asked == [1, 1]
    assert job.contexts.resolve([(1, 0, 1, 2)]).get((1, 0, 1, 2)) is None
    job.captured("d")
    assert job.commits(0, 1, 1) == ("c" * 40, None)
    assert job.commits(0, 1, 2) == ("c" * 40, "d" * 40)
    assert job.commits(0, 2, 2) == ("d" * 40, None)


def test_another_agent_that_loads_the_same_files_needs_no_capture(job: Job) -> None:
    job.contexts.capture(1)
    job.contexts.joined(1, 3, Joined(2, "n2", OTHER_HOST))
    job.contexts.loaded(0, loaded(1, "1"), 0.0)
    job.captured("c")
    job.contexts.loaded(1, loaded(1, "1"), 100 * FRESH)
    assert job.commits(1, 1, 1) == ("c" * 40, None)
    assert job.asked == [1]
    id = job.contexts.resolve([(1, 1, 1, 1)]).get((1, 1, 1, 1))
    assert id is not None
    context = job.reads.context(id)
    assert (context.rank, context.node) == (3, "n2")
    assert job.reads.host(context.host).cpu == "arm"


def test_an_agent_that_loads_a_map_long_after_its_capture_has_its_own(job: Job) -> None:
    job.contexts.capture(1)
    job.captured("c")
    job.contexts.loaded(0, loaded(1, "1"), 2 * FRESH)
    assert job.asked == [1, 1]
    job.captured("d")
    assert job.commits(0, 1, 1) == ("d" * 40, None)


def test_an_attempt_that_loaded_nothing_has_the_code_of_the_first_capture(job: Job) -> None:
    job.contexts.capture(1)
    job.captured("c")
    assert job.commits(0, 0, 0) == ("c" * 40, None)


def test_an_agent_that_takes_the_place_of_another_counts_its_messages_anew(job: Job) -> None:
    job.contexts.capture(1)
    job.contexts.loaded(0, loaded(1, "1"), 0.0)
    job.captured("c")
    job.contexts.joined(1, 0, Joined(2, "n1", ""))
    job.contexts.loaded(1, loaded(1, "2"), 2 * FRESH)
    job.captured("d")
    assert job.commits(0, 1, 1) == ("c" * 40, None)
    assert job.commits(1, 1, 1) == ("d" * 40, None)


def test_code_other_than_submitted_is_told_once(job: Job) -> None:
    job.contexts.capture(1)
    job.captured("c")
    job.contexts.loaded(0, loaded(1, "1"), 0.0)
    for before in (0, 1, 1):
        job.contexts.resolve([(1, 0, before, before)]).get((1, 0, before, before))
    assert len(job.told) == 1
    assert "scan" in job.told[0]


def test_what_it_uses_of_the_code_that_changed_is_named(job: Job) -> None:
    job.differing = {"a.py", "b.py"}
    job.contexts.capture(1)
    job.captured("c")
    job.contexts.loaded(0, loaded(1, "1"), 0.0)
    job.contexts.resolve([(1, 0, 1, 1)])
    (told,) = job.told
    assert "(a.py)" in told


def test_a_change_of_what_it_does_not_use_is_not_worth_a_word(job: Job) -> None:
    job.differing = {"README.md"}
    job.contexts.capture(1)
    job.captured("c")
    job.contexts.loaded(0, loaded(1, "1"), 0.0)
    assert job.contexts.resolve([(1, 0, 1, 1)]).get((1, 0, 1, 1)) is not None
    assert job.told == []


def test_code_as_submitted_is_not_worth_a_word(job: Job) -> None:
    job.contexts.capture(1)
    submitted = CapturedCode(Code(kind="git", root="/study", commit="a" * 40, tree="b" * 40))
    job.contexts.captured(1, submitted, SOFTWARE, AT, 0.0)
    assert job.contexts.resolve([(1, 0, 0, 0)]).get((1, 0, 0, 0)) is not None
    assert job.told == []
