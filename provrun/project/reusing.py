"""Reusing results: what tasks of a map with ``--reuse`` would give has been made by attempts of other maps.

Equal is what has the same recipe, folder and parameters and reads the same attempts, and was made by code, software and
inputs as they are now: what `staleness` asks of a result is asked of one that is to be taken over, and nobody's word
that older code gives the same counts. What a task is called must not matter to it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from provrun.core.records import Claimed, Match, Origins, Sought
from provrun.core.states import State
from provrun.core.template import ALWAYS_KNOWN, Template
from provrun.project.asking import view

if TYPE_CHECKING:
    from provrun.core.answers import ContextRecord
    from provrun.core.records import MapRecord, Recipe
    from provrun.project.project import Project
    from provrun.query.staleness import Staleness
    from provrun.query.view import View

AT_ONCE = 20_000  # results taken over in one transaction
_OWN = ("index", "task")
_VARIABLES = ("PROVRUN_TASK", "PROVRUN_ATTEMPT")


def reuse(project: Project, maps: Iterable[MapRecord]) -> dict[int, int]:
    """Take over what there is for the pending tasks of these maps, upstream first; give how many of each map."""
    return {map.id: _reuse(project, map) for map in maps if map.policy.reuse and not map.paused}


def tells(recipe: Recipe) -> str | None:
    """Give what of a recipe tells its tasks which ones they are, so that none of their results is another's."""
    words = (*recipe.words, *recipe.inputs, *recipe.outputs.values())
    if recipe.kind != "line":
        for text in words:
            for name in Template.parse((text or " ",)).names:
                if name in _OWN and name in ALWAYS_KNOWN:
                    return f"{{{name}}}"
    return next((f"${name}" for name in _VARIABLES for text in words if name in text), None)


def _reuse(project: Project, map: MapRecord) -> int:
    registry = project.registry
    found = registry.find_map(map.name)
    if found is None or not found.counts[State.PENDING]:
        return 0
    seen = _now(project)
    origins = _origins(seen, map)
    if not origins:
        return 0
    taken = 0
    for matches in _matches(project, seen, map, origins):
        sound = _sound(seen, map, matches)
        for start in range(0, len(sound), AT_ONCE):
            taken += len(registry.take_over(map.id, None, sound[start : start + AT_ONCE]).tasks)
    return taken


def _matches(project: Project, seen: View, map: MapRecord, origins: Sequence[Origins]) -> Iterator[list[Match]]:
    registry = project.registry
    if not _flows(map):
        yield registry.matching(map.id, origins)
        return
    pending = (task for task in registry.tasks(map.id, State.PENDING) if not task.attempts)
    while page := list(islice(pending, AT_ONCE)):
        trails = seen.reads.trails(map.id, [(task.index, task.upstream) for task in page])
        sought = [
            Sought(task.index, task.params, task.upstream, trail) for task, trail in zip(page, trails, strict=True)
        ]
        yield registry.matching(map.id, origins, sought)


class Reusable:
    """Finds what has been made already for tasks that a job has just claimed: only then is known what they read.

    ``ask`` asks the database, which may be away.
    """

    def __init__(
        self, project: Project, ask: Callable[[Callable[[], dict[int, list[Match]]]], dict[int, list[Match]]]
    ) -> None:
        self._project = project
        self._ask = ask
        self._maps: dict[int, MapRecord | None] = {}

    def __call__(self, claimed: Sequence[Claimed]) -> dict[int, list[Match]]:
        """Give what can be taken over, by map."""
        first = [task for task in claimed if task.number == 1 and task.trail is not None]
        if not first or not any(self._maps.get(task.map, True) for task in first):
            return {}
        return self._ask(lambda: self._found(first))

    def _found(self, claimed: Sequence[Claimed]) -> dict[int, list[Match]]:
        self._learn({task.map for task in claimed})
        wanted: dict[int, list[Sought]] = {}
        for task in claimed:
            if self._maps[task.map] is not None:
                wanted.setdefault(task.map, []).append(Sought(task.index, task.params, task.upstream, task.trail))
        found: dict[int, list[Match]] = {}
        for map_id, sought in wanted.items():
            map, seen = self._maps[map_id], _now(self._project)
            assert map is not None
            if origins := _origins(seen, map):
                found[map_id] = _sound(seen, map, self._project.registry.matching(map_id, origins, sought))
        return found

    def _learn(self, maps: set[int]) -> None:
        if not maps <= self._maps.keys():
            self._maps |= {map.id: map if map.policy.reuse else None for map in self._project.registry.maps()}


def _now(project: Project) -> View:
    return view(project, check=True)


def _flows(map: MapRecord) -> bool:
    return any(one.kind != "after" for one in map.dependencies)


def _origins(seen: View, map: MapRecord) -> list[Origins]:
    """Give the maps that apply the same to the same, with the circumstances under which it would give the same now."""
    if tells(map.recipe) is not None:
        return []
    judge = seen.staleness(map)
    code = seen.reads.digest_of("code", map.code)
    found = []
    for other in seen.maps():
        if other.id == map.id or _asks(other) != _asks(map):
            continue
        tallies = [tally for tally in seen.reads.tallies(other.id) if tally.accepted]
        seen.contexts.load({tally.context for tally in tallies})
        contexts = [
            tally.context for tally in tallies if _is_equal(judge, seen.contexts[tally.context], map, code)
        ]
        if contexts:
            found.append(Origins(other.id, tuple(contexts)))
    return found


def _asks(map: MapRecord) -> object:
    """Give what two maps have in common whose tasks are equal when their parameters are and they read the same."""
    reads = [one for one in map.dependencies if one.kind != "after"]
    flow = {(one.kind, one.upstream, one.by, one.chunk, one.on_failed) for one in reads}
    policy = map.policy
    return map.recipe_digest, posixpath.normpath(map.workdir), flow, set(policy.pass_env), set(policy.uses)


def _is_equal(judge: Staleness, context: ContextRecord, map: MapRecord, code: str) -> bool:
    """Tell whether attempts under these circumstances used what tasks of a map would use now."""
    if context.code_after is not None or judge.changed(context.id):
        return False
    files = context.uses.files if context.uses is not None else {}
    # Where nothing that it uses is known by name, it may use all there is.
    return bool(files) or context.code == code


def _sound(seen: View, map: MapRecord, matches: list[Match]) -> list[Match]:
    """Keep the matches whose own inputs and output files lie there as the attempt that made them had them."""
    recipe = map.recipe
    if not matches or not (recipe.inputs or (recipe.outputs and not recipe.pack)):
        return matches
    judge, folder = seen.staleness(map), seen.folder(map)
    sound: set[tuple[int, int]] = set()
    for other in sorted({match.map for match in matches}):
        wanted = sorted({match.origin for match in matches if match.map == other})
        for shown in seen.reads.picked(other, wanted):
            outputs = [made for made in shown.artifacts if made.role == "output" and made.place is None]
            if not judge.of_inputs(shown.artifacts) and all(
                seen.digest(posixpath.join(folder, made.path or "")) == made.digest.hex() for made in outputs
            ):
                sound.add((other, shown.task.index))
    return [match for match in matches if (match.map, match.origin) in sound]
