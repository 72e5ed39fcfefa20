"""`provrun export`: W3C PROV for a publication."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provrun.cli.options import Face, command
from provrun.errors import UsageError

if TYPE_CHECKING:
    from provrun.project.project import Project

FORMATS = ("turtle", "trig", "nt", "jsonld", "provn", "provjson", "provxml", "dot", "crate")
"""Named here as well, because importing the writers costs more than printing the help."""


@command(
    "provrun export -o paper.ttl", "provrun export stat --format provn --figure gap.pdf",
    "provrun export --format crate -o paper",
)
@click.argument("maps", nargs=-1, metavar="[MAP...]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write; of a crate, the folder.")
@click.option(
    "--format", "format", type=click.Choice(FORMATS), default="turtle", show_default=True, help="How to write it."
)
@click.option(
    "--figure", "figures", multiple=True, type=click.Path(path_type=Path),
    help="A file made from the exported results, as you say; may be given again.",
)
@click.option(
    "--leaves", type=click.Path(path_type=Path, dir_okay=False),
    help="Write the record of every task that the page commits to; compressed if the name ends in .gz or .zst.",
)
@click.option(
    "--level", type=click.Choice(["map", "task"]), default="map", show_default=True,
    help="Cohorts only, or every attempt too: as large as the study.",
)
@click.option("--salt", is_flag=True, help="Salt the records, so that nobody can guess the parameters in them.")
@click.option("--revises", type=click.Path(path_type=Path, exists=True), help="An earlier export that this replaces.")
def export(
    face: Face, maps: tuple[str, ...], output: Path | None, format: str, figures: tuple[Path, ...],
    revises: Path | None, leaves: Path | None, salt: bool, level: str,
) -> None:
    """Write a page of W3C PROV about maps and all they build on (default: all maps).

    Ten million tasks make a page of a few dozen nodes: attempts that share code, environment, inputs and outcome
    stand as one cohort. The same registry gives the same bytes, whenever and wherever it is exported.

    With --level task every attempt follows as an activity of its own cohort, streamed in constant memory: a graph for
    queries, in every format but dot and crate.

    The page commits to every task. Print its digest in the paper: `provrun verify FILE --digest HEX` then tells
    whether a page is the one that was meant.
    """
    from provrun.project.pages.publishing import export as write

    project = face.project()
    if format == "crate":
        if leaves is not None:
            raise UsageError("a crate has the leaves in it", value=str(leaves), next="leave out --leaves")
        if level == "task":
            raise UsageError("a crate is of cohorts", value=level, next="leave out --level, or name another --format")
        _crate(face, project, maps, output, figures, revises, salt)
        return
    on_stdout = output is None
    done = write(
        project, maps, format=format, path=output, figures=figures, revises=revises,
        write=sys.stdout.write if on_stdout else None, leaves=leaves, salt=salt, tasks=level == "task",
    )
    told = f"page digest {done.digest}" if level == "map" else "no page digest: a page without --level task has it"
    if on_stdout:
        face.out.say(told)
        return
    written = [str(path) for path in (output, leaves) if path is not None]
    face.out.answer(
        {
            "maps": done.maps, "path": str(output), "format": format, "snapshot": done.snapshot,
            "digest": done.digest or None, "leaves": None if leaves is None else str(leaves), "level": level,
        },
        refs=done.maps, text=f"{', '.join(written)}: {', '.join(done.maps)}\n{told}",
    )


def _crate(
    face: Face, project: Project, maps: tuple[str, ...], output: Path | None, figures: tuple[Path, ...],
    revises: Path | None, salt: bool,
) -> None:
    from provrun.project.pages.crating import export_crate

    if output is None:
        raise UsageError("a crate is a folder", value="crate", next="name it: --format crate -o FOLDER")
    done = export_crate(project, maps, path=output, figures=figures, revises=revises, salt=salt)
    missing = [name for name in ("author", "license") if not project.config.text(name)]
    if missing:
        face.out.warn(f"the crate names no {' and no '.join(missing)}: provrun config {missing[0]} VALUE")
    face.out.answer(
        {
            "maps": done.maps, "path": str(output), "format": "crate", "snapshot": done.snapshot,
            "digest": done.digest, "leaves": str(done.leaves),
        },
        refs=done.maps, text=f"{output}: {', '.join(done.maps)}\npage digest {done.digest}",
    )
