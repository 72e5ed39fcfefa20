"""What a submission would do, shown before it is done: parameters, tasks, the first filled command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from provrun.core.canonical import Value, encode
from provrun.core.space import Space, Summary
from provrun.core.template import Field, Template, filled
from provrun.submit.flow import DRIVERS
from provrun.submit.maps import Built


@dataclass(frozen=True)
class Preview:
    """Per parameter how many values, the first and the last; the tasks in all, None where only running tells.

    ``first`` is what the first task would run; what flows in from tasks that have not run stays a placeholder.
    """

    parameters: tuple[Summary, ...]
    tasks: int | None
    first: str | None


def preview(built: Built, space: Space, inherited: Mapping[str, Value]) -> Preview:
    """Show a map of these own parameters; ``inherited`` are the parameters of the first upstream task.

    Raises ``UsageError`` where the first or the last point does not fit the format of a placeholder.
    """
    parameters = tuple(space.summary())
    if not space.size:
        return Preview(parameters, 0, None)
    first = _shown(built, inherited, {each.name: each.first for each in parameters})
    _shown(built, inherited, {each.name: each.last for each in parameters})
    return Preview(parameters, _tasks(built, space.size), first)


def _tasks(built: Built, points: int) -> int | None:
    driver = next((each for each in built.spec.dependencies if each.kind in DRIVERS), None)
    if driver is None:
        return points
    if driver.kind == "each":
        return points * built.flow.each[driver.upstream].total
    if driver.kind == "chunk":
        return points * -(-built.flow.reduces[driver.upstream].total // driver.chunk)
    return None


def _shown(built: Built, inherited: Mapping[str, Value], own: Mapping[str, Value]) -> str:
    spec, recipe = built.spec, built.spec.recipe
    params = {**inherited, **own}
    if recipe.kind == "line":
        return str(params["line"])
    if recipe.kind == "function":
        arguments = ", ".join(f"{name}={value!r}" for name, value in {**recipe.bound, **params}.items())
        return f"{(recipe.function or '').rpartition(':')[2]}({arguments})"
    index = built.existing.total if built.existing is not None else 0
    always: dict[str, Value] = {
        "index": index, "task": f"{spec.name}/{index}", "params": encode(params), "cores": spec.policy.cores
    }
    return _join(Template.parse(recipe.words, recipe.kind == "shell"), {**always, **params})


def _join(template: Template, values: Mapping[str, Value]) -> str:
    def text(piece: str | Field) -> str:
        if isinstance(piece, str):
            return piece
        if piece.name not in values:
            return str(piece)
        value = filled(piece, values[piece.name])
        return shlex.quote(value) if template.shell else value

    words = ["".join(map(text, word)) for word in template.pieces]
    return words[0] if template.shell else shlex.join(words)
