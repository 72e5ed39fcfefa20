"""One line for a person about each kind of thing."""

from __future__ import annotations

import re

from provrun.core.answers import AcceptanceRecord
from provrun.core.canonical import decode
from provrun.core.code import Code
from provrun.core.environment import Environment, Tool
from provrun.core.records import REUSED, AttemptRecord, MapRecord, Origin, Recipe
from provrun.core.states import Outcome
from provrun.core.units import format_duration, format_size
from provrun.query.rows import moment, short

LONGEST = 100
_BLOB = re.compile(r'\{"\$blob": ?\{"digest": ?"([0-9a-f]{64})", ?"format": ?"(\w+)", ?"size": ?(\d+)\}\}')


def clipped(text: str, longest: int = LONGEST) -> str:
    """Shorten text to one line of a tree or table."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 3] + "..."


def readable(text: str) -> str:
    """Name in JSON of results what is kept elsewhere as a person knows it: by its format, size and first digits."""
    return _BLOB.sub(lambda found: f"<{found[2]}, {format_size(int(found[3]))}, sha256:{short(found[1])}>", text)


def result_line(text: str, longest: int = LONGEST) -> str:
    """Write a result, given as canonical JSON."""
    return f"result {clipped(readable(text), longest)}"


def code_line(code: Code) -> str:
    """Say which version of code it is."""
    if code.kind == "files":
        return f"code:{short(code.digest)}  files {short(code.files_digest or '')}"
    commit = f"commit {short(code.commit)}" if code.commit else "before the first commit"
    state = " and changes since (provrun code shows the patch)" if code.dirty else ""
    where = f"  {code.remote}" if code.remote else ""
    return f"code:{short(code.digest)}  {commit}{state}{where}"


def environment_line(environment: Environment) -> str:
    """Say which software it is."""
    container = f", container {environment.container}" if environment.container else ""
    python = f"{environment.implementation} {environment.python}"
    return f"env:{short(environment.digest)}  {python}, {len(environment.packages)} packages{container}"


def tool_line(tool: Tool) -> str:
    """Say which program it is, with what it says of its version."""
    said = f", {clipped(tool.version, 70)}" if tool.version else ""
    return f"{file_line(tool.path, tool.sha256, None)}{said}"


def recipe_line(recipe: Recipe) -> str:
    """Say what a map applies."""
    match recipe.kind:
        case "function":
            return f"function {recipe.function}"
        case "line":
            return "the line itself"
        case _:
            return clipped(f"{recipe.kind} {' '.join(recipe.words)}")


def map_line(map: MapRecord) -> str:
    """Say what a map is."""
    return f"{map.name}  {map.total:,} tasks, {recipe_line(map.recipe)}"


def params_line(text: str) -> str:
    """Write parameters as a person types them."""
    params = decode(text)
    if not isinstance(params, dict) or not params:
        return "no parameters"
    import msgspec

    values = msgspec.json.decode(text)
    shown = [f"{name}={value if isinstance(value, str) else msgspec.json.encode(value).decode()}" for name, value in
             values.items()]
    return clipped(" ".join(shown))


def attempt_ref(map: str, index: int, number: int) -> str:
    """Name an attempt; a reused result, which no attempt of its task made, by the task."""
    return f"{map}/{index}" if number == REUSED else f"{map}/{index}#{number}"


def origin_ref(origin: Origin) -> str:
    """Name the attempt that made a reused result."""
    return f"{origin.map}/{origin.task}#{origin.attempt}"


def merged_line(origin: Origin) -> str:
    """Say where an attempt was made that came by a merge."""
    return f"it was made in the registry {origin.registry}, as {origin_ref(origin)}, and came by a merge"


def attempt_line(name: str, attempt: AttemptRecord) -> str:
    """Say how an attempt went."""
    took = f" in {format_duration(attempt.wall / 1e6)}" if attempt.wall is not None else ""
    when = f", started {moment(attempt.started)}" if attempt.started is not None else ""
    error = f": {clipped(attempt.error, 70)}" if attempt.error and attempt.outcome is not Outcome.SUCCEEDED else ""
    return f"{name}  {attempt.outcome.word}{took}{when}{error}"


def acceptance_line(acceptance: AcceptanceRecord) -> str:
    """Say who holds what of results of older code."""
    what = "all results" if acceptance.whole else f"{acceptance.tasks:,} results"
    return (
        f"{acceptance.user} holds since {moment(acceptance.at)} that {what} of older code hold under"
        f" code:{short(acceptance.code)}, because: {clipped(acceptance.reason, 300)}"
    )


def file_line(path: str | None, digest: str, size: int | None) -> str:
    """Say which content it is."""
    much = f", {format_size(size)}" if size is not None else ""
    return f"{path or 'content'}  sha256:{short(digest)}{much}"
