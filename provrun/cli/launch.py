"""`launch`: hand jobs to the scheduler of a cluster, or run in the background here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from provrun.cli.options import Face, MapName, command

if TYPE_CHECKING:
    from provrun.project.jobs.launching import Launched

SCHEDULERS = ("slurm", "pbs", "lsf", "flux", "sge", "local")


@command("provrun launch scan --nodes 4 --time 2h", "provrun launch scan --dry-run", name="launch")
@click.argument("maps", metavar="[MAP]...", nargs=-1, type=MapName())
@click.option("--nodes", type=click.IntRange(1), metavar="N", help="Nodes of each job, with one MPI rank on each.")
@click.option("--slots", type=click.IntRange(1), metavar="N", help="Tasks at once on a node (default: its cores).")
@click.option("--time", metavar="D", help="Time limit of each job, as 2h or 1-00:00:00.")
@click.option("--jobs", type=click.IntRange(1), metavar="K", help="So many jobs that share the maps.")
@click.option("--area", type=click.FloatRange(0, min_open=True), metavar="CORE-HOURS",
              help="Choose nodes, time and jobs within this; none follows.")
@click.option("--pilot", type=click.IntRange(1), is_flag=False, flag_value=4, metavar="[N]",
              help="If none has been measured, run N (4) tasks here first, for a minute at most.")
@click.option("--scheduler", metavar="|".join(SCHEDULERS), help="The scheduler (default: the one found here).")
@click.option("--queue", metavar="Q", help="Its queue or partition.")
@click.option("--account", metavar="A", help="Who pays.")
@click.option("--exclude", metavar="NODES", multiple=True, help="Nodes not to use: n3,n[7-9].")
@click.option("--option", "options", metavar="KEY=VALUE", multiple=True, help="One more directive for the script.")
@click.option("--setup", metavar="LINE|FILE", multiple=True, help="Shell to run before: 'module load gcc'.")
@click.option("--resubmit", type=click.Choice(["auto", "chain", "off"]), default="auto", show_default=True,
              help="When time is up: jobs submit their successor, or are submitted one after another now.")
@click.option("--links", type=click.IntRange(1), metavar="N", help="Jobs of a chain that is submitted now.")
@click.option("--on-finish", metavar="COMMAND", help="Run by the last job when nothing is left to do.")
@click.option("--max-fails", metavar="N|P%", help="Stop when so many tasks have failed.")
@click.option("--nice", type=click.IntRange(0, 19), default=0, metavar="N", help="Give way to other processes.")
@click.option("--dry-run", is_flag=True, help="Print the batch script and what is foreseen; submit nothing.")
def launch(face: Face, maps: tuple[str, ...], dry_run: bool, **given: Any) -> None:
    """Hand jobs to a scheduler that run tasks of these maps and of all they build on (default: of all maps).

    What is left when the time of a job is up goes on in the next one, by itself. Of nodes, slots, time and jobs those
    that are not given are chosen, with reasons, from what tasks took, what the queue allows and what is left to do.
    """
    from provrun.project.jobs.launching import launch as launched
    from provrun.project.jobs.wanted import wanted

    given["pilot"] = given["pilot"] or 0
    done = launched(face.project(), wanted(names=maps, **given), dry=dry_run)
    following = "provrun job list" if done.jobs else f"provrun status {' '.join(maps)}".rstrip()
    if dry_run and done.scripts:
        following = "the same command without --dry-run"
        for reason in done.form.why:
            face.out.say(reason)
    rows = done.rows()
    document = {
        "jobs": rows, "scheduler": done.scheduler, "script": done.scripts[0] if done.scripts else None,
        "dry_run": dry_run, "shape": done.form.document, "reasons": list(done.form.why), "next": following,
    }
    face.out.answer(document, refs=[str(row["ref"]) for row in rows], text=_told(done, dry_run, following))


def _told(done: Launched, dry: bool, following: str) -> str:
    if not done.scripts:
        return f"nothing to launch: no task is left to do\nnext: {following}"
    if dry:
        return done.scripts[0].rstrip("\n")
    lines = [*done.form.why]
    for each in done.jobs:
        after = f", after {each.plan.request.after}" if each.plan.request.after is not None else ""
        lines.append(f"job:{each.job} is {done.scheduler} job {each.id}{after}")
    return "\n".join([*lines, f"next: {following}"])
