"""`submit` and `load`: make a map, or let one grow."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provrun.cli.options import Face, MapName, command
from provrun.cli.output import as_json, cell
from provrun.cli.policy import policy_options, taken
from provrun.cli.submit_options import DATA, DEPENDENCIES, PARAMETERS, SUBMISSION, all_of
from provrun.cli.with_command import WithCommand, words_given
from provrun.errors import InvalidInput, UsageError

if TYPE_CHECKING:
    from provrun.core.problems import Problems
    from provrun.core.space import Space
    from provrun.project.submitting import Submitted
    from provrun.submit.preview import Preview

LONGEST = 200  # characters of a value or command that are shown


@command(
    "provrun submit scan --param x=0:1000 --param mode=fast,slow -- analyze -x {x} --mode {mode}",
    "provrun submit gaps --each spectra --function analysis.py:gap_ratio",
    kind=WithCommand,
)
@click.argument("name", metavar="MAP", type=MapName())
@click.option("--function", metavar="module:callable|file.py:callable", help="Apply a Python function.")
@click.option("--shell", is_flag=True, help="The command is one word that bash runs.")
@all_of(*PARAMETERS, *DEPENDENCIES, *DATA)
@policy_options
@all_of(*SUBMISSION)
def submit(face: Face, name: str, **given: Any) -> int | None:
    """Apply a COMMAND (after --) or a function to many parameter sets: one task each.

    Submitting again adds only the tasks that are new. In a COMMAND, {x} is filled with the parameter x.
    """
    from provrun.core.problems import Problems
    from provrun.submit.parameters import build_space

    problems = Problems(f"map {name}")
    space = _read(
        problems,
        lambda: build_space(given["params"], given["zips"], given["files"], given["sample"], given["sample_seed"]),
    )
    what = {
        "words": words_given(), "shell": given["shell"], "function": given["function"],
        "inputs": given["inputs"], "result": given["result"], "pack": given["pack"],
    }
    return _submit(face, space, problems, given, {"name": name, **what})


@command("provrun load jobs commands.txt", "generate | provrun load jobs - --task-time 10m")
@click.argument("name", metavar="MAP", type=MapName())
@click.argument("file", metavar="FILE|-")
@all_of(*DEPENDENCIES)
@policy_options
@all_of(*SUBMISSION)
def load(face: Face, name: str, file: str, **given: Any) -> int | None:
    """Make one task of every line of FILE, a shell command each; blank and # lines are skipped.

    Files of qdo, ParaFly and TACC launcher are taken as they are. Loading again adds only the lines that are new.
    """
    from provrun.core.problems import Problems
    from provrun.submit.loadfile import read_lines

    problems = Problems(f"map {name}")
    space = _read(problems, lambda: read_lines(file))
    return _submit(face, space, problems, {"outputs": (), **given}, {"name": name, "lines": True})


def _read(problems: Problems, read: Callable[[], Space]) -> Space | None:
    """Read parameters; what is wrong with them is told together with everything else."""
    try:
        return read()
    except InvalidInput as error:
        problems.extend(error.problems)
    except UsageError as error:
        problems.add(error.message)
    return None


def _submit(
    face: Face, space: Space | None, problems: Problems, given: dict[str, Any], what: dict[str, Any]
) -> int | None:
    from provrun.project import submitting
    from provrun.project.project import Project, locate, place
    from provrun.project.submitter import user_name
    from provrun.submit.flow import Building
    from provrun.submit.request import Request, pairs

    root = locate(face.folder)
    top = root or (Path.cwd() if given["dry_run"] else place(face.folder))
    by = tuple(each.strip() for each in given["by"].split(",")) if given["by"] else ()
    request = Request(
        folder=Path.cwd(), root=top, priority=given["priority"], user=user_name(),
        building=Building(
            each=given["each"], all=given["all_"], group=given["group"], by=by,
            chunk=given["chunk"], after=given["after"], on_failed=given["on_failed"],
        ),
        outputs=pairs("--output", given["outputs"], problems), tags=pairs("--tag", given["tags"], problems),
        policy=taken(given), **what,
    )
    if given["dry_run"]:
        project = Project(root) if root is not None else None
        _, _, shown = submitting.plan(project, request, space, problems)
        face.out.answer(_planned(request.name, shown), refs=[request.name], text="\n".join(_described(shown)))
        return None
    if root is None:
        # A project is made only for a request that would be stored.
        submitting.plan(None, request, space, problems)
    submitted = submitting.submit(face.project_made(), request, space, problems)
    for note in submitted.notes:
        face.out.warn(note)
    if not given["run_now"]:
        face.out.answer(submitted.document(), refs=[request.name], text=_told(submitted))
        return None
    face.close()  # what runs tasks starts before anything of the registry is open
    return _run(face, submitted)


def _run(face: Face, submitted: Submitted) -> int:
    from provrun.cli.live import Live
    from provrun.cli.run import told
    from provrun.project import running

    if not face.out.json:
        face.out.say(_told(submitted))
    with Live(face.out, sys.stderr) as live:
        summary = running.run(face.project(), [submitted.name], show=live)
    document = {**submitted.document(), "run": summary.document()}
    face.out.answer(document, refs=[submitted.name], text=told(summary))
    return summary.exit


def _described(shown: Preview) -> list[str]:
    lines = _parameters(shown)
    lines.append(f"tasks: {'known when running' if shown.tasks is None else shown.tasks}")
    return [*lines, *_first(shown)]


def _parameters(shown: Preview) -> list[str]:
    return [
        f"{each.name}: {_counted(each.values, 'value')}, {_clipped(cell(each.first))} ... {_clipped(cell(each.last))}"
        for each in shown.parameters
    ]


def _first(shown: Preview) -> list[str]:
    return [f"first: {_clipped(shown.first)}"] if shown.first is not None else []


def _clipped(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text):,} characters)"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _planned(name: str, shown: Preview) -> dict[str, object]:
    parameters = [
        {"name": each.name, "count": each.values, "first": as_json(each.first), "last": as_json(each.last)}
        for each in shown.parameters
    ]
    return {"map": name, "dry_run": True, "parameters": parameters, "tasks": shown.tasks, "first": shown.first}


def _told(submitted: Submitted) -> str:
    added, code = submitted.added, submitted.code
    lines = [*_parameters(submitted.preview), *_first(submitted.preview)]
    tasks = f"{_counted(added.added, 'task')} added, {added.existing} there already, {added.total} in all"
    lines.append(f"{submitted.name}: {tasks}")
    lines += [f"{_counted(added.reused, 'result')} of other maps reused"] if added.reused else []
    lines += [f"{added.stale} results are stale; provrun why {submitted.name} says why"] if added.stale else []
    lines += [f"{name} grew by {_counted(count, 'task')}" for name, count in added.grown.items()]
    lines += [f"changed {change}" for change in submitted.changes]
    version = (code.commit[:12] if code.commit else "not committed") + (" with changes" if code.dirty else "")
    version = version if code.kind == "git" else "in no repository"
    lines.append(f"code {version}, environment {submitted.environment[:12]}")
    return "\n".join([*lines, f"next: {submitted.next}"])
