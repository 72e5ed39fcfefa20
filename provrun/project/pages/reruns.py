"""Running recorded tasks again: by an agent in a folder of its own, with the same parameters, inputs and randomness."""

from __future__ import annotations

import os
import select
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from provrun.core.canonical import decode, encode
from provrun.core.messages import Loaded, Result, Results, Returned, RunMap, Start, Tasks
from provrun.core.records import Policy, Recipe
from provrun.run.agent import Agent, AgentLost, sweep

if TYPE_CHECKING:
    from provrun.core.canonical import Value
    from provrun.project.pages.software import Used
    from provrun.run.agent import Python


class Made(NamedTuple):
    """What a task gave: its result as canonical text, paths of its outputs, and where its blobs lie by digest."""

    result: str | None
    params: Mapping[str, Value]
    outputs: Mapping[str, str] = {}
    blobs: Mapping[str, tuple[str, str]] = {}


class Task(NamedTuple):
    """The task at an index: ``each`` and ``rows`` are what flows in, by the name of the map, the latter by index."""

    at: int
    params: Mapping[str, Value]
    upstream: int | None
    each: Mapping[str, Made]
    rows: Mapping[str, Sequence[tuple[int, Made]]]


class Ran(NamedTuple):
    """What came of tasks by index, and the digests of inputs they share."""

    results: dict[int, Result]
    shared: list[str]


class Bench:
    """Agents in a folder of their own, one for each Python; a context manager that leaves no process behind."""

    def __init__(self, folder: Path, job: str, slots: int) -> None:
        self.folder = folder
        self.job = job
        self._slots = slots
        (folder / ".provrun").mkdir(exist_ok=True)
        self._agents: dict[Python | None, Agent] = {}
        self._started = 0
        self._maps = 0
        self._rows = 0

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *exception: object) -> None:
        for agent in reversed(self._agents.values()):
            agent.close()
        sweep(self.job)

    def _agent(self, used: Used) -> Agent:
        if used.python not in self._agents:
            self._agents[used.python] = Agent.start(
                slots=self._slots, project=self.folder, job=self.job, rank=self._started, environ=used.environ,
                python=used.python,
            )
            self._started += 1
        return self._agents[used.python]

    def run(
        self, name: str, recipe: Recipe, digest: bytes, workdir: Path, own: Sequence[str], each: Sequence[str],
        reduces: Sequence[str], tasks: Sequence[Task], policy: Policy, used: Used,
    ) -> Ran:
        """Run tasks of a map; those are missing in what came of them that took the agent along."""
        self._maps += 1
        agent = self._agent(used)
        agent.send(RunMap(
            self._maps, name, recipe, digest, policy, os.path.relpath(workdir, self.folder), tuple(own),
            tuple(each), tuple(reduces),
        ))
        starts = [
            Start(self._maps, task.at, 1, encode(dict(task.params)), task.upstream, None, self._reads(name, task))
            for task in tasks
        ]
        agent.send(Tasks(starts))
        found: dict[int, Result] = {}
        returned: set[int] = set()
        shared: list[str] = []
        try:
            while len(found) + len(returned) < len(tasks):
                select.select([agent], [agent] if agent.wants_write else [], [], 0.5)
                for message in agent.pump():
                    if isinstance(message, Results):
                        found.update((result.index, result) for result in message.results)
                    elif isinstance(message, Loaded):
                        shared = [sha256 for _, sha256, _ in message.shared_inputs]
                    elif isinstance(message, Returned):
                        returned |= {index for _, index, _ in message.tasks}
        except AgentLost:
            agent.close()
            sweep(self.job, agent.rank)
            del self._agents[used.python]
        return Ran(found, shared)

    def _reads(self, name: str, task: Task) -> str | None:
        """Write what flows into a task, as `messages.Start` has it."""
        if not task.each and not task.rows:
            return None
        each = ",".join(
            f"{encode(map)}:" + _object({
                "result": made.result or "null", "outputs": encode(dict(made.outputs)), "blobs": _blobs(made.blobs),
            })
            for map, made in task.each.items()
        )
        rows = {map: str(self._write(map, some)) for map, some in task.rows.items()}
        return f'{{"each":{{{each}}},"rows":{encode(rows)}}}'

    def _write(self, map: str, rows: Sequence[tuple[int, Made]]) -> Path:
        self._rows += 1
        path = self.folder / f"rows-{self._rows}.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for index, made in rows:
                row = {
                    "task": encode(f"{map}/{index}"), "map": encode(map), "index": str(index),
                    "params": encode(dict(made.params)), "state": '"succeeded"', "result": made.result or "null",
                    "outputs": encode({key: {"path": path} for key, path in made.outputs.items()}),
                }
                if made.blobs:
                    row["blobs"] = _blobs(made.blobs)
                file.write(_object(row) + "\n")
        return path

    def made(self, task: Task, result: Result, workdir: Path) -> Made:
        """Give what a task of this bench gave, for others to read."""
        artifacts = result.artifacts or []
        return Made(
            result.result, task.params,
            {one.name: str(workdir / one.path) for one in artifacts if one.role == "output" and one.path},
            {one.digest.hex(): (self.job, one.place) for one in artifacts if one.role == "result" and one.place},
        )


def _object(parts: Mapping[str, str]) -> str:
    """Write a JSON object whose values are texts of JSON already."""
    return "{" + ",".join(f"{encode(name)}:{text}" for name, text in parts.items()) + "}"


def _blobs(blobs: Mapping[str, tuple[str, str]]) -> str:
    return encode({digest: list(place) for digest, place in blobs.items()})


def value_of(text: str | None) -> object:
    """Read a result."""
    return None if text is None else decode(text)
