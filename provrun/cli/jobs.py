"""`job` and `verify`: which runs there were, and whether what they left is sound."""

from __future__ import annotations

import click

from provrun.cli.options import Face, command, group

UNSOUND = 6
FACTS = ("job_kind", "user", "node", "slots", "ranks", "started", "ended", "reason")


@group("provrun job list", "provrun job show 7")
def job() -> None:
    """Look at jobs: runs on this machine, batch jobs."""


@command("provrun job list", "provrun job list --running --json", name="list", parent=job)
@click.option("--running", is_flag=True, help="Only those that have not ended.")
def list_jobs(face: Face, running: bool) -> None:
    """List jobs, first to last."""
    from provrun.project import asking
    from provrun.query.show import job_document

    view = asking.view(face.project())
    rows = [
        {"ref": f"job:{each.id}", **job_document(view, each)}
        for each in view.reads.jobs("running" if running else None)
    ]
    columns = ["id", "job_kind", "state", "user", "node", "ranks", "slots", "started", "ended", "reason"]
    face.out.rows("jobs", rows, ref="ref", columns=columns, headings=["job", "kind", *columns[2:]])


@command("provrun job show 7", "provrun job show 7 --json", parent=job)
@click.argument("id", metavar="ID")
def show(face: Face, id: str) -> None:
    """Tell a job: where and when it ran, how it ended, what it ran."""
    from provrun.project import asking
    from provrun.query.resolving import resolve
    from provrun.query.show import show as shown

    view = asking.view(face.project())
    document = shown(view, resolve(view, f"job:{id.removeprefix('job:')}"))
    lines = [f"{document['ref']}  {document['state']}"]
    lines += [f"  {name.removeprefix('job_')}: {document[name]}" for name in FACTS if document[name] is not None]
    ran = document["ran"]
    assert isinstance(ran, list)
    lines += [f"  ran {each['attempts']:,} attempts of {each['map']}, {each['results']:,} results" for each in ran]
    face.out.answer({"jobs": [document]}, refs=[str(document["ref"])], text="\n".join(lines))


@command("provrun verify", "provrun verify --json")
def verify(face: Face) -> int:
    """Check that everything the registry keeps agrees; exits with 6 and says what does not hold."""
    problems = face.project().registry.check()
    document = {"ok": not problems, "problems": problems}
    face.out.answer(document, refs=problems, text="\n".join(problems) or "the registry is sound")
    return UNSOUND if problems else 0
