"""Random histories of small studies: the store and a slow, simple model of it must agree after every step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fixtures.store_model import ENDED, Model
from fixtures.study import AT, Study, ended
from provrun.core.records import Claimed, Dependency
from provrun.core.states import Outcome, State
from provrun.store.database import connect
from provrun.store.reads import Reads
from provrun.store.registry import Registry

NAMES = ("a", "b", "c", "d", "e")
ENDINGS = (
    (Outcome.SUCCEEDED, State.SUCCEEDED),
    (Outcome.SUCCEEDED, State.SUCCEEDED),
    (Outcome.EXIT, State.FAILED),
    (Outcome.EXIT, State.PENDING),
    (Outcome.LOST, State.PENDING),
    (Outcome.CANCELLED, State.CANCELLED),
)
points = st.lists(st.integers(0, 3), max_size=4)
kinds = st.sampled_from(["each", "group", "chunk", "all", "after", "each+all", "group+after"])


class Histories(RuleBasedStateMachine):
    """Submit, run and change maps in any order."""

    def __init__(self, create: Callable[[], Registry]) -> None:
        super().__init__()
        self.create = create

    @initialize(
        data=st.data(), values=st.lists(st.integers(0, 3), min_size=1, max_size=4), shape=st.lists(kinds, max_size=3)
    )
    def begin(self, data: st.DataObject, values: list[int], shape: list[str]) -> None:
        self.registry = self.create()
        self.study = Study(self.registry)
        self.model = Model()
        self.jobs = [self.study.job(), self.study.job()]
        self.held: list[tuple[int, Claimed]] = []
        self.dropped: list[tuple[int, Claimed]] = []
        self.append(values)
        for kind in shape:
            self.build(data, kind, False, [])

    def teardown(self) -> None:
        if hasattr(self, "registry"):
            problems = self.registry.check()
            self.registry.close()
            assert problems == []

    def _submit(self, name: str, params: list[dict[str, Any]], on: list[Dependency]) -> None:
        self.study.submit(name, params, on=on)
        self.model.submit(name, params, on)

    def append(self, values: list[int]) -> None:
        """Submit or extend the map that builds on nothing."""
        self._submit("a", [{"x": value, "g": value % 2} for value in values], [])

    @rule(data=st.data(), values=points, where=st.sampled_from(["first", "other", "new"]))
    def submit(self, data: st.DataObject, values: list[int], where: str) -> None:
        others = sorted(set(self.model.maps) - {"a"})
        if where == "new" and len(self.model.maps) < len(NAMES):
            self.build(data, data.draw(kinds), data.draw(st.booleans()), values)
        elif where == "other" and others:
            map = self.model.maps[data.draw(st.sampled_from(others))]
            self._submit(map.name, [{map.name: value} for value in values], map.dependencies)
        else:
            self.append(values)

    def build(self, data: st.DataObject, kind: str, skip: bool, values: list[int]) -> None:
        name = NAMES[len(self.model.maps)]
        choose = st.sampled_from(sorted(self.model.maps))
        on_failed = "skip" if skip else "wait"
        on = []
        for one in kind.split("+"):
            upstream = data.draw(choose)
            by = tuple(sorted(self._columns(upstream)))[-1:] if one == "group" else ()
            if one == "group" and not by:
                return
            on.append(Dependency(upstream=upstream, kind=one, by=by, chunk=2, on_failed=on_failed))  # type: ignore[arg-type]
        if len({one.upstream for one in on}) < len(on):
            return
        self._submit(name, [{name: value} for value in values] or [{}], on)

    def _columns(self, name: str) -> set[str]:
        tasks = self.model.maps[name].tasks
        return set.intersection(*(set(task.params) for task in tasks)) if tasks else set()

    @precondition(lambda self: self.model.maps)
    @rule(data=st.data(), limit=st.integers(1, 6), job=st.integers(0, 1))
    def claim(self, data: st.DataObject, limit: int, job: int) -> None:
        self._claim(job, data.draw(st.permutations(sorted(self.model.maps))), limit)

    def _claim(self, job: int, names: list[str], limit: int) -> None:
        claimed = self.registry.claim(self.jobs[job], [self.study.id(name) for name in names], limit)
        expected = [
            (name, index)
            for name in names
            for index, task in enumerate(self.model.maps[name].tasks)
            if task.state is State.PENDING
        ][:limit]
        by_id = {self.study.id(name): name for name in names}
        assert [(by_id[one.map], one.index) for one in claimed] == expected
        for one in claimed:
            task = self.model.maps[by_id[one.map]].tasks[one.index]
            task.attempts += 1
            task.state, task.job = State.RUNNING, self.jobs[job]
            assert one.number == task.attempts
            self.held.append((self.jobs[job], one))

    @precondition(lambda self: self.model.maps)
    @rule(data=st.data())
    def run(self, data: st.DataObject) -> None:
        """Claim all that is pending of some maps and let it succeed, twice."""
        self._run(data.draw(st.sets(st.sampled_from(sorted(self.model.maps)), min_size=1)))

    def _run(self, chosen: set[str]) -> None:
        for _ in range(2):
            claimed = self.study.claim(self.jobs[0], *sorted(chosen))
            context = self.study.context(self.jobs[0])
            self.registry.record(self.jobs[0], [ended(one, context) for one in claimed])
            for one in claimed:
                task = self.model.maps[self._name(one.map)].tasks[one.index]
                task.attempts += 1
                task.state, task.job = State.RUNNING, self.jobs[0]
            for one in claimed:
                self.model.end(
                    self._name(one.map), one.index, one.number, Outcome.SUCCEEDED, State.SUCCEEDED, self.jobs[0]
                )

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def record(self, data: st.DataObject) -> None:
        batch = data.draw(st.lists(st.sampled_from(range(len(self.held))), unique=True, min_size=1, max_size=6))
        job = self.held[batch[0]][0]
        chosen = [self.held[n] for n in batch if self.held[n][0] == job]
        endings = [data.draw(st.sampled_from(ENDINGS)) for _ in chosen]
        self._record(chosen, endings)

    def _record(self, chosen: list[tuple[int, Claimed]], endings: list[tuple[Outcome, State]]) -> None:
        job = chosen[0][0]
        context = self.study.context(job)
        self.registry.record(
            job, [ended(one, context, *ending) for (_, one), ending in zip(chosen, endings, strict=True)]
        )
        for (_, one), ending in sorted(zip(chosen, endings, strict=True), key=lambda pair: pair[0][1].index):
            self.model.end(self._name(one.map), one.index, one.number, *ending, job)
        self.held = [one for one in self.held if one not in chosen]
        self.dropped += chosen

    def _name(self, map: int) -> str:
        return next(name for name, id in self.study.ids.items() if id == map)

    @precondition(lambda self: len(self.model.maps) > 1)
    @rule(data=st.data(), ending=st.sampled_from([*ENDINGS, None]))
    def race(self, data: st.DataObject, ending: tuple[Outcome, State] | None) -> None:
        """Change what running tasks wait for, then record them or lose their job."""
        name = data.draw(st.sampled_from(sorted(set(self.model.maps) - {"a"})))
        upstream = data.draw(st.sampled_from([one.upstream for one in self.model.maps[name].dependencies]))
        self._run(set(self.model.maps) - {name})
        known = len(self.held)
        self._claim(0, [name], 3)
        verb = data.draw(st.sampled_from(["append", "rerun", "retry", "cancel"]))
        if verb == "append":
            self.append([10 + len(self.model.maps["a"].tasks)])
        else:
            self._change(upstream, verb, None)
        if ending is None:
            self.abandon(0)
        elif len(self.held) > known:
            self._record(self.held[known:], [ending] * (len(self.held) - known))

    @rule(data=st.data(), how=st.sampled_from(["late", "release", "abandon"]))
    def disturb(self, data: st.DataObject, how: str) -> None:
        """Record an attempt late, give a task back, or lose a whole job."""
        if how == "late" and self.dropped:
            self.record_late(data)
        elif how == "release" and self.held:
            self.release(data)
        else:
            self.abandon(data.draw(st.integers(0, 1)))

    def record_late(self, data: st.DataObject) -> None:
        job, one = data.draw(st.sampled_from(self.dropped))
        outcome, state = data.draw(st.sampled_from(ENDINGS))
        self.registry.record(job, [ended(one, self.study.context(job), outcome, state)])
        self.model.end(self._name(one.map), one.index, one.number, outcome, state, job)

    def release(self, data: st.DataObject) -> None:
        job, one = data.draw(st.sampled_from(self.held))
        task = self.model.maps[self._name(one.map)].tasks[one.index]
        self.registry.release(job, [(one.map, one.index, one.number)])
        if (task.state, task.attempts, task.job) == (State.RUNNING, one.number, job):
            self.model.give_back(self._name(one.map), one.index, lost=False)
        self.held.remove((job, one))

    def abandon(self, which: int) -> None:
        job = self.jobs[which]
        lost = [
            (map.name, index)
            for map in self.model.maps.values()
            for index, task in enumerate(map.tasks)
            if task.state is State.RUNNING and task.job == job
        ]
        assert self.registry.abandon(job, AT) == len(lost)
        for name, index in lost:
            self.model.give_back(name, index, lost=True)
        self.dropped += [one for one in self.held if one[0] == job]
        self.held = [one for one in self.held if one[0] != job]
        self.jobs[which] = self.study.job()

    @precondition(lambda self: self.model.maps)
    @rule(data=st.data(), verb=st.sampled_from(["retry", "rerun", "cancel"]), everything=st.booleans())
    def change(self, data: st.DataObject, verb: str, everything: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.maps)))
        self._change(name, verb, None if everything else data.draw(st.lists(st.integers(0, 7), max_size=3)))

    def _change(self, name: str, verb: str, named: list[int] | None) -> None:
        total = len(self.model.maps[name].tasks)
        id = self.study.id(name)
        if verb == "retry":
            done = self.registry.retry(id, named, time=None, memory=None)
            before, after = (State.FAILED, State.CANCELLED), State.PENDING
        elif verb == "rerun":
            done = self.registry.rerun(id, named)
            before, after = (State.SUCCEEDED,), State.PENDING
        else:
            done = self.registry.cancel(id, named)
            fitting = (State.WAITING, State.PENDING, State.RUNNING)
            before, after = fitting if named is None else (*fitting, State.FAILED), State.CANCELLED
        indices = range(total) if named is None else [n for n in named if n < total]
        assert done == self.model.change(name, indices, before, after)

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "registry"):
            return
        for map in self.model.maps.values():
            id = self.study.id(map.name)
            found = [
                (task.params, task.upstream, task.state, task.attempts, task.accepted)
                for task in self.registry.tasks(id)
            ]
            assert [one[1:] for one in found] == [
                (task.upstream, task.state, task.attempts, task.accepted) for task in map.tasks
            ], map.name
            assert self.study.params(map.name) == [task.params for task in map.tasks]
            for index, task in enumerate(map.tasks):
                recorded = {one.number: one.outcome for one in Reads(self.registry.database).attempts(id, index)}
                assert recorded == task.recorded
                assert task.accepted == 0 or task.state in ENDED


def _run(create: Callable[[], Registry], examples: int) -> None:
    run_state_machine_as_test(
        lambda: Histories(create),
        settings=settings(
            max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )


def test_random_histories_in_sqlite_agree_with_the_model(tmp_path: Path) -> None:
    numbers = count()

    def create() -> Registry:
        registry = Registry.create(f"sqlite:///{tmp_path / f'{next(numbers)}.sqlite'}")
        registry.database.run("pragma synchronous=off")  # what a crash leaves is another test's business
        return registry

    _run(create, 60)


def test_random_histories_in_postgresql_agree_with_the_model(postgres_url: str) -> None:
    def create() -> Registry:
        with closing(connect(postgres_url)) as database:
            database.run("drop schema public cascade")
            database.run("create schema public")
        return Registry.create(postgres_url)

    _run(create, 12)
