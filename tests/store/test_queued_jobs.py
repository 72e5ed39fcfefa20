"""Jobs that a scheduler has and that no manager has opened yet."""

from __future__ import annotations

import msgspec
import pytest

from provrun.core.records import JobRecord
from provrun.errors import Refused
from provrun.store.reads import Reads
from provrun.store.registry import Registry

QUEUED = JobRecord(
    uuid="u", kind="batch", state="queued", user="ada", node="", slots=0, ranks=4, started=1,
    owner={"scheduler": "slurm", "chain": "c"},
)


def test_a_queued_job_is_known_before_its_id_and_runs_when_its_manager_opens_it(any_registry: Registry) -> None:
    id = any_registry.queue_job(QUEUED)
    with_id = msgspec.structs.replace(QUEUED, owner={**QUEUED.owner, "id": "12"})
    assert any_registry.queue_job(with_id) == id
    assert [job.owner["id"] for job in any_registry.queued_jobs()] == ["12"]
    assert any_registry.running_jobs() == []
    running = msgspec.structs.replace(
        QUEUED, kind="mpi", state="running", node="n1", slots=24, ranks=3, started=5, owner={"lock": "u.lock"}
    )
    assert any_registry.open_job(running) == id
    (job,) = any_registry.running_jobs()
    assert (job.kind, job.node, job.slots, job.ranks, job.started) == ("batch", "n1", 24, 3, 5)
    assert job.owner == {"scheduler": "slurm", "chain": "c", "id": "12", "lock": "u.lock"}
    assert any_registry.queue_job(QUEUED) == id, "what comes late changes nothing"
    assert [job.state for job in Reads(any_registry.database).jobs()] == ["running"]


def test_a_job_that_was_cancelled_in_the_queue_is_not_opened(any_registry: Registry) -> None:
    id = any_registry.queue_job(QUEUED)
    any_registry.close_job(id, "ended", "cancelled before it began", 2)
    with pytest.raises(Refused, match="not queued any more"):
        any_registry.open_job(msgspec.structs.replace(QUEUED, state="running"))
    assert any_registry.queued_jobs() == []
    assert any_registry.running_jobs() == []
