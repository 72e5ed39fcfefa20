"""`logs` and `get`: what attempts printed, and outputs kept in packs."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provrun.cli.options import Face, MapName, command, given_refs
from provrun.core.states import State
from provrun.errors import NotFound, UsageError

if TYPE_CHECKING:
    from provrun.query.logs import Printed
    from provrun.query.resolving import Subject
    from provrun.query.view import View

LOOK = 0.5  # seconds between two looks for the end of a running attempt


@command("provrun logs scan/42 --err", "provrun logs scan --where 'state == failed' --err --grep Error")
@click.argument("refs", metavar="REF...", nargs=-1, required=True, type=MapName())
@click.option("--err", is_flag=True, help="Its stderr instead of its stdout.")
@click.option("--attempt", "number", type=click.IntRange(1), metavar="N", help="Attempt N instead of the last one.")
@click.option("-f", "--follow", is_flag=True, help="Wait for the end of an attempt that is running.")
@click.option("--where", metavar="CONDITIONS", help="Of a map: only tasks for which this holds.")
@click.option("--grep", metavar="P", help="Only lines in which this regular expression is found.")
def logs(
    face: Face, refs: tuple[str, ...], err: bool, number: int | None, follow: bool, where: str | None, grep: str | None
) -> None:
    """Print what attempts printed, byte by byte; of several tasks each under its name.

    What an attempt prints is kept when it ends.
    """
    from provrun.project import asking

    project = face.project()
    texts = given_refs(refs)
    if follow:
        for text in texts:
            _await(asking.view(project), text)
    view = asking.view(project)
    found = (printed for text in texts for printed in _printed(view, text, number, where))
    if face.out.json:
        face.out.answer({"logs": [_document(printed, grep) for printed in found]})
        return
    several = len(texts) > 1 or where is not None or _is_map(view, texts[0])
    _write(found, err=err, grep=grep, several=several)


@command("provrun get align/3", "provrun get align -o collected")
@click.argument("refs", metavar="REF...", nargs=-1, required=True, type=MapName())
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Default: here.")
@click.option("--force", is_flag=True, help="Write over files with another content.")
def get(face: Face, refs: tuple[str, ...], output: Path | None, force: bool) -> None:
    """Write outputs that are kept in packs beneath DIR, under the paths they had."""
    from provrun.project import asking
    from provrun.query import resolving
    from provrun.query.logs import get as taken

    view = asking.view(face.project())
    folder = output or Path()
    rows = []
    for text in given_refs(refs):
        subject = resolving.resolve(view, text)
        if isinstance(subject, resolving.MapSubject):
            tasks = view.reads.stream(subject.map.id, state=State.SUCCEEDED)
            packed = (one for one in tasks if any(made.place and made.role == "output" for made in one.artifacts))
            found = [written for one in packed for written in taken(view, subject.map, one, folder, force=force)]
            if not found:
                raise NotFound(f"no output of {text} is kept in a pack", value=text, next=f"provrun show {text}")
        elif isinstance(subject, resolving.TaskSubject):
            found = list(taken(view, subject.map, subject.shown, folder, force=force))
        else:
            raise UsageError(f"{text} has no outputs", value=text, next="give a map or a task")
        rows += [
            {"attempt": one.attempt, "output": one.name, "path": one.path, "size": one.size, "written": one.fresh}
            for one in found
        ]
    face.out.rows("files", rows, ref="path", columns=["attempt", "output", "path", "size"])


def _printed(view: View, text: str, number: int | None, where: str | None) -> Iterable[Printed]:
    from provrun.core.conditions import parse
    from provrun.query import logs, resolving
    from provrun.query.selecting import select

    subject: Subject = resolving.resolve(view, text)
    match subject:
        case resolving.MapSubject(map=map):
            return logs.logs(view, map, select(view, map, parse(where) if where is not None else None))
        case resolving.TaskSubject(map=map, shown=shown):
            return [logs.log(view, map, shown, number)]
        case resolving.AttemptSubject(map=map, shown=shown, number=attempt):
            return [logs.log(view, map, shown, attempt)]
        case _:
            raise UsageError(f"{text} prints nothing", value=text, next="give a map, a task or an attempt")


def _write(found: Iterable[Printed], *, err: bool, grep: str | None, several: bool) -> None:
    from provrun.query.logs import matching_lines

    sys.stdout.flush()
    out = sys.stdout.buffer
    for ref, captured in found:
        text = captured.err if err else captured.out
        if grep is not None:
            name = f"{ref}: ".encode() if several else b""
            out.writelines(name + line + b"\n" for line in matching_lines(text, grep))
        elif several:
            if text:
                out.write(f"==> {ref} <==\n".encode() + text + (b"" if text.endswith(b"\n") else b"\n"))
        else:
            out.write(text)
    out.flush()


def _document(printed: Printed, grep: str | None) -> dict[str, object]:
    """Give both streams as text; bytes that are no UTF-8 are given in base64 beside it."""
    from provrun.query.logs import matching_lines

    document: dict[str, object] = {"attempt": printed.ref}
    for name, kept in (("out", printed.captured.out), ("err", printed.captured.err)):
        text = b"".join(line + b"\n" for line in matching_lines(kept, grep)) if grep is not None else kept
        document[name] = text.decode(errors="replace")
        try:
            text.decode()
        except UnicodeDecodeError:
            document[f"{name}_base64"] = base64.b64encode(text).decode()
    return document


def _is_map(view: View, text: str) -> bool:
    from provrun.core.refs import MapRef, parse_ref

    return isinstance(parse_ref(text), MapRef)


def _await(view: View, text: str) -> None:
    """Wait until a task is not running any more."""
    from provrun.query import resolving

    while True:
        subject = resolving.resolve(view, text)
        if not isinstance(subject, resolving.TaskSubject | resolving.AttemptSubject):
            raise UsageError(f"{text} cannot be followed", value=text, next="give a task")
        if subject.shown.task.state is not State.RUNNING:
            return
        time.sleep(LOOK)
