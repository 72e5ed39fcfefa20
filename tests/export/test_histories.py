"""Random histories: whatever happened, the page and its records hold for a verifier written elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from fixtures import stranger
from fixtures.expanded import compare
from fixtures.store_histories import Histories
from provrun.core.code import CapturedCode, Code
from provrun.core.environment import Environment
from provrun.core.states import State
from provrun.project.pages.publishing import export
from provrun.project.pages.verifying import prove, verify
from provrun.project.project import Project
from provrun.store.reads import Reads

AT = 1_700_000_000_000_000


class PublishedHistories(Histories):
    """Histories in which code and environment change as well, and that end with an export."""

    def __init__(self, make: Callable[[], Project]) -> None:
        self.project: Project | None = None

        def create() -> object:
            self.project = make()
            return self.project.registry

        super().__init__(create)

    @rule(number=st.integers(0, 3), dirty=st.booleans())
    def edit(self, number: int, dirty: bool) -> None:
        code = Code(kind="git", root="/study", commit=f"{number:040x}", tree=f"{number + dirty:040x}", dirty=dirty)
        self.study.code = self.registry.intern_code(CapturedCode(code), AT + number)

    @rule(minor=st.integers(9, 12))
    def install(self, minor: int) -> None:
        environment = Environment(python=f"3.{minor}.0", implementation="cpython")
        self.study.environment = self.registry.intern_environment(environment, AT)

    def teardown(self) -> None:
        if self.project is None:
            return
        try:
            self._publish(self.project)
        finally:
            self.project.close()

    def _publish(self, project: Project) -> None:
        page, leaves, proof = (project.root / name for name in ("page.ttl", "leaves.jsonl", "proof.json"))
        export(project, path=page)
        in_one_pass = page.read_bytes()
        export(project, path=page, leaves=leaves)
        assert page.read_bytes() == in_one_pass
        stranger.check(page, leaves)
        compare(project, page, leaves)
        records = [json.loads(line) for line in leaves.read_bytes().splitlines()]
        self._recompute(project, records)
        member = records[len(records) // 2] if records else None
        if member is not None:
            prove(f"{member['map']}/{member['index']}", page, proof, folder=project.root)
            assert stranger.member(page, proof) == member
        assert verify(page, leaves=leaves, member=proof if member else None).problems == []

    def _recompute(self, project: Project, records: list[dict[str, object]]) -> None:
        """Compare the records with what the registry answers when it is asked for one task after the other."""
        reads = Reads(project.registry.database)
        told = {(record["map"], record["index"]): record for record in records}
        for map in reads.maps():
            for shown in reads.stream(map.id):
                record = told.pop((map.name, shown.task.index))
                assert record["state"] == State(shown.task.state).word
                attempts = {one.number: one for one in reads.attempts(map.id, shown.task.index)}
                assert record["attempts"] == len(attempts)
                accepted = shown.task.accepted
                stands = attempts.get(accepted) or (attempts[max(attempts)] if attempts else None)
                assert record["attempt"] == (stands.number if stands else None)
                listed = [record, *record["history"]] if stands else []  # type: ignore[misc]
                for one in listed:
                    found = attempts.pop(one["attempt"])
                    around = reads.context(found.context)
                    assert (one["outcome"], one["wall_us"]) == (found.outcome.word, found.wall)
                    assert (one["code"], one["environment"]) == (around.code, around.environment)
                    assert one["result"] == (found.result_digest.hex() if found.result_digest else None)
                assert not attempts
        assert not told


def test_records_and_commitment_hold_for_a_stranger_whatever_happened(tmp_path: Path) -> None:
    numbers = count()

    def make() -> Project:
        project = Project.create(tmp_path / str(next(numbers)))
        project.registry.database.run("pragma synchronous=off")  # what a crash leaves is another test's business
        return project

    run_state_machine_as_test(
        lambda: PublishedHistories(make),
        settings=settings(
            max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
