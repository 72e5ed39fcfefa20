"""`retry`, `rerun`, `accept`, `cancel`, `pause`, `resume`, `delete` and `set`: what a person changes later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from provrun.cli.options import Face, MapName, command, given_refs
from provrun.cli.policy import policy_options, taken

if TYPE_CHECKING:
    from provrun.project.changing import Changed

where = click.option("--where", metavar="CONDITIONS", help="Only tasks for which this holds: 'x > 3 and exit == 1'.")


@command("provrun retry", "provrun retry scan --where 'outcome == timeout' --task-time x2")
@click.argument("refs", metavar="[MAP|REF]...", nargs=-1, type=MapName())
@where
@click.option("--task-time", metavar="xF", help="Multiply their time limit.")
@click.option("--task-memory", metavar="xF", help="Multiply their memory limit.")
def retry(
    face: Face, refs: tuple[str, ...], where: str | None, task_time: str | None, task_memory: str | None
) -> None:
    """Let failed and cancelled tasks run again (default: of all maps)."""
    from provrun.project import changing

    changed = changing.retry(
        face.project(), given_refs(refs), where, task_time=task_time, task_memory=task_memory
    )
    _answer(face, changed, "to run again")


@command("provrun rerun scan --stale --force", "provrun rerun scan --where 'x < 3' --force")
@click.argument("refs", metavar="MAP|REF...", nargs=-1, required=True, type=MapName())
@where
@click.option("--stale", is_flag=True, help="Only tasks whose results are stale.")
@click.option("--down", is_flag=True, help="Also all that read their results.")
@click.option("--force", is_flag=True, help="Do it: the results become superseded.")
def rerun(face: Face, refs: tuple[str, ...], where: str | None, stale: bool, down: bool, force: bool) -> None:
    """Let succeeded tasks run again; the old results are kept and stay visible."""
    from provrun.project import changing

    changed = changing.rerun(face.project(), given_refs(refs), where, stale=stale, down=down, force=force)
    _answer(face, changed, "to run again")


@command("provrun accept scan --because 'comments only'", "provrun accept scan --where 'x > 3' --because unused")
@click.argument("refs", metavar="MAP|REF...", nargs=-1, required=True, type=MapName())
@where
@click.option("--because", metavar="TEXT", required=True, help="Why the change of code makes no difference.")
def accept(face: Face, refs: tuple[str, ...], where: str | None, because: str) -> None:
    """Declare that stale results of older code hold under the present one; exports say so.

    It is undone by the next change of what they use.
    """
    from provrun.project import changing

    _answer(face, changing.accept(face.project(), given_refs(refs), where, because=because), "accepted")


@command("provrun cancel scan", "provrun cancel scan --where 'x > 100'")
@click.argument("refs", metavar="MAP|REF...", nargs=-1, required=True, type=MapName())
@where
def cancel(face: Face, refs: tuple[str, ...], where: str | None) -> None:
    """Cancel tasks that have not ended; running ones are stopped."""
    from provrun.project import changing

    _answer(face, changing.cancel(face.project(), given_refs(refs), where), "cancelled")


@command("provrun pause scan", "provrun pause scan spectra --json")
@click.argument("maps", metavar="MAP...", nargs=-1, required=True, type=MapName())
def pause(face: Face, maps: tuple[str, ...]) -> None:
    """Start no more tasks of a map; running ones go on."""
    from provrun.project import changing

    _answer(face, changing.pause(face.project(), maps, paused=True), "paused")


@command("provrun resume scan", "provrun resume scan spectra --json")
@click.argument("maps", metavar="MAP...", nargs=-1, required=True, type=MapName())
def resume(face: Face, maps: tuple[str, ...]) -> None:
    """Start tasks of a paused map again."""
    from provrun.project import changing

    _answer(face, changing.pause(face.project(), maps, paused=False), "no longer paused")


@command("provrun delete scan --force", "provrun delete scan --force --json")
@click.argument("name", metavar="MAP", type=MapName())
@click.option("--force", is_flag=True, help="Do it: tasks and results are gone for good.")
def delete(face: Face, name: str, force: bool) -> None:
    """Delete a map with its tasks and results, unless other maps build on it."""
    from provrun.project import changing

    _answer(face, changing.delete(face.project(), name, force=force), "deleted")


@command("provrun compact --dry-run", "provrun compact scan --output all --older 30d")
@click.argument("maps", metavar="[MAP...]", nargs=-1, type=MapName())
@click.option(
    "--output", type=click.Choice(["all", "succeeded", "none"]), default="succeeded", show_default=True,
    help="Of which attempts to drop what they printed.",
)
@click.option("--keep-superseded", is_flag=True, help="Keep large results and packed outputs that no longer count.")
@click.option("--older", metavar="D", help="Only of attempts that began so long ago (30d, 12h).")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def compact(
    face: Face, maps: tuple[str, ...], output: str, keep_superseded: bool, older: str | None, dry_run: bool
) -> None:
    """Drop what nobody needs any more, and give the space back.

    What goes: what attempts printed, and large results and packed outputs of attempts that others have superseded.
    What stays: every task and attempt, every digest, every accepted result; a page says the same as before. Jobs must
    have ended.
    """
    import time

    from provrun.core.units import parse_duration
    from provrun.project import compacting

    project = face.project()
    before = None if older is None else int((time.time() - parse_duration(older)) * 1e6)
    rule = compacting.Rule(output, not keep_superseded, frozenset(project.map(name).id for name in maps), before)
    done = compacting.compact(project, rule, dry=dry_run)
    would = "would be " if dry_run else ""
    document = {"outputs": done.outputs, "contents": done.contents, "freed": done.freed, "dry_run": dry_run}
    text = (
        f"{done.outputs} captured outputs and {done.contents} superseded contents {would}dropped,"
        f" {done.freed:,} bytes {would}freed"
    )
    face.out.answer(document, refs=[str(done.freed)], text=text)


@command("provrun set scan --priority 10", "provrun set scan --task-time 2h --retries 3", name="set")
@click.argument("name", metavar="MAP", type=MapName())
@where
@click.option("--priority", metavar="P", type=int, help="Larger first.")
@policy_options
def set_policy(face: Face, name: str, where: str | None, priority: int | None, **given: Any) -> None:
    """Change priority, limits and other policy of a map; attempts begun from now on have them."""
    from provrun.project import changing

    _answer(face, changing.set_policy(face.project(), name, where, taken(given), priority), "changed")


def _answer(face: Face, changed: Changed, what: str) -> None:
    noun = "task" if changed.changed == 1 else "tasks"
    lines = [f"{changed.changed} {noun} {what} ({', '.join(changed.maps) or 'no map'})", *changed.notes]
    face.out.answer(changed.document(), refs=changed.maps, text="\n".join([*lines, f"next: {changed.next}"]))
