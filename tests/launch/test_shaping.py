"""What a shape is chosen from: tasks that are left, what tasks took, what the queue allows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from fixtures.slurm import CORES, NODES, Slurm
from fixtures.study import Study, ended, grid
from provrun.core.records import Dependency
from provrun.core.shape import Wishes
from provrun.core.workload import Reads
from provrun.errors import NothingLeft, UsageError
from provrun.project.config import Config
from provrun.project.jobs import shaping
from provrun.project.project import Project

CORES_HERE = len(os.sched_getaffinity(0))


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project.create(tmp_path)
    yield made
    made.close()


@pytest.fixture
def study(project: Project) -> Study:
    return Study(project.registry)


def measure(study: Study, name: str, n: int, seconds: Callable[[int], float], *, shared: bool = False) -> None:
    """Run tasks that take so many seconds, by index."""
    job = study.job()
    context = study.context(job)
    claimed = study.claim(job, name, limit=n)
    study.registry.record(job, [
        msgspec.structs.replace(
            ended(one, context), wall=int(seconds(one.index) * 1e6), max_rss=1 << 20, rss_shared=shared
        ) for one in claimed
    ])
    study.registry.close_job(job, "ended", "", 1)


def test_durations_are_those_of_the_tasks_that_ran(project: Project, study: Study) -> None:
    study.submit("scan", grid(x=1000))
    measure(study, "scan", 200, lambda index: 1 + index % 2)
    (work,) = shaping.works(project, ["scan"])
    assert (work.name, work.tasks, work.ready) == ("scan", 800, 800)
    assert work.durations.mean == 1.5
    assert (work.durations.worst, work.durations.measured) == (2.0, 200)
    assert work.memory == int((1 << 30) * shaping.ROOM)
    assert not work.durations.known


def test_few_attempts_are_looked_at_from_all_over_the_map(project: Project, study: Study) -> None:
    study.submit("scan", grid(x=5000))
    measure(study, "scan", 4000, lambda index: 1 + index / 1000, shared=True)
    (work,) = shaping.works(project, ["scan"])
    assert work.durations.measured == shaping.SAMPLED
    assert work.durations.mean == pytest.approx(3.0, rel=0.01)
    assert work.memory == 0  # of several attempts together, not of a task


def test_failed_attempts_tell_nothing(project: Project, study: Study) -> None:
    study.submit("scan", grid(x=10))
    job = study.job()
    study.fail(job, study.claim(job, "scan", limit=5))
    (work,) = shaping.works(project, ["scan"])
    assert (work.tasks, work.durations.measured, work.durations.mean) == (5, 0, shaping.ASSUMED)


def test_the_same_recipe_in_another_map_counts(project: Project, study: Study) -> None:
    study.submit("scan", grid(x=10))
    measure(study, "scan", 10, lambda index: 7.0)
    study.submit("again", grid(y=30))
    study.submit("other", grid(x=30), word="else")
    again, other = shaping.works(project, ["again", "other"])
    assert (again.durations.measured, again.durations.mean) == (10, 7.0)
    assert other.durations.measured == 0


def test_tasks_that_all_ran_before_are_known(project: Project, study: Study) -> None:
    study.submit("scan", grid(x=10))
    measure(study, "scan", 10, lambda index: 1.0 + index)
    study.registry.rerun(study.id("scan"), range(10))
    (work,) = shaping.works(project, ["scan"])
    assert work.tasks == 10
    assert work.durations.known


def test_what_builds_on_others_waits_for_them(project: Project, study: Study) -> None:
    study.submit("scan", grid(x=10))
    study.submit("obs", [{"kind": "a"}], on=[Dependency(upstream="scan", kind="each")])
    study.submit("stat", [{"n": 1}], on=[Dependency(upstream="obs", kind="all")])
    scan, obs, stat = shaping.works(project, ["stat"])
    assert (scan.reads, obs.reads, stat.reads) == ((), (Reads("scan", "gradual"),), (Reads("obs", "all"),))
    assert (obs.tasks, obs.ready, stat.tasks, stat.ready) == (10, 0, 1, 0)


def test_what_waits_for_failed_tasks_is_not_left(project: Project, study: Study) -> None:
    study.submit("scan", grid(x=10))
    study.submit("stat", [{"n": 1}], on=[Dependency(upstream="scan", kind="all")])
    job = study.job()
    study.fail(job, study.claim(job, "scan"))
    with pytest.raises(NothingLeft):
        shaping.shape(project, ["stat"], scheduler="local")


def test_the_first_job_is_small_and_says_so(project: Project, study: Study) -> None:
    study.submit("scan", grid(x=100_000))
    shape, _ = shaping.shape(project, ["scan"], scheduler="local")
    assert (shape.jobs, shape.nodes, shape.slots, shape.time) == (1, 1, CORES_HERE, shaping.FIRST)
    assert "no task has been measured yet" in shape.reasons[0]
    assert "as wished" not in "".join(shape.reasons)


def test_what_is_configured_holds_where_the_scheduler_says_nothing(project: Project, study: Study) -> None:
    study.submit("scan", grid(x=10_000))
    measure(study, "scan", 100, lambda index: 600.0)
    unknown = shaping.allowances(project, "pbs", "medq")  # not here
    assert unknown.cores == CORES_HERE
    assert "not known" in unknown.source
    project.config = Config.load(project.dir, {
        "PROVRUN_QUEUE_CORES": "24", "PROVRUN_QUEUE_NODES": "6", "PROVRUN_QUEUE_TIME": "2d", "PROVRUN_QUEUE_JOBS": "2"
    })
    shape, _ = shaping.shape(project, ["scan"], scheduler="pbs")
    assert (shape.slots, shape.jobs) == (24, 2)
    assert shape.nodes <= 6
    assert "at most 6 nodes a job, 2d00h a job, 2 jobs a user" in "\n".join(shape.reasons)


def test_jobs_that_are_there_already_are_named(project: Project, study: Study) -> None:
    study.submit("scan", grid(x=1000))
    measure(study, "scan", 100, lambda index: 1.0)
    assert "already" not in "".join(shaping.shape(project, ["scan"], scheduler="local").shape.reasons)
    study.job()
    shape, _ = shaping.shape(project, ["scan"], scheduler="local")
    assert shape.reasons[0].startswith("1 job is queued or running already; all share what is left")


def test_wishes_are_kept(project: Project, study: Study) -> None:
    study.submit("scan", grid(x=1000))
    measure(study, "scan", 100, lambda index: 1.0)
    shape, _ = shaping.shape(project, ["scan"], scheduler="local", wishes=Wishes(slots=1, time=7200.0))
    assert (shape.slots, shape.time) == (1, 7200.0)


def test_a_real_slurm_is_asked(project: Project, study: Study, slurm: Slurm) -> None:
    study.submit("scan", grid(x=2000))
    measure(study, "scan", 100, lambda index: 9 + index % 3)
    main, _ = shaping.shape(project, ["scan"], scheduler="slurm")
    assert main.slots == CORES
    assert main.nodes <= NODES
    assert main.rounds == 1
    assert any(reason.startswith(f"main: nodes of {CORES} cores; {NODES} nodes in all") for reason in main.reasons)
    short, _ = shaping.shape(project, ["scan"], scheduler="slurm", queue="short")
    assert short.time == 600.0
    assert short.nodes == 2
    assert short.rounds > 1
    with pytest.raises(UsageError, match="--nodes 3"):
        shaping.shape(project, ["scan"], scheduler="slurm", queue="short", wishes=Wishes(nodes=3))
    gone = shaping.allowances(project, "slurm", "nosuch")
    assert gone.source.startswith("not known: slurm does not say what a queue allows: no partition nosuch; as many")
