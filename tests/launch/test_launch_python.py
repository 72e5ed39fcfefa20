"""Batch jobs from Python, and qdo's queues on a real Slurm."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.slurm import Slurm

pytestmark = pytest.mark.usefixtures("mpich", "no_strays")


def script(folder: Path, text: str) -> str:
    path = folder / "study.py"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, str(path)], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_map_is_launched_with_all_it_builds_on(git_repo: Path, slurm: Slurm) -> None:
    out = script(git_repo, """
import provrun as pr

def square(x):
    return x * x

def total(rows):
    return sum(row["result"] for row in rows)

squares = pr.map(square, x=range(10), name="square")
stat = pr.reduce(total, over=squares, name="total")
jobs = stat.launch(nodes=1, time="10m", slots=2, options={"comment": "mine"})
print(len(jobs), jobs[0]["scheduler"], jobs[0]["time"])
stat.wait(timeout=60)
print(stat.result())
print(stat.launch(nodes=1))
""")
    assert out.splitlines() == ["1 slurm 600.0", "285", "[]"]


def test_queues_of_qdo_are_batch_jobs(git_repo: Path, slurm: Slurm) -> None:
    out = script(git_repo, """
from provrun import qdo
q = qdo.create("Blat")
for i in range(12):
    q.add("echo {}".format(i))
launched = q.launch(3)
print(len({job["scheduler_id"] for job in launched.jobs}), {job["slots"] for job in launched.jobs})
launched.wait(60)
print(q.status()["ntasks"]["Succeeded"])
q.add_multiple(["echo {}".format(i) for i in range(8)])
packed = q.launch(2, pack=True)
print([(job["nodes"], job["slots"]) for job in packed.jobs])
packed.wait(60)
print(q.status()["ntasks"]["Succeeded"])
""")
    assert out.splitlines() == ["3 {1}", "12", "[(1, 2)]", "20"]
