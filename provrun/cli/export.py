"""`provrun export`: W3C PROV for a publication."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from provrun.cli.options import Face, command

FORMATS = ("turtle", "trig", "nt", "jsonld", "provn", "provjson", "provxml", "dot")
"""Named here as well, because importing the writers costs more than printing the help."""


@command("provrun export -o paper.ttl", "provrun export stat --format provn --figure gap.pdf")
@click.argument("maps", nargs=-1, metavar="[MAP...]")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file, as a whole.")
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
@click.option("--salt", is_flag=True, help="Salt the records, so that nobody can guess the parameters in them.")
@click.option("--revises", type=click.Path(path_type=Path, exists=True), help="An earlier export that this replaces.")
def export(
    face: Face, maps: tuple[str, ...], output: Path | None, format: str, figures: tuple[Path, ...],
    revises: Path | None, leaves: Path | None, salt: bool,
) -> None:
    """Write a page of W3C PROV about maps and all they build on (default: all maps).

    Ten million tasks make a page of a few dozen nodes: attempts that share code, environment, inputs and outcome
    stand as one cohort. The same registry gives the same bytes, whenever and wherever it is exported.

    The page commits to every task. Print its digest in the paper: `provrun verify FILE --digest HEX` then tells
    whether a page is the one that was meant.
    """
    from provrun.project.publishing import export as write

    project = face.project()
    on_stdout = output is None
    done = write(
        project, maps, format=format, path=output, figures=figures, revises=revises,
        write=sys.stdout.write if on_stdout else None, leaves=leaves, salt=salt,
    )
    told = f"page digest {done.digest}"
    if on_stdout:
        face.out.say(told)
        return
    written = [str(path) for path in (output, leaves) if path is not None]
    face.out.answer(
        {
            "maps": done.maps, "path": str(output), "format": format, "snapshot": done.snapshot,
            "digest": done.digest, "leaves": None if leaves is None else str(leaves),
        },
        refs=done.maps, text=f"{', '.join(written)}: {', '.join(done.maps)}\n{told}",
    )
