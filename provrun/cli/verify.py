"""`provrun verify` and `provrun prove`: whether what was kept, and what was published, holds."""

from __future__ import annotations

from pathlib import Path

import click

from provrun.cli.options import Face, command
from provrun.errors import UsageError

UNSOUND = 6


@command("provrun verify paper.ttl --digest 5f0c...", "provrun verify paper.ttl --leaves leaves.jsonl.gz")
@click.argument("page", required=False, type=click.Path(path_type=Path), metavar="[EXPORT|CRATE]")
@click.option(
    "--leaves", type=click.Path(path_type=Path, dir_okay=False), help="The records that were exported with the page."
)
@click.option(
    "--member", type=click.Path(path_type=Path, dir_okay=False), help="A proof that a task is among those of the page."
)
@click.option(
    "--expand", type=click.Path(path_type=Path, dir_okay=False),
    help="With --member: write the graph of this task, from the page and its record, as N-Triples.",
)
@click.option("--digest", metavar="HEX", help="The digest of the page as it was printed.")
def verify(
    face: Face, page: Path | None, leaves: Path | None, member: Path | None, expand: Path | None, digest: str | None
) -> int:
    """Check a published page, alone or with its records or a proof; without arguments the registry and its log.

    For a page no project is needed. Exits with 6 and names what does not hold, the first thing first; with 1 if it
    could not be checked.
    """
    if page is None:
        if leaves or member or expand or digest:
            raise UsageError("of which page?", next="provrun verify EXPORT --leaves FILE")
        return _registry(face)
    if expand is not None and member is None:
        raise UsageError(
            "of which task?", value=str(expand), next="provrun verify EXPORT --member PROOF --expand FILE; "
            "provrun prove makes a proof",
        )
    from provrun.project.pages.verifying import verify as check

    verdict = check(page, leaves=leaves, member=member, printed=digest, expanded=expand)
    document = {
        "ok": not verdict.problems, "problems": verdict.problems, "digest": verdict.digest, "checked": verdict.checked,
    }
    text = "\n".join(verdict.problems) or "\n".join([*verdict.checked, f"page digest {verdict.digest}", "all holds"])
    face.out.answer(document, refs=verdict.problems, text=text)
    return UNSOUND if verdict.problems else 0


def _registry(face: Face) -> int:
    from provrun.project import logs

    project = face.project()
    problems = [*project.registry.check(), *logs.check(project)]
    document = {"ok": not problems, "problems": problems}
    face.out.answer(document, refs=problems, text="\n".join(problems) or "the registry is sound")
    return UNSOUND if problems else 0


@command(
    "provrun prove scan/42 paper.ttl -o proof.json", "provrun prove scan/42 paper.ttl --leaves all.jsonl -o proof.json"
)
@click.argument("task")
@click.argument("export", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Where to write it."
)
@click.option(
    "--leaves", type=click.Path(path_type=Path, dir_okay=False),
    help="Take the task's record from here, not from the registry.",
)
def prove(face: Face, task: str, export: Path, output: Path, leaves: Path | None) -> None:
    """Write a proof that TASK is among those that a published page commits to.

    Whoever has the page checks it by `provrun verify EXPORT --member PROOF`. It holds the record of this task and the
    hashes on the way to the root, nothing of any other task but sums.
    """
    from provrun.project.pages.verifying import prove as write

    proved = write(task, export, output, leaves=leaves, folder=face.folder)
    following = f"provrun verify {export} --member {output}"
    face.out.answer(
        {"task": proved, "proof": str(output), "next": following}, refs=[str(output)],
        text=f"{output}: {proved}\nnext: {following}",
    )
