"""The options of `submit` and `load`, beside those of policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from provrun.cli.options import MapName

F = TypeVar("F", bound=Callable[..., Any])

_MAPS: dict[str, Any] = {"metavar": "MAP", "type": MapName(), "multiple": True}

DEPENDENCIES = (
    click.option("--each", **_MAPS, help="One task per task of MAP and point of --param."),
    click.option("--all", "all_", **_MAPS, help="Read all tasks of MAP in one task."),
    click.option("--group", **_MAPS, help="One task per group of tasks of MAP: --by or --chunk."),
    click.option("--by", metavar="NAME,...", help="The parameters that make the groups."),
    click.option("--chunk", metavar="N", type=int, help="One task per N tasks of the map to group."),
    click.option("--after", **_MAPS, help="Start when MAP has finished; nothing flows."),
    click.option("--on-failed", type=click.Choice(["wait", "skip"]), help="With failed tasks upstream (default wait)."),
)
SUBMISSION = (
    click.option("--priority", metavar="P", type=int, help="Larger first (default 0)."),
    click.option("--tag", "tags", metavar="K=V", multiple=True, help="A note to find the map by."),
    click.option("--run", "run_now", is_flag=True, help="Run the map when it is submitted."),
    click.option("--dry-run", is_flag=True, help="Show parameters and the first command; store nothing."),
)
DATA = (
    click.option("--input", "inputs", metavar="PATH", multiple=True, help="A file each task reads."),
    click.option("--output", "outputs", metavar="NAME=PATH", multiple=True, help="A file each task writes."),
    click.option("--pack", is_flag=True, help="Keep the content of outputs in the pack, remove the files."),
    click.option(
        "--result", default="auto", metavar="auto|stdout-json|stdout-text|file|none",
        help="Where the result is (default auto: the last line, if JSON).",
    ),
)
PARAMETERS = (
    click.option(
        "--param", "params", metavar="NAME=VALUES", multiple=True,
        help="0:10, 0:1:0.1, a,b,c, '[1,2]', @FILE, lin:0:1:50, log:1e-3:1:20; several make the grid.",
    ),
    click.option("--zip", "zips", metavar="X,Y", multiple=True, help="Walk these parameters together."),
    click.option(
        "--params", "files", metavar="FILE", multiple=True,
        help="Rows of named values: .jsonl .json .csv .tsv .parquet.",
    ),
    click.option("--sample", metavar="N", type=click.IntRange(1), help="Draw N points instead of all."),
    click.option("--sample-seed", metavar="S", type=int, default=0, help="Draw other ones (default 0)."),
)


def all_of(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    """Make one decorator of several options, shown in this order."""

    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add
