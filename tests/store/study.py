"""A few words in which tests say what is submitted, claimed and recorded."""

from __future__ import annotations

import json
from collections.abc import Sequence

from provrun.core.canonical import digest, encode
from provrun.core.code import CapturedCode, Code
from provrun.core.environment import Environment, Host
from provrun.core.records import (
    Added,
    Claimed,
    Context,
    Dependency,
    Ended,
    JobRecord,
    MapSpec,
    Policy,
    Recipe,
)
from provrun.core.states import Outcome, State
from provrun.store.registry import Registry

AT = 1_700_000_000_000_000


class Study:
    """Drives a registry the way a submitter and a manager do."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.code = registry.intern_code(
            CapturedCode(Code(kind="git", root="/study", commit="a" * 40, tree="b" * 40)), AT
        )
        self.environment = registry.intern_environment(Environment(python="3.11.7", implementation="cpython"), AT)
        self.host = registry.intern_host(Host(platform="linux", cpu="x86", cores=2, memory=4))
        self.jobs = 0

    def submit(
        self,
        name: str,
        params: Sequence[dict[str, object]],
        *,
        on: Sequence[Dependency] = (),
        distinct: bool = False,
        priority: int = 0,
        word: str = "run",
    ) -> Added:
        own = tuple(params[0]) if params else ()
        spec = MapSpec(
            name=name, recipe=Recipe(kind="command", words=(word,)), policy=Policy(), workdir=".", own=own,
            priority=priority, dependencies=tuple(on), user="me",
        )
        return self.registry.submit(
            spec, [encode(one) for one in params], distinct=distinct, code=self.code, environment=self.environment,
            at=AT,
        )

    def job(self) -> int:
        self.jobs += 1
        return self.registry.open_job(
            JobRecord(
                uuid=f"job-{self.jobs}", kind="local", state="running", user="me", node="n1", slots=2, ranks=1,
                started=AT,
            )
        )

    def context(self, job: int) -> int:
        return self.registry.intern_context(
            Context(job=job, rank=0, node="n1", code=self.code, environment=self.environment, host=self.host)
        )

    def claim(self, job: int, *names: str, limit: int = 1000) -> list[Claimed]:
        return self.registry.claim(job, [self.id(name) for name in names], limit)

    def succeed(self, job: int, claimed: Sequence[Claimed]) -> int:
        return self.end(job, claimed, Outcome.SUCCEEDED, State.SUCCEEDED)

    def fail(self, job: int, claimed: Sequence[Claimed], *, again: bool = False) -> int:
        return self.end(job, claimed, Outcome.EXIT, State.PENDING if again else State.FAILED)

    def end(self, job: int, claimed: Sequence[Claimed], outcome: Outcome, state: State) -> int:
        context = self.context(job)
        return self.registry.record(job, [ended(one, context, outcome, state) for one in claimed])

    def run(self, job: int, *names: str) -> int:
        """Run all that is pending to its success; give how many tasks that were."""
        done = 0
        while claimed := self.claim(job, *names):
            self.succeed(job, claimed)
            done += len(claimed)
        return done

    def id(self, name: str) -> int:
        found = self.registry.find_map(name)
        assert found is not None
        return found.id

    def states(self, name: str) -> str:
        """Give the first letters of the states of a map's tasks by index: w p r s f c."""
        return "".join(task.state.word[0] for task in self.registry.tasks(self.id(name)))

    def params(self, name: str) -> list[dict[str, object]]:
        return [json.loads(task.params) for task in self.registry.tasks(self.id(name))]


def ended(one: Claimed, context: int, outcome: Outcome = Outcome.SUCCEEDED, state: State = State.SUCCEEDED) -> Ended:
    """Make the record of a claimed task's attempt; its result is made from its parameters."""
    succeeded = outcome is Outcome.SUCCEEDED
    result = {"of": json.loads(one.params), "n": one.number} if succeeded else None
    return Ended(
        map=one.map, index=one.index, number=one.number, context=context, outcome=outcome, state=state,
        started=AT + one.index, wall=1000, cpu=900, max_rss=2048, detail=None if succeeded else 1,
        error=None if succeeded else "exit 1", result=encode(result) if succeeded else None,
        result_digest=digest("result", result) if succeeded else None, trail=one.trail,
        fails=one.fails + (0 if succeeded else 1), limits=one.limits,
    )


def grid(**sizes: int) -> list[dict[str, object]]:
    """Give the points of a grid of integers, the last name running fastest."""
    points: list[dict[str, object]] = [{}]
    for name, size in sizes.items():
        points = [{**point, name: value} for point in points for value in range(size)]
    return points
