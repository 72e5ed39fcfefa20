"""`status`, `list`, `wait` and `watch`: how maps stand, now and until they are done."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import click

from provrun.cli.options import Face, MapName, command
from provrun.cli.output import colourful

if TYPE_CHECKING:
    from provrun.project.project import Project

Document = dict[str, object]
COUNTS = ["waiting", "pending", "running", "succeeded", "failed", "cancelled"]
FAILED, BLOCKED, TIMED_OUT = 3, 75, 124
SHORTEST, LONGEST = 0.2, 2.0  # seconds between two looks
ASKING = 30.0  # and between two at the jobs, which may ask their scheduler


@command("provrun status", "provrun status scan --json")
@click.argument("maps", metavar="[MAP]...", nargs=-1, type=MapName())
@click.option("--check", is_flag=True, help="Look at every result for staleness, with the software of this moment.")
def status(face: Face, maps: tuple[str, ...], check: bool) -> None:
    """Say how maps stand: tasks by state, stale results, rate, time left, core-hours."""
    from provrun.project import asking

    documents = asking.status(face.project(), maps, check=check)
    _print(face, documents)
    if any(document["stale"] for document in documents) and not face.out.json:
        face.out.say(
            f"stale: compared with the files of now and the software captured {documents[0]['software_captured']}"
            + ("" if check else "; --check captures it again")
        )


@command("provrun list", "provrun list -q", name="list")
def list_maps(face: Face) -> None:
    """List all maps."""
    from provrun.project import asking

    _print(face, asking.status(face.project()))


@command("provrun wait scan", "provrun wait --timeout 2h && provrun results stat")
@click.argument("maps", metavar="[MAP]...", nargs=-1, type=MapName())
@click.option("--timeout", metavar="D", help="Give up after so long, with exit code 124.")
def wait(face: Face, maps: tuple[str, ...], timeout: str | None) -> int:
    """Wait until maps are done (default: all). Exits with 3 when tasks of them failed, 75 when the rest is blocked."""
    from provrun.core.units import parse_duration

    project = face.project()
    until = time.monotonic() + parse_duration(timeout) if timeout is not None else None
    pause = SHORTEST
    said, look = "", 0.0
    while True:
        code = _outcome(project, maps)
        if code is None and time.monotonic() >= look:
            told, said = said, _for_whom(project, maps)
            if said not in ("", told):
                face.out.say(said)
            look = time.monotonic() + ASKING
        if code is None and until is not None and time.monotonic() >= until:
            code = TIMED_OUT
        if code is not None:
            break
        left = until - time.monotonic() if until is not None else LONGEST
        time.sleep(max(0.01, min(pause, left)))
        pause = min(LONGEST, pause * 1.5)
    from provrun.project import asking

    _print(face, asking.status(project, maps))
    return code


@command("provrun watch", "provrun watch scan stat")
@click.argument("maps", metavar="[MAP]...", nargs=-1, type=MapName())
@click.option("--interval", type=click.FloatRange(0.1), default=1.0, metavar="SECONDS", help="Look so often (1).")
def watch(face: Face, maps: tuple[str, ...], interval: float) -> None:
    """Show how maps stand until they are done; Ctrl-C ends the looking, not the running."""
    from provrun.project import asking

    project = face.project()
    moving = colourful(sys.stdout) and not face.out.json and not face.out.quiet
    shown: list[str] = []
    while True:
        done = _outcome(project, maps) is not None
        documents = asking.status(project, maps)
        lines = [_line(document) for document in documents]
        if moving:
            if shown:
                sys.stdout.write(f"\x1b[{len(shown)}A")
            width = shutil.get_terminal_size().columns - 1  # a line that wraps would be two to go up
            sys.stdout.write("".join(f"{line[:width]}\x1b[K\n" for line in lines) + "\x1b[J")
            sys.stdout.flush()
        elif lines != shown:
            _print(face, documents) if face.out.json or face.out.quiet else print("\n".join(lines), flush=True)
        shown = lines
        if done:
            return
        time.sleep(interval)


def _for_whom(project: Project, maps: Sequence[str]) -> str:
    """Say that no job is running, and which one may be soon; nothing as long as one is."""
    from provrun.project import asking

    view = asking.view(project)
    if view.running_jobs():
        return ""
    queued = [f"job:{job.id}" for job in view.queued_jobs()]
    if queued:
        return f"{', '.join(queued)} {'is' if len(queued) == 1 else 'are'} queued"
    return f"no job is running; start one: provrun run {' '.join(maps)}".rstrip()


def _outcome(project: Project, names: Sequence[str]) -> int | None:
    """Give the exit code when nothing of these maps can go on by itself; None as long as something can."""
    chosen = project.registry.select_maps(names)
    named = [map for map in chosen if map.name in names or not names]
    unfinished = {"waiting", "pending", "running"}
    counts = [{state.word: n for state, n in map.counts.items()} for map in named]
    left = sum(n for count in counts for word, n in count.items() if word in unfinished)
    everywhere = [{state.word: n for state, n in map.counts.items()} for map in chosen]
    if left and any(count["pending"] or count["running"] for count in everywhere):
        return None
    if any(count["failed"] for count in counts):
        return FAILED
    return BLOCKED if left else 0


def _print(face: Face, documents: Sequence[Document]) -> None:
    if face.out.json:
        face.out.answer({"maps": documents})
        return
    rows = [
        {
            **document,
            **cast("dict[str, int]", document["ntasks"]),
            "rate": _rate(document),
            "left": _left(document),
            "core_hours": f"{cast('float', document['core_hours']):.3g}",
        }
        for document in documents
    ]
    reused = ["reused"] if any(document["reused"] for document in documents) else []
    columns = ["name", "state", *COUNTS, *reused, "stale", "noresult", "rate", "left", "core_hours"]
    face.out.rows("maps", rows, ref="name", columns=columns, headings=["map", *columns[1:-1], "core-h"])


def _line(document: Document) -> str:
    counted = cast("dict[str, int]", document["ntasks"])
    parts = [f"{counted[word]:,} {word}" for word in COUNTS if counted[word]]
    rate, left = _rate(document), _left(document)
    parts += [rate] if rate and document["jobs"] else []
    parts += [f"{left} left"] if left else []
    return f"{document['name']}: {document['state']}, {', '.join(parts) or 'no tasks'}"


def _rate(document: Document) -> str:
    rate = cast("float | None", document["rate"])
    return f"{rate:.3g}/s" if rate is not None else ""


def _left(document: Document) -> str:
    from provrun.core.units import format_duration

    seconds = cast("float | None", document["eta_seconds"])
    return format_duration(seconds) if seconds else ""
