"""Grid Engine: as text, and a real one."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from fixtures.cli import Cli
from fixtures.gridengine import Grid
from fixtures.runs import Runs
from fixtures.witness import Witness
from provrun.core.allocation import Request, Stage
from provrun.errors import UsageError
from provrun.launch.commands import Scheduler, detected
from provrun.launch.dialect import Answer, Unreadable
from provrun.launch.gridengine import GridEngine

UUID = "0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9"
REQUEST = Request(
    scheduler="sge", nodes=4, slots=24, time=5400.5, queue="short", account="phys", exclude=("n3", "n7"), after="41",
    options=(("pe", "mpi"), ("l", "mem_free=4G")), name="provrun-u", output="/p/u.out", folder="/p", command=("true",),
)


def test_a_script_of_grid_engine() -> None:
    assert GridEngine().render(REQUEST).splitlines()[1:-3] == [
        "#$ -N provrun-u", "#$ -S /bin/bash", "#$ -pe mpi 96", "#$ -l h_rt=5401", "#$ -q short", "#$ -P phys",
        "#$ -l h=!(n3|n7)", "#$ -hold_jid 41", "#$ -wd /p", "#$ -j y", "#$ -o /p/u.out", "#$ -r n", "#$ -m n",
        "#$ -l mem_free=4G",
    ]
    one = Request(scheduler="sge", slots=1, command=("true",))
    assert "-pe" not in GridEngine().render(one)
    for wrong in (msgspec.structs.replace(one, nodes=2), msgspec.structs.replace(one, slots=None)):
        with pytest.raises(UsageError, match="parallel environment"):
            GridEngine().render(wrong)


def test_what_is_no_answer_of_grid_engine() -> None:
    for answer in (Answer(1, "", "error: commlib error: got select error"), Answer(0, "<job_info>", "")):
        with pytest.raises(Unreadable):
            GridEngine().told(answer, ["1"])


def test_a_real_grid_engine_runs_holds_and_cancels(grid: Grid, tmp_path: Path, no_strays: None) -> None:
    assert detected() == "sge"
    scheduler = Scheduler(GridEngine(), tmp_path)
    folder = tmp_path / "a b (c)"
    folder.mkdir()
    names = iter(range(9))

    def submit(command: str, **more: object) -> str:
        n = next(names)
        request = msgspec.structs.replace(
            Request(
                scheduler="sge", slots=2, options=(("pe", "whole"),), name=GridEngine().job_name(UUID),
                folder=str(folder), output=str(folder / f"out-{n}"), command=("bash", "-c", command),
                environ={"WORD": "it's"},
            ), **more,
        )
        path = tmp_path / f"{n}.sh"
        path.write_text(GridEngine().render(request))
        return scheduler.submit(path, request)

    before = time.time()
    first = submit("echo $WORD $NSLOTS; while [ ! -e gate ]; do sleep 0.1; done")
    second = submit("echo after", after=first)
    grid.until(lambda: grid.jobs()[first] == "r", "the first one runs")
    told = scheduler.query([first, second, "999"])
    assert {id: each.stage for id, each in told.items()} == {first: Stage.RUNNING, second: Stage.HELD}
    assert told[second].name == f"provrun-{UUID}"
    assert abs(told[second].submitted / 1e6 - before) < 60
    (folder / "gate").touch()
    grid.until(lambda: not grid.jobs(), "both have ended")
    assert {each.stage for each in scheduler.query([first, second]).values()} == {Stage.ENDED}
    assert (folder / "out-0").read_text() == "it's 2\n"
    assert (folder / "out-1").read_text() == "after\n"
    third = submit("sleep 600")
    grid.until(lambda: grid.jobs()[third] == "r", "the third one runs")
    scheduler.cancel([third, first])
    grid.until(lambda: third not in grid.jobs(), "the third one is cancelled")


def test_a_map_runs_to_its_end_on_a_real_grid_engine(runs: Runs, grid: Grid, witness: Witness) -> None:
    runs.submit("scan", ["sh", "-c", witness.shell("{x} $QUEUE")], 10)
    cli = Cli(runs.root)
    done = cli("launch", "scan", "--slots", "2", "--option", "pe=whole", "--time", "10m", "--json")
    (job,) = done.json["jobs"]
    assert (job["scheduler"], job["nodes"], job["slots"]) == ("sge", 1, 2)
    grid.until(lambda: not grid.jobs(), "the job has ended, and so has what was to follow it")
    assert witness.counts() == {f"{x} main": 1 for x in range(10)}, Path(job["output"]).read_text()
    row, successor = cli("job", "list", "--json").json["jobs"]
    assert (row["state"], row["scheduler_id"], row["node"] != "") == ("ended", job["scheduler_id"], True)
    assert (successor["state"], successor["node"]) == ("ended", "")
