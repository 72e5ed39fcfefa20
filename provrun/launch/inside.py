"""Inside an allocation: what its environment says of it, and who is ending it."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from provrun.core.allocation import Stage
from provrun.errors import Unavailable
from provrun.launch.commands import Scheduler

_IDS = {"slurm": "SLURM_JOB_ID", "pbs": "PBS_JOBID", "lsf": "LSB_JOBID", "flux": "FLUX_JOB_ID", "sge": "JOB_ID"}
_SECONDS = 30
_NEAR = 60.0  # seconds before the end of its time at which a signal is taken for that end
_ENDS = re.compile(r"\bEndTime=(\d+)")
_PREEMPTED = re.compile(r"\bPreemptTime=(\d+)")


def job_id(scheduler: str, environ: Mapping[str, str]) -> str | None:
    """Give the scheduler's id of the job that this process is in; None without one."""
    if scheduler != "local":
        return environ.get(_IDS[scheduler])
    # The script has put this process in its own place.
    started = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[19]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{os.getpid()}.{started}.{boot}"


def allocation(environ: Mapping[str, str]) -> dict[str, object]:
    """Say whose job a process is in, if its variables tell: the scheduler and its id of the job."""
    for scheduler, variable in _IDS.items():
        # Grid Engine's name of it is one that others may use as well.
        if variable in environ and (scheduler != "sge" or "SGE_ROOT" in environ):
            return {"scheduler": scheduler, "id": environ[variable]}
    return {}


def ends(scheduler: Scheduler, id: str) -> float | None:
    """Give when the time of a job is up, in seconds of Unix time, if its scheduler says so."""
    try:
        told = scheduler.query([id]).get(id)
    except Unavailable:
        return None
    return None if told is None or told.ends is None else told.ends / 1e6


def nodes(scheduler: str, environ: Mapping[str, str]) -> list[str]:
    """Name the nodes of the allocation, this one first."""
    match scheduler:
        case "slurm":
            listed = _said("scontrol", "show", "hostnames", environ["SLURM_JOB_NODELIST"])
        case "pbs":
            listed = Path(environ["PBS_NODEFILE"]).read_text().split()
        case "lsf":
            file = environ.get("LSB_DJOB_HOSTFILE")
            listed = Path(file).read_text().split() if file else environ["LSB_HOSTS"].split()
        case "sge":
            file = environ.get("PE_HOSTFILE")  # a job of one slot has none
            lines = Path(file).read_text().splitlines() if file else []
            listed = [line.split()[0] for line in lines if line.strip()] or [os.uname().nodename]
        case "flux":
            listed = _said("flux", "hostlist", "--expand", "local")
        case _:
            listed = [os.uname().nodename]
    names = list(dict.fromkeys(listed))
    own = {environ.get("SLURMD_NODENAME"), os.uname().nodename, os.uname().nodename.partition(".")[0]}
    names.sort(key=lambda name: name not in own and name.partition(".")[0] not in own)  # a stable order otherwise
    return names


def is_cancelled(scheduler: Scheduler, id: str, ends: float | None) -> bool:
    """Tell whether somebody cancels this job, which has been told to end; no answer is no.

    Walltime, preemption and requeue end jobs by the same signal. ``ends`` is when its time is up, as it was known when
    the job began, in seconds.
    """
    now = time.time()
    if scheduler.dialect.name == "slurm":
        try:
            said = " ".join(_said("scontrol", "show", "job", "-o", id, SLURM_TIME_FORMAT="%s"))
        except Unavailable:
            return False
        return cancelled_in_slurm(said, ends, now)
    try:
        told = scheduler.query([id]).get(id)
    except Unavailable:
        return False
    if told is None or told.stage not in (Stage.RUNNING, Stage.ENDING):
        return told is not None and told.stage is Stage.CANCELLED
    return ends is None or now < ends - _NEAR


def cancelled_in_slurm(text: str, ends: float | None, now: float) -> bool:
    """Tell from what Slurm says of a job that is ending whether somebody has cancelled it.

    Its state is the same however it ends, but a cancelled job's time is up at once, while that of one that is requeued
    begins anew.
    """
    found = _ENDS.search(text)
    if found is None or _PREEMPTED.search(text):
        return False
    return int(found[1]) < (ends - 1 if ends is not None else now + 1)


def _said(*words: str, **environ: str) -> list[str]:
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=True, timeout=_SECONDS, stdin=subprocess.DEVNULL,
            env={**os.environ, **environ},
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"{words[0]} does not answer: {error}", value=words[0]) from error
    return done.stdout.split()
