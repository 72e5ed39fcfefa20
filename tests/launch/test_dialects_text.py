"""PBS, LSF, Flux and this host as text: scripts, and what answers mean.

The answers have the form that the programs print: `qstat -f` of OpenPBS 23 and of Torque 6 (lines of 79 characters,
continued behind a tab), `bjobs -json` of LSF 10.1 (a record of an unknown job has ERROR in place of its fields),
`flux jobs` of flux-core 0.60 with the columns that are asked for; error lines as their sources and manuals have them.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from provrun.core.allocation import Request, Stage
from provrun.errors import UsageError
from provrun.launch.dialect import Answer, Dialect, Unreadable
from provrun.launch.dialects import DIALECTS, named
from provrun.launch.flux import Flux
from provrun.launch.local import Local
from provrun.launch.lsf import Lsf
from provrun.launch.pbs import Pbs

UUID = "0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9"
REQUEST = Request(
    scheduler="pbs", nodes=4, slots=24, time=5400.5, queue="short", account="phys", after="41",
    environ={"PATH": "/a b:/bin"}, name="p0a1b2c3d4e5f40", output="/p/.provrun/launch/u.out", folder="/p",
    command=("python", "-P", "plan"),
)
BODY = ["", "export PATH='/a b:/bin'", "cd /p || exit 1", "exec python -P plan </dev/null"]


def with_options(**more: object) -> Request:
    return msgspec.structs.replace(REQUEST, **more)


def stages(dialect: Dialect, answer: Answer, *ids: str) -> dict[str, Stage]:
    return {id: told.stage for id, told in dialect.told(answer, ids).items()}


# PBS


def test_a_script_of_pbs() -> None:
    request = with_options(options=(("l", "filesystems=home"), ("Roption", "x"), ("P", "chem")))
    assert Pbs().render(request).splitlines() == [
        "#!/bin/bash", "#PBS -N p0a1b2c3d4e5f40", "#PBS -S /bin/bash", "#PBS -l select=4:ncpus=24:mpiprocs=1",
        "#PBS -l place=scatter", "#PBS -l walltime=01:30:01", "#PBS -q short", "#PBS -A phys",
        "#PBS -W depend=afterany:41", "#PBS -j oe", "#PBS -o /p/.provrun/launch/u.out", "#PBS -r n", "#PBS -m n",
        "#PBS -l filesystems=home", "#PBS -l Roption=x", "#PBS -P chem", *BODY,
    ]


def test_nodes_written_as_torque_wants_them_take_the_place_of_select() -> None:
    script = Pbs().render(with_options(slots=None, options=(("l", "nodes=4:ppn=24"),)))
    assert "#PBS -l nodes=4:ppn=24" in script
    assert "select" not in script


@pytest.mark.parametrize(
    "request_", [with_options(slots=None), with_options(exclude=("n1",)), with_options(output="/a b/u.out")]
)
def test_what_pbs_cannot_do_is_said(request_: Request) -> None:
    with pytest.raises(UsageError):
        Pbs().render(request_)


def test_a_name_of_pbs_is_short_and_begins_with_a_letter() -> None:
    assert Pbs().job_name(UUID) == "p0a1b2c3d4e5f40"
    assert len(Pbs().job_name(UUID)) == 15


OPENPBS = """\
Job Id: 14.pbs01
    Job_Name = p0a1b2c3d4e5f40
    Job_Owner = ada@login1
    resources_used.walltime = 00:01:12
    job_state = R
    queue = workq
    ctime = Sun Dec 29 20:13:12 2024
    exec_host = node07/0*24+node08/0*24
    qtime = Sun Dec 29 20:13:12 2024
    Resource_List.ncpus = 48
    Resource_List.walltime = 01:30:00
    stime = Sun Dec 29 20:14:00 2024
    Variable_List = PBS_O_HOME=/home/ada,PBS_O_LANG=C.UTF-8,
\tPBS_O_LOGNAME=ada,
\tPBS_O_PATH=/usr/bin:/bin,job_state = X
    comment = Job run at Sun Dec 29 at 20:14 on (node07:ncpus=24)+(node08:ncpus
\t=24)

Job Id: 15.pbs01
    Job_Name = p1
    job_state = H
    qtime = Sun Dec 29 20:13:13 2024

Job Id: 16.pbs01
    Job_Name = p2
    job_state = F
    Exit_status = 271
    qtime = Sun Dec 29 20:13:14 2024

"""
TORQUE = """\
Job Id: 880.master.cluster
    Job_Name = p3
    job_state = C
    exit_status = 0
    qtime = Sun Dec 29 20:13:12 2024
    Walltime.Remaining = 3210
    start_time = Sun Dec 29 20:13:20 2024

"""


def test_answers_of_openpbs_and_torque() -> None:
    told = Pbs().told(Answer(0, OPENPBS, ""), ["14.pbs01", "15.pbs01", "16.pbs01", "17.pbs01"])
    assert {id: each.stage for id, each in told.items()} == {
        "14.pbs01": Stage.RUNNING, "15.pbs01": Stage.HELD, "16.pbs01": Stage.CANCELLED,
    }
    running = told["14.pbs01"]
    assert running.name == "p0a1b2c3d4e5f40"
    submitted = int(time.mktime((2024, 12, 29, 20, 13, 12, 0, 0, -1))) * 1_000_000
    assert running.submitted == submitted
    assert running.ends == submitted + (48 + 5400) * 1_000_000
    assert running.reason == "Job run at Sun Dec 29 at 20:14 on (node07:ncpus=24)+(node08:ncpus=24)"
    assert stages(Pbs(), Answer(0, TORQUE, ""), "880.master.cluster") == {"880.master.cluster": Stage.COMPLETED}


def test_unknown_and_finished_jobs_of_pbs() -> None:
    err = (
        "qstat: Unknown Job Id 99.pbs01\n"
        "qstat: 98.pbs01 Job has finished, use -x or -H to obtain historical job information\n"
    )
    told = Pbs().told(Answer(35, OPENPBS, err), ["14.pbs01", "98.pbs01", "99.pbs01"])
    assert {id: each.stage for id, each in told.items()} == {"14.pbs01": Stage.RUNNING, "98.pbs01": Stage.ENDED}
    assert told["98.pbs01"].name is None  # so it proves nothing: whose job it was is not said


@pytest.mark.parametrize("err", ["qstat: cannot connect to server pbs01 (errno=15010)", "Connection refused", ""])
def test_a_failing_qstat_is_no_answer(err: str) -> None:
    with pytest.raises(Unreadable):
        Pbs().told(Answer(2, "", err), ["1.pbs01"])


@pytest.mark.parametrize(("out", "id"), [("14.pbs01\n", "14.pbs01"), ("880.master.cluster\n", "880.master.cluster")])
def test_the_id_that_qsub_prints(out: str, id: str) -> None:
    assert Pbs().submitted(Answer(0, out, "")) == id


# LSF


def test_a_script_of_lsf() -> None:
    request = with_options(exclude=("n3", "n7"), name="provrun-u", options=(("alloc_flags", "smt4"), ("gpu", "")))
    assert Lsf().render(request).splitlines() == [
        "#!/bin/bash", "#BSUB -J provrun-u", "#BSUB -n 96", '#BSUB -R "span[ptile=24]"', "#BSUB -W 1:31",
        "#BSUB -q short", "#BSUB -P phys", '#BSUB -R "select[hname!=n3 && hname!=n7]"', '#BSUB -w "ended(41)"',
        "#BSUB -cwd /p", "#BSUB -o /p/.provrun/launch/u.out", "#BSUB -rn", "#BSUB -alloc_flags smt4", "#BSUB -gpu",
        *BODY,
    ]
    assert "#BSUB -x" in Lsf().render(with_options(slots=None)).splitlines()


def test_lsf_reads_the_script_on_stdin() -> None:
    command = Lsf().submit("u.sh", REQUEST)
    assert command.words == ["bsub"]
    assert command.stdin == Lsf().render(REQUEST)


def test_answers_of_lsf() -> None:
    out = """{
  "COMMAND":"bjobs",
  "JOBS":4,
  "RECORDS":[
    {"JOBID":"101","STAT":"RUN","JOB_NAME":"provrun-u","EXEC_HOST":"24*n1:24*n2","PEND_REASON":"","EXIT_REASON":""},
    {"JOBID":"102","STAT":"EXIT","JOB_NAME":"provrun-v","EXEC_HOST":"n1","PEND_REASON":"",
     "EXIT_REASON":"TERM_RUNLIMIT: job killed after reaching LSF run time limit"},
    {"JOBID":"103","ERROR":"Job <103> is not found"},
    {"JOBID":"104","STAT":"UNKWN","JOB_NAME":"provrun-w","EXEC_HOST":"n4","PEND_REASON":"","EXIT_REASON":""}
  ]
}
"""
    ids = ("101", "102", "103", "104")
    assert stages(Lsf(), Answer(255, out, ""), *ids) == {
        "101": Stage.RUNNING, "102": Stage.TIMEOUT, "104": Stage.UNKNOWN
    }
    assert Lsf().told(Answer(255, "", "Job <103> is not found\n"), ["103"]) == {}
    with pytest.raises(Unreadable):
        Lsf().told(Answer(255, "", "Failed in an LSF library call: Slave LIM configuration is not ready yet"), ["1"])
    assert Lsf().submitted(Answer(0, "Job <7> is submitted to default queue <normal>.\n", "")) == "7"


# Flux


def test_a_script_of_flux() -> None:
    request = with_options(exclude=("n3", "n7"), name="provrun-u", after="f9Zq", options=(("setattr", "a b=1"),))
    assert Flux().render(request).splitlines() == [
        "#!/bin/bash", "#flux: --job-name=provrun-u", "#flux: --nodes=4", "#flux: --nslots=4",
        "#flux: --cores-per-slot=24", "#flux: --time-limit=5401s", "#flux: --queue=short",
        "#flux: --setattr=system.bank=phys", "#flux: --requires=-host:n3,n7", "#flux: --dependency=afterany:f9Zq",
        "#flux: --cwd=/p", "#flux: --output=/p/.provrun/launch/u.out", "#flux: '--setattr=a b=1'", *BODY,
    ]


def test_answers_of_flux() -> None:
    out = (
        "fM7Zq9AKHno|RUN|RUNNING|1706553021.1|1706556621.0|n[1-2]|provrun-u\n"
        "f2|INACTIVE|CANCELED|1706553022.5|0.0||provrun-v\n"
        "f3|CLEANUP|RUNNING|1706553022.5|0.0||provrun-w\n"
    )
    told = Flux().told(Answer(1, out, "flux-jobs: ERROR: JobID f9 unknown\n"), ["fM7Zq9AKHno", "f2", "f3", "f9"])
    assert {id: each.stage for id, each in told.items()} == {
        "fM7Zq9AKHno": Stage.RUNNING, "f2": Stage.CANCELLED, "f3": Stage.ENDING
    }
    assert told["fM7Zq9AKHno"].ends == 1706556621_000000
    assert told["f2"].ends is None
    with pytest.raises(Unreadable):
        Flux().told(Answer(1, "", "flux-jobs: ERROR: Unable to connect to Flux"), ["f9"])
    assert Flux().submitted(Answer(0, "ƒM7Zq9AKHno\n", "")) == "fM7Zq9AKHno"


def test_inside_a_batch_job_flux_is_asked_for_the_one_around_it() -> None:
    assert named("flux", {"FLUX_ENCLOSING_ID": "fX"}).query(["f1"]).words[:2] == ["flux", "--parent"]
    assert named("flux", {}).query(["f1"]).words[:2] == ["flux", "jobs"]


# This host


def run(command: tuple[list[str], str | None, object]) -> Answer:
    done = subprocess.run(command[0], input=command[1], text=True, capture_output=True, check=False, timeout=30)
    return Answer(done.returncode, done.stdout, done.stderr)


def local_request(folder: Path, *command: str, **more: object) -> Request:
    request = Request(
        scheduler="local", output=str(folder / "out"), folder=str(folder), command=command, environ={"WORD": "it's"}
    )
    return msgspec.structs.replace(request, **more)


def start(folder: Path, request: Request) -> str:
    script = folder / f"{len(list(folder.iterdir()))}.sh"  # bash reads as it goes: each has its own
    script.write_text(Local().render(request))
    return Local().submitted(run(Local().submit(str(script), request)))


def ended(id: str) -> None:
    end = time.monotonic() + 30
    while stages(Local(), run(Local().query([id])), id) != {id: Stage.ENDED}:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_job_on_this_host_runs_in_a_session_of_its_own_and_is_cancelled(tmp_path: Path, no_strays: None) -> None:
    id = start(tmp_path, local_request(tmp_path, "sleep", "60"))
    pid = int(id.partition(".")[0])
    assert os.getsid(pid) == pid
    never = f"{os.getpid()}.1.{id.rpartition('.')[2]}"  # a process that lives, but not since then
    elsewhere = f"{pid}.{id.split('.')[1]}.00000000-0000-4000-8000-000000000000"
    assert stages(Local(), run(Local().query([id, never, elsewhere])), id, never, elsewhere) == {
        id: Stage.RUNNING, never: Stage.ENDED
    }
    assert run(Local().cancel([never, elsewhere])).exit == 0
    assert stages(Local(), run(Local().query([id])), id) == {id: Stage.RUNNING}
    run(Local().cancel([id]))
    ended(id)


def test_a_job_on_this_host_waits_for_the_one_before(tmp_path: Path, no_strays: None) -> None:
    first = start(tmp_path, local_request(tmp_path, "bash", "-c", "sleep 1; echo one $WORD"))
    second = start(tmp_path, local_request(tmp_path, "bash", "-c", "echo two; pwd", after=first))
    ended(first)
    ended(second)
    assert (tmp_path / "out").read_text() == f"one it's\ntwo\n{tmp_path}\n"


def test_what_this_host_cannot_do_is_said() -> None:
    with pytest.raises(UsageError, match="--nodes"):
        Local().render(Request(scheduler="local", nodes=2))


@pytest.mark.parametrize("name", DIALECTS)
def test_every_script_is_one_that_bash_reads(name: str) -> None:
    request = Request(
        scheduler=name, slots=1, folder="/p q", environ={"X": "a'b $c"}, setup=("if true; then", "  :", "fi"),
        command=("echo", "a b", "$HOME"),
    )
    script = named(name).render(request)
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert script.splitlines()[0] == "#!/bin/bash -l"
