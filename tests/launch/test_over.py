"""A job is over by evidence, never because it is unknown, silent, or the scheduler is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fixtures.slurm import Slurm
from fixtures.stand_ins import StandIns
from provrun.core.allocation import Stage, Verdict
from provrun.core.records import JobRecord
from provrun.project.jobs.marks import FOLDER, mark_ended
from provrun.project.jobs.over import APART, STALE, Judge
from provrun.project.project import Project

UUID = "0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9"
SUBMITTED = 1_700_000_000


def line(state: str, *, id: str = "12", name: str = f"provrun-{UUID}", submitted: int = SUBMITTED + 2) -> str:
    return f"{id}|{state}|None|{submitted}|{submitted + 3600}|n1|{name}\n"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project.create(tmp_path / "project")
    yield made
    made.close()


class Case:
    """A batch job whose manager is on a host that cannot be seen from here."""

    def __init__(self, project: Project, **more: Any) -> None:
        self.project = project
        owner = {
            "host": "n1", "boot": "another", "lock": f"{UUID}.lock", "pid": 1, "scheduler": "slurm", "id": "12",
            "submitted": SUBMITTED * 1_000_000, "allocation": UUID, "chain": UUID,
        }
        self.job = msgspec.structs.replace(
            JobRecord(
                id=1, uuid=UUID, kind="batch", state="running", user="ada", node="n1", slots=2, ranks=1,
                started=time.time_ns() // 1000, owner=owner,
            ), **more,
        )
        self.lock = project.dir / "jobs" / f"{UUID}.lock"
        self.lock.parent.mkdir(exist_ok=True)
        self.lock.touch()

    def beat(self, ago: float) -> None:
        at = time.time() - ago
        os.utime(self.lock, (at, at))

    def wait(self, seconds: float) -> None:
        """Let what is remembered be older by so much."""
        path = self.project.dir / FOLDER / f"answers-{os.getuid()}"
        seen = msgspec.json.decode(path.read_bytes())
        for each in seen.values():
            for name in ("at", "absent"):
                if each.get(name) is not None:
                    each[name] -= seconds
        path.write_bytes(msgspec.json.encode(seen))

    def verdict(self, **more: float) -> Verdict:
        return Judge(self.project, **more).verdicts([self.job])[UUID]


@pytest.mark.parametrize("state", ["COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED"])
def test_a_final_state_of_this_very_job_is_evidence(project: Project, stand_ins: StandIns, state: str) -> None:
    stand_ins.answer("squeue", line(state))
    verdict = Case(project).verdict()
    assert verdict.over is True
    assert verdict.because == f"slurm says that it is {state.lower()}"


def test_why_a_job_still_waits_is_told_in_the_words_of_its_scheduler(project: Project, stand_ins: StandIns) -> None:
    stand_ins.answer("squeue", line("PENDING").replace("|None|", "|PartitionTimeLimit|"))
    assert Case(project, state="queued").verdict().because == "slurm says that it is queued (PartitionTimeLimit)"
    stand_ins.answer("squeue", line("CANCELLED").replace("|None|", "|BeginTime|"))
    assert Case(project, state="queued").verdict(fresh=0.0).because == "slurm says that it is cancelled"


@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "COMPLETING", "SUSPENDED"])
def test_a_job_that_the_scheduler_has_is_not_over_however_silent(
    project: Project, stand_ins: StandIns, state: str
) -> None:
    stand_ins.answer("squeue", line(state))
    case = Case(project)
    case.beat(10 * 86_400)
    assert case.verdict().over is False


def test_an_id_that_was_given_to_another_job_says_nothing(project: Project, stand_ins: StandIns) -> None:
    for answer in (
        line("COMPLETED", name="provrun-another"),
        line("COMPLETED", submitted=SUBMITTED - 86_400),  # of our name, but of before: not ours
    ):
        stand_ins.answer("squeue", answer)
        case = Case(project)
        assert case.verdict().over is None
        (project.dir / FOLDER / f"answers-{os.getuid()}").unlink()


def test_a_name_as_slurm_gives_it_after_a_requeue_is_still_ours(project: Project, stand_ins: StandIns) -> None:
    stand_ins.answer("squeue", line("TIMEOUT", submitted=SUBMITTED + 86_400))
    assert Case(project).verdict().over is True


def test_a_job_absent_twice_a_minute_apart_and_silent_is_over(project: Project, stand_ins: StandIns) -> None:
    stand_ins.answer("squeue", exit=1, err="slurm_load_jobs error: Invalid job id specified\n")
    case = Case(project)
    case.beat(STALE + 60)
    assert case.verdict().over is None
    case.wait(30)
    assert case.verdict().over is None  # twice, but not a minute apart
    case.wait(APART - 25)
    assert case.verdict().over is True
    assert len(stand_ins.calls("squeue")) == 3


def test_a_job_absent_for_long_that_gives_signs_of_life_is_not_over(project: Project, stand_ins: StandIns) -> None:
    stand_ins.answer("squeue")  # asked for several ids, Slurm drops those it does not know and exits with 0
    case = Case(project)
    assert case.verdict().over is None
    case.wait(3600)
    case.beat(0)
    assert case.verdict().over is None
    case.beat(STALE + 60)
    case.wait(60)
    assert case.verdict().over is True


def test_being_seen_in_between_starts_the_absence_anew(project: Project, stand_ins: StandIns) -> None:
    case = Case(project)
    case.beat(STALE + 60)
    stand_ins.answer("squeue")
    assert case.verdict().over is None
    case.wait(120)
    stand_ins.answer("squeue", line("RUNNING"))
    assert case.verdict().over is False
    case.wait(120)
    stand_ins.answer("squeue")
    assert case.verdict().over is None


@pytest.mark.parametrize("hangs", [False, True])
def test_a_scheduler_that_fails_or_hangs_says_nothing(project: Project, stand_ins: StandIns, hangs: bool) -> None:
    stand_ins.answer("squeue", line("COMPLETED"), exit=1, err="Socket timed out\n", hangs=hangs)
    case = Case(project)
    case.beat(3000)
    assert case.verdict(patience=0.3).over is None
    case.wait(3000)
    assert case.verdict(patience=0.3).over is None


def test_absence_does_not_grow_while_the_scheduler_is_away(project: Project, stand_ins: StandIns) -> None:
    case = Case(project)
    case.beat(STALE + 60)
    stand_ins.answer("squeue", exit=1, err="Socket timed out\n")
    assert case.verdict().over is None
    case.wait(600)
    stand_ins.answer("squeue")
    assert case.verdict().over is None  # the first answer that does not name it


def test_without_any_evidence_a_job_is_taken_over_after_an_hour_without_a_sign(
    project: Project, stand_ins: StandIns
) -> None:
    stand_ins.answer("squeue", exit=1, err="Socket timed out\n")
    case = Case(project)
    case.beat(3500)
    assert case.verdict().over is None
    case.beat(3700)
    verdict = case.verdict()
    assert verdict.over is True
    assert "takeover" in verdict.because


def test_a_state_that_is_not_known_is_no_evidence(project: Project, stand_ins: StandIns) -> None:
    stand_ins.answer("squeue", line("EVAPORATED"))
    case = Case(project)
    case.beat(STALE + 60)
    assert case.verdict().over is None


def test_a_final_state_without_a_name_counts_only_when_the_job_is_silent(
    project: Project, stand_ins: StandIns
) -> None:
    stand_ins.answer("qstat", exit=35, err="qstat: 12.pbs01 Job has finished, use -x or -H to obtain ...\n")
    case = Case(project)
    case.job = msgspec.structs.replace(case.job, owner={**case.job.owner, "scheduler": "pbs", "id": "12.pbs01"})
    assert case.verdict().over is None
    case.beat(STALE + 60)
    assert case.verdict().over is True


def test_several_jobs_are_one_question_and_its_answer_holds_for_a_while(
    project: Project, stand_ins: StandIns
) -> None:
    stand_ins.answer("squeue", line("RUNNING") + line("RUNNING", id="13", name="provrun-b"))
    case = Case(project)
    other = msgspec.structs.replace(
        case.job, id=2, uuid="b", owner={**case.job.owner, "id": "13", "allocation": "b", "lock": "b.lock"}
    )
    for _ in range(3):
        verdicts = Judge(project).verdicts([case.job, other])
        assert [verdict.over for verdict in verdicts.values()] == [False, False]
    assert len(stand_ins.calls("squeue")) == 1
    assert verdicts[UUID].ends == (SUBMITTED + 3602) * 1_000_000


def test_the_mark_of_a_script_that_has_ended_is_evidence(project: Project, stand_ins: StandIns) -> None:
    stand_ins.answer("squeue", line("RUNNING"))
    case = Case(project)
    mark_ended(project, UUID)
    assert case.verdict().over is True
    assert stand_ins.calls("squeue") == []


def test_a_queued_job_is_over_when_it_is_unknown_for_a_minute(project: Project, stand_ins: StandIns) -> None:
    stand_ins.answer("squeue", line("PENDING"))
    case = Case(project, state="queued")
    case.lock.unlink()
    assert case.verdict().stage is Stage.QUEUED
    case.wait(60)
    stand_ins.answer("squeue")
    assert case.verdict().over is None
    case.wait(61)
    assert case.verdict().over is True


def test_a_job_that_nobody_can_ask_about_is_taken_over_after_an_hour(project: Project) -> None:
    owner = {"host": "elsewhere", "boot": "another", "lock": f"{UUID}.lock"}
    case = Case(project, owner=owner)
    assert case.verdict().over is None
    case.beat(3700)
    assert case.verdict().over is True


def test_where_a_jobs_files_cannot_be_seen_what_it_has_recorded_is_its_sign_of_life(
    project: Project, stand_ins: StandIns
) -> None:
    stand_ins.answer("squeue")
    case = Case(project, started=(time.time_ns() - 7200 * 10**9) // 1000)
    case.lock.unlink()
    assert case.verdict().over is None
    case.wait(61)
    assert case.verdict().over is True


def test_the_beat_in_a_log_is_a_sign_of_life_too(project: Project, stand_ins: StandIns) -> None:
    stand_ins.answer("squeue")
    case = Case(project)
    case.beat(STALE + 3600)
    assert case.verdict().over is None
    case.wait(61)
    beat = project.dir / "log" / "a" / f"beat-{UUID}"
    beat.parent.mkdir(parents=True)
    beat.touch()
    assert case.verdict().over is None
    case.wait(61)
    beat.unlink()
    assert case.verdict().over is True


def test_what_a_real_slurm_says_is_evidence(project: Project, slurm: Slurm, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/bash\nsleep 600\n")
    now = time.time_ns() // 1000

    def case(name: str) -> Case:
        id = slurm("sbatch", "--parsable", f"--job-name={name}", "--output=/dev/null", script).strip()
        made = Case(project)
        made.job = msgspec.structs.replace(made.job, owner={**made.job.owner, "id": id, "submitted": now})
        made.beat(STALE + 60)
        return made

    ours, others = case(f"provrun-{UUID}"), case("somebody-elses")
    assert ours.verdict(fresh=0).over is False
    assert others.verdict(fresh=0).over is None
    for each in (ours, others):
        slurm("scancel", str(each.job.owner["id"]))
        slurm.ended(str(each.job.owner["id"]))
    assert ours.verdict(fresh=0).over is True
    (project.dir / FOLDER / f"answers-{os.getuid()}").unlink()
    assert others.verdict(fresh=0).over is None
    unknown = Case(project)
    unknown.job = msgspec.structs.replace(ours.job, owner={**ours.job.owner, "id": "999999"})
    (project.dir / FOLDER / f"answers-{os.getuid()}").unlink()
    assert unknown.verdict(fresh=0).over is None
