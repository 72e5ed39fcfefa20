"""`run` and `recover`: run tasks here and now, and take back what a dead run has left."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from time import time as now
from typing import TYPE_CHECKING, NamedTuple

import click

from provrun.cli.live import Live
from provrun.cli.options import Face, command
from provrun.core.units import parse_duration
from provrun.errors import UsageError

if TYPE_CHECKING:
    from provrun.project.project import Project
    from provrun.project.running import MaxFails, RunSummary


class How(NamedTuple):
    """What all ways to run have in common."""

    slots: int | None
    max_fails: MaxFails | None
    nice: int
    until: float | None


# What submits jobs, and where it finds its scheduler: a program alone makes no cluster of a laptop.
LAUNCHERS = {
    "sbatch": ("SLURM_CONF", "/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf", "/run/slurm/conf/slurm.conf"),
    "qsub": ("SGE_ROOT", "PBS_CONF_FILE", "/etc/pbs.conf"),
    "bsub": ("LSF_ENVDIR", "/etc/lsf.conf"),
    "flux": ("FLUX_URI", "/run/flux/local"),
}
ALLOCATIONS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "FLUX_JOB_ID", "JOB_ID")


@command("provrun run scan -j 8", "provrun run --max-fails 5%")
@click.argument("maps", metavar="[MAP]...", nargs=-1)
@click.option("-j", "--slots", type=click.IntRange(1), metavar="N", help="Tasks at once (default: usable cores).")
@click.option("--mpi", "ranks", type=click.IntRange(1), metavar="RANKS", help="Over MPI; slots are per rank.")
@click.option("--hosts", type=click.Path(path_type=Path), metavar="FILE", help="Over MPI, a rank on each host listed.")
@click.option("--time", metavar="D", help="End within this time, as 1h30m; what would not is not started.")
@click.option("--max-fails", metavar="N|P%", help="Stop when so many tasks have failed.")
@click.option("--nice", type=click.IntRange(0, 19), default=0, metavar="N", help="Give way to other processes.")
def run(
    face: Face, maps: tuple[str, ...], slots: int | None, ranks: int | None, hosts: Path | None, time: str | None,
    max_fails: str | None, nice: int,
) -> int:
    """Run tasks of these maps and of all they build on (default: of all maps) until nothing is left that could run.

    Ctrl-C lets running tasks end; a second one returns them to pending, a third leaves at once. A list of hosts has a
    name per line, as `node1`, `node1:8` or `node1 slots=8`; this host is one of them.
    """
    if ranks is not None and hosts is not None:
        raise UsageError("--hosts starts one rank on each host: leave --mpi out", value=ranks)
    from provrun.project.jobs.wanted import read_max_fails

    seconds = None if time is None else parse_duration(time)
    if seconds == 0:
        raise UsageError(f"--time {time}: a run needs some", value=time, next="--time 2h, or leave it out")
    how = How(slots, read_max_fails(max_fails), nice, None if seconds is None else now() + seconds)
    project = face.project()
    if _is_login_node():
        face.out.say("this looks like a login node: long work belongs into a batch job")
    with Live(face.out, sys.stderr) as live:
        summary = _run(project, maps, ranks, hosts, how, live)
    if summary is None:
        return 0  # rank 0 of somebody else's launcher answers
    face.out.answer(summary.document(), refs=maps, text=told(summary))
    return summary.exit


def _is_login_node() -> bool:
    if any(name in os.environ for name in ALLOCATIONS):
        return False
    return any(
        shutil.which(program) and any(place in os.environ or Path(place).exists() for place in places)
        for program, places in LAUNCHERS.items()
    )


def _run(
    project: Project, maps: tuple[str, ...], ranks: int | None, hosts: Path | None, how: How, live: Live
) -> RunSummary | None:
    from provrun.project import running
    from provrun.run.launcher import launched_size

    options = how._asdict()
    launched = launched_size(os.environ)
    if ranks is not None or hosts is not None:
        from provrun.project.jobs.rounds import run_mpi

        return run_mpi(project, maps, ranks=ranks, hosts=hosts, show=live, **options)
    if launched == 1:
        return running.run(project, maps, show=live, **options)
    from provrun.project.jobs.ranks import run_launched

    return run_launched(project, maps, ranks=launched, show=live, **options)


def told(summary: RunSummary) -> str:
    """Say in words what a run did."""
    if summary.job is None and summary.reused:
        return f"nothing to run: {summary.reused} reused" + (f"; {summary.reason}" if summary.reason else "")
    if summary.job is None:
        return f"nothing to run: {summary.reason}" if summary.reason else "nothing to run"
    words = [f"{summary.succeeded} succeeded"]
    rest = ((summary.reused, "reused"), (summary.failed, "failed"), (summary.lost, "lost"))
    words += [f"{n} {word}" for n, word in rest if n]
    words += [f"{summary.noresult} without a result"] if summary.noresult else []
    text = ", ".join(words) + f" in {summary.seconds:.1f} s ({summary.tasks_per_second:.0f} tasks/s)"
    return f"{text}; ended with tasks left: {summary.reason}" if summary.reason else text


@command("provrun recover", "provrun recover scan")
@click.argument("name", metavar="[MAP]", required=False)
def recover(face: Face, name: str | None) -> None:
    """Let tasks run again that jobs have left running which are over; every run does so by itself."""
    from provrun.project import logs, recovering

    project = face.project()
    healed = logs.heal(project, thorough=True)
    if name is not None:
        project.map(name)
    recovered = recovering.recover(project)
    changed = sum(n for _, n in recovered)
    maps = [name] if name is not None else project.registry.map_names()
    following = f"provrun run {name or ''}".strip()
    said = [*healed, *recovering.describe(recovered)]
    text = "\n".join([*said, f"next: {following}"]) if said else "nothing to recover"
    document = {"changed": changed, "maps": maps, "next": following} | ({"healed": healed} if healed else {})
    face.out.answer(document, refs=maps, text=text)
