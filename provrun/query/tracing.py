"""What tracing up and down have in common: how things enter the graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter

from provrun.core.environment import Tool
from provrun.core.records import Dependency, JobRecord, MapRecord
from provrun.query import labels
from provrun.query.graph import Graph, Node
from provrun.query.resolving import Subject
from provrun.query.view import View

MOST_NODES = 400  # beyond it what is left is counted, not drawn
BREADTH = 16  # tasks of one map that are followed one by one


class Tracer(ABC):
    """Fills a graph; every thing is followed once."""

    def __init__(self, view: View, root: str, direction: str) -> None:
        self.view = view
        self.graph = Graph(root, direction)

    @abstractmethod
    def start(self, subject: Subject) -> None:
        """Follow the subject."""

    @property
    def full(self) -> bool:
        return len(self.graph.nodes) >= MOST_NODES

    def file(self, path: str | None, digest: str, size: int | None, *, apart: bool = False) -> str:
        """Draw content; ``apart`` from what else has it, where an attempt wrote on another path what it had read."""
        id = f"sha256:{digest} {path}" if apart else f"sha256:{digest}"
        detail: dict[str, object] = {"path": path, "digest": digest, "size": size}
        self.graph.add(Node(id, "file", labels.file_line(path, digest, size), detail))
        return id

    def tool(self, tool: Tool) -> str:
        id = f"sha256:{tool.sha256}"
        detail: dict[str, object] = {"path": tool.path, "digest": tool.sha256, "size": None, "version": tool.version}
        self.graph.add(Node(id, "file", labels.tool_line(tool), detail))
        return id

    def code(self, digest: str) -> str:
        id = f"code:{digest}"
        if id not in self.graph.nodes:
            code = self.view.reads.code(digest).code
            detail: dict[str, object] = {
                "digest": digest, "commit": code.commit, "tree": code.tree, "dirty": code.dirty,
                "remote": code.remote, "branch": code.branch, "files": code.files_digest,
            }
            self.graph.add(Node(id, "code", labels.code_line(code), detail))
        return id

    def environment(self, digest: str) -> str:
        id = f"env:{digest}"
        if id not in self.graph.nodes:
            found = self.view.reads.environment(digest)
            detail: dict[str, object] = {"digest": digest, "python": found.python, "packages": len(found.packages)}
            self.graph.add(Node(id, "environment", labels.environment_line(found), detail))
        return id

    def job(self, job: JobRecord) -> str:
        id = f"job:{job.id}"
        label = f"{id}  {job.kind}, {job.state}, on {job.node} by {job.user}"
        self.graph.add(Node(id, "job", label, {"job": job.id, "state": job.state}))
        return id

    def map_node(self, map: MapRecord) -> bool:
        detail = {"map": map.name, "tasks": map.total, "recipe": labels.recipe_line(map.recipe)}
        return self.graph.add(Node(map.name, "map", labels.map_line(map), detail))

    def circumstances(self, map: MapRecord) -> None:
        """Say under which code and environments the results of a whole map were made, and how many."""
        tallies = [tally for tally in self.view.reads.tallies(map.id) if tally.accepted]
        self.view.contexts.load({tally.context for tally in tallies})
        codes: Counter[str] = Counter()
        environments: Counter[str] = Counter()
        for tally in tallies:
            context = self.view.contexts[tally.context]
            codes[context.code] += tally.accepted
            environments[context.environment] += tally.accepted
        for digest, n in codes.most_common(BREADTH):
            self.graph.connect(map.name, f"ran {n:,} with", self.code(digest))
        for digest, n in environments.most_common(BREADTH):
            self.graph.connect(map.name, f"ran {n:,} in", self.environment(digest))


def relation(dependency: Dependency) -> str:
    """Say in words how one map builds on another."""
    match dependency.kind:
        case "each":
            return "reads task by task"
        case "group":
            return f"reads by {', '.join(dependency.by)}"
        case "chunk":
            return f"reads {dependency.chunk} at a time"
        case "all":
            return "reads all of"
        case "after":
            return "runs after"
