"""A small graph of what came from what, and how it is drawn: as a tree of text, JSON, dot or SVG."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from provrun.errors import ProvrunError

SHAPES = {
    "task": "box", "attempt": "box", "map": "box3d", "code": "note", "environment": "note", "file": "folder",
    "params": "ellipse", "recipe": "component", "results": "ellipse",
}
COLOURS = {
    "task": "#cfe2f3", "attempt": "#cfe2f3", "map": "#9fc5e8", "code": "#fff2cc", "environment": "#d9ead3",
    "file": "#fce5cd", "params": "#eeeeee", "recipe": "#d9d2e9", "results": "#ffffff",
}


class Node(msgspec.Struct, frozen=True):
    """A thing: ``label`` is one line for a person, ``detail`` what a program wants to know."""

    id: str
    kind: str
    label: str
    detail: dict[str, object] = {}


class Edge(msgspec.Struct, frozen=True):
    """How a thing depends on another: read "``source`` relation ``target``"."""

    source: str
    relation: str
    target: str


class Graph:
    """Things reached from one of them, the root."""

    def __init__(self, root: str, direction: str) -> None:
        self.root = root
        self.direction = direction
        self.nodes: dict[str, Node] = {}
        self.edges: dict[Edge, None] = {}  # a set that keeps its order

    def add(self, node: Node) -> bool:
        """Add a thing; False if it is there already."""
        if node.id in self.nodes:
            return False
        self.nodes[node.id] = node
        return True

    def connect(self, source: str, relation: str, target: str) -> None:
        """Say that one thing depends on another."""
        self.edges[Edge(source, relation, target)] = None

    def document(self) -> dict[str, object]:
        """Give the graph for JSON."""
        return {
            "ref": self.root,
            "direction": self.direction,
            "nodes": [
                {"id": node.id, "kind": node.kind, "label": node.label, **node.detail} for node in self.nodes.values()
            ],
            "edges": [{"from": edge.source, "relation": edge.relation, "to": edge.target} for edge in self.edges],
        }

    def tree(self) -> Iterator[str]:
        """Give the lines of a tree from the root; a thing met again is named, not told again."""
        children: dict[str, list[Edge]] = {}
        for edge in self.edges:
            children.setdefault(edge.source, []).append(edge)
        yield self.nodes[self.root].label
        yield from self._branches(self.root, children, "", {self.root})

    def dot(self) -> str:
        """Give the graph in Graphviz's language."""
        lines = ["digraph provrun {", "  rankdir=BT", '  node [fontname="Helvetica" fontsize=10 style=filled]']
        lines.append('  edge [fontname="Helvetica" fontsize=8 color="#666666"]')
        numbers = {id: f"n{number}" for number, id in enumerate(self.nodes)}
        for node in self.nodes.values():
            shape, colour = SHAPES.get(node.kind, "box"), COLOURS.get(node.kind, "#ffffff")
            lines.append(f'  {numbers[node.id]} [label={_quoted(node.label)} shape={shape} fillcolor="{colour}"]')
        arrows = [
            f"{numbers[edge.source]} -> {numbers[edge.target]} [label={_quoted(edge.relation)}]"
            for edge in self.edges
        ]
        return "\n".join([*lines, *(f"  {arrow}" for arrow in arrows), "}"])

    def svg(self) -> str:
        """Draw the graph with Graphviz's ``dot``; raise `ProvrunError` where that is not installed."""
        import subprocess

        try:
            drawn = subprocess.run(["dot", "-Tsvg"], input=self.dot(), capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise ProvrunError(
                "drawing SVG needs Graphviz, and there is no program dot", value="dot",
                next="apt install graphviz, or --format dot",
            ) from None
        if drawn.returncode != 0:
            raise ProvrunError(f"dot failed: {drawn.stderr.strip()}", value=drawn.returncode)
        return drawn.stdout

    def _branches(self, id: str, children: dict[str, list[Edge]], indent: str, told: set[str]) -> Iterator[str]:
        edges = children.get(id, [])
        for edge in edges:
            last = edge is edges[-1]
            node = self.nodes[edge.target]
            again = node.id in told and node.id in children
            yield f"{indent}{'└─ ' if last else '├─ '}{edge.relation} {node.label}{' (told above)' if again else ''}"
            if not again:
                told.add(node.id)
                yield from self._branches(node.id, children, indent + ("   " if last else "│  "), told)


def _quoted(text: str) -> str:
    wrapped = text if len(text) <= 60 else text[:57] + "..."
    return '"' + wrapped.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
