"""The options that say how tasks run: the same for `submit`, `load` and `set`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--cores", metavar="N", help="Cores of a task (default 1)."),
    click.option("--ranks", metavar="N", help="MPI ranks of a task; puts the launcher in front of the command."),
    click.option("--task-nodes", metavar="N", help="Whole nodes of a task."),
    click.option("--gpus", metavar="N", help="GPUs of a task."),
    click.option("--task-time", metavar="D", help="Time limit of a task: 90s, 1h30m, HH:MM:SS."),
    click.option("--task-memory", metavar="S", help="Memory limit of a task: 512M, 4G."),
    click.option("--retries", metavar="N", help="Try a failed task again up to N times."),
    click.option("--retry-time", metavar="xF", help="Multiply the time limit after a timeout."),
    click.option("--retry-memory", metavar="xF", help="Multiply the memory limit when it was exceeded."),
    click.option("--checkpoint", is_flag=True, default=None, help="A task goes on where its last attempt stopped."),
    click.option("--isolate", metavar="task", help="Give every function task a fresh process."),
    click.option("--pass-env", metavar="NAME", multiple=True, help="Pass this variable of the shell on to the tasks."),
    click.option("--code", metavar="record|pin|clean", help="pin runs a checkout of this tree, clean no dirty one."),
    click.option("--uses", metavar="PATH", multiple=True, help="A file whose change makes results stale."),
    click.option("--reuse", is_flag=True, default=None, help="Take over results that other maps have of equal tasks."),
)
_NAMES = (
    "cores", "ranks", "task_nodes", "gpus", "task_time", "task_memory", "retries", "retry_time", "retry_memory",
    "checkpoint", "isolate", "pass_env", "code", "uses", "reuse",
)


def policy_options(function: F) -> F:
    """Add the policy options to a command; `taken` picks their values out of its keywords."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def taken(keywords: dict[str, Any]) -> dict[str, object]:
    """Take the policy options that were given out of a command's keywords."""
    values = {name: keywords.pop(name) for name in _NAMES}
    return {name: value for name, value in values.items() if value is not None and value != ()}
