"""`job` and `verify`: which runs there were, and whether what they left is sound."""

from __future__ import annotations

import click

from provrun.cli.options import Face, command, group
from provrun.errors import UsageError

UNSOUND = 6
FRESH = 5.0  # seconds that what a scheduler said of jobs holds, for who asks about jobs
FACTS = (
    "job_kind", "scheduler", "scheduler_id", "scheduler_state", "user", "node", "slots", "ranks", "submitted",
    "started", "ended", "reason", "script", "output",
)


@group("provrun job list", "provrun job cancel 7")
def job() -> None:
    """Look at jobs, and cancel them: runs on this machine, batch jobs."""


@command("provrun job list", "provrun job list --running --json", name="list", parent=job)
@click.option("--running", is_flag=True, help="Only those that have not ended: queued or running.")
def list_jobs(face: Face, running: bool) -> None:
    """List jobs, first to last."""
    from provrun.project import asking
    from provrun.query.show import job_document

    view = asking.view(face.project(), fresh=FRESH)
    found = view.reads.jobs()
    rows = (
        {"ref": f"job:{each.id}", **job_document(view, each)}
        for each in found if not running or each.state in ("queued", "running")
    )
    columns = [
        "id", "job_kind", "state", "scheduler", "scheduler_id", "scheduler_state", "user", "node", "ranks", "slots",
        "started", "ended", "reason",
    ]
    headings = ["job", "kind", "state", "scheduler", "its id", "its state", *columns[6:]]
    face.out.rows("jobs", rows, ref="ref", columns=columns, headings=headings)


@command("provrun job show 7", "provrun job show 7 --json", parent=job)
@click.argument("id", metavar="ID")
def show(face: Face, id: str) -> None:
    """Tell a job: where and when it ran, how it ended, what it ran."""
    from provrun.project import asking
    from provrun.project.jobs.marks import output_path, script_path
    from provrun.query.resolving import JobSubject, resolve
    from provrun.query.show import show as shown

    project = face.project()
    view = asking.view(project, fresh=FRESH)
    subject = resolve(view, f"job:{id.removeprefix('job:')}")
    assert isinstance(subject, JobSubject)
    document = dict(shown(view, subject))
    allocation = subject.job.owner.get("allocation")
    for name, path in (("script", script_path), ("output", output_path)):
        found = path(project, str(allocation))
        document[name] = str(found) if allocation is not None and found.exists() else None
    lines = [f"{document['ref']}  {document['state']}"]
    lines += [f"  {name.removeprefix('job_')}: {document[name]}" for name in FACTS if document[name]]
    ran = document["ran"]
    assert isinstance(ran, list)
    lines += [f"  ran {each['attempts']:,} attempts of {each['map']}, {each['results']:,} results" for each in ran]
    face.out.answer({"jobs": [document]}, refs=[str(document["ref"])], text="\n".join(lines))


@command("provrun job cancel 7", "provrun job cancel --all", parent=job)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All jobs that have not ended.")
def cancel(face: Face, ids: tuple[str, ...], every: bool) -> None:
    """Cancel jobs, and all that would follow them when their time is up.

    Running ones let go of their tasks, which are pending again, and end.
    """
    from provrun.project.jobs import cancelling

    project = face.project()
    unfinished = cancelling.unfinished(project)
    if not ids and not every:
        listed = " ".join(str(each.id) for each in unfinished) or "none"
        raise UsageError("which job is to be cancelled?", value=None, next=f"give its ID (running: {listed}), or --all")
    chosen = cancelling.chosen(project, ids) if ids else unfinished
    done = cancelling.cancel(project, chosen)
    rows = [
        {"ref": f"job:{each.job.id}", "id": each.job.id, "changed": each.changed, "what": each.words} for each in done
    ]
    changed = sum(each.changed for each in done)
    text = [f"{row['ref']}: {row['what']}" for row in rows] or ["no job is left to cancel"]
    document = {"changed": changed, "maps": [], "jobs": rows, "next": "provrun job list"}
    face.out.answer(document, refs=[str(row["ref"]) for row in rows], text="\n".join([*text, "next: provrun job list"]))
