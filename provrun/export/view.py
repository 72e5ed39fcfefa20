"""A page as its reader sees it: nodes, what they say, and the commitments among them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from provrun.core.merkle import BadSums, Node, Sums
from provrun.export.page import DCTERMS, PR
from provrun.export.rdf import PROV, RDF_TYPE, Iri, Literal, Triple

SUMS = ("treeSize", "succeeded", "reused", "failed", "other", "wallMicroseconds")


class Wrong(NamedTuple):
    """Something that does not hold: the name of what was checked, and where it fails."""

    check: str
    what: str

    def __str__(self) -> str:
        return f"{self.check}: {self.what}"


class Broken(Exception):
    """Raised where checking cannot go on."""

    def __init__(self, check: str, what: str) -> None:
        super().__init__(f"{check}: {what}")
        self.wrong = Wrong(check, what)


class View:
    """Looks things up on a page; names of properties are those of the vocabulary, or begin with ``prov:``."""

    def __init__(self, triples: Iterable[Triple]) -> None:
        self.triples = list(triples)
        self._said: dict[str, dict[str, list[Iri | Literal]]] = {}
        self._nodes: dict[str, list[str]] = {}
        for subject, predicate, value in self.triples:
            self._said.setdefault(subject, {}).setdefault(predicate, []).append(value)
            if predicate == RDF_TYPE and isinstance(value, Iri):
                self._nodes.setdefault(value.iri, []).append(subject)

    def typed(self, *names: str) -> list[str]:
        """Give the nodes of some types, sorted."""
        return sorted({node for name in names for node in self._nodes.get(_iri(name), ())})

    def texts(self, node: str, name: str) -> list[str]:
        """Give the values a node has, sorted."""
        found = self._said.get(node, {}).get(_iri(name), ())
        return sorted(value.text for value in found if isinstance(value, Literal))

    def text(self, node: str, name: str) -> str | None:
        """Give the one value a node has; `Broken` if it has several."""
        found = self.texts(node, name)
        if len(found) > 1:
            raise Broken("one-value-each", f"{short(node)} has several values of {name}: {', '.join(found)}")
        return found[0] if found else None

    def number(self, node: str, name: str) -> int | None:
        """Give the one number a node has."""
        found = self.text(node, name)
        if found is None:
            return None
        try:
            return int(found)
        except ValueError:
            raise Broken("one-value-each", f"{short(node)}: {name} is {found!r}, no number") from None

    def links(self, node: str, name: str) -> list[str]:
        """Give the nodes to which a node leads, sorted."""
        found = self._said.get(node, {}).get(_iri(name), ())
        return sorted(value.iri for value in found if isinstance(value, Iri))

    def link(self, node: str, name: str) -> str | None:
        """Give the one node to which a node leads; `Broken` if there are several."""
        found = self.links(node, name)
        if len(found) > 1:
            raise Broken("one-value-each", f"{short(node)} leads by {name} to {', '.join(map(short, found))}")
        return found[0] if found else None

    def backwards(self, name: str, node: str) -> list[str]:
        """Give the nodes that lead to a node, sorted."""
        wanted, target = _iri(name), Iri(node)
        return sorted({t.subject for t in self.triples if t.predicate == wanted and t.object == target})

    def pairs(self, name: str) -> list[tuple[str, str]]:
        """Give all (from, to) of a relation, sorted."""
        found = (t for t in self.triples if t.predicate == _iri(name))
        return sorted((t.subject, t.object.iri) for t in found if isinstance(t.object, Iri))

    def document(self) -> str:
        """Give the node by which the page speaks of itself."""
        found = [node for node in self.typed("prov:Bundle") if self.text(node, "pageDigest") is not None]
        if len(found) != 1:
            raise Broken("page-digest", f"{len(found)} nodes state the digest of the page, one must")
        return found[0]

    def maps(self) -> list[Mapped]:
        """Give the maps in page order."""
        found = [Mapped(self, node) for node in self.typed("Map")]
        return sorted(found, key=lambda one: (one.position, one.name))


class Committed(NamedTuple):
    """A commitment as the page states it."""

    node: str
    sums: Sums
    root: bytes
    key: bytes | None
    kind: str | None
    position: int | None

    @property
    def top(self) -> Node:
        """The root of its tree with the sums."""
        return Node(self.sums.pack(), self.root)


class Mapped:
    """A map on a page, with its commitment and those of its groups by position."""

    def __init__(self, view: View, node: str) -> None:
        self.view = view
        self.node = node
        self.name = view.text(node, "name") or ""
        self.position = view.number(node, "position") or 0
        leads = view.link(node, "commitment")
        if leads is None:
            raise Broken("commitments", f"{self.name} commits to nothing")
        self.commitment = committed(view, leads)
        groups = [committed(view, one) for one in view.links(leads, "subtree")]
        self.groups = sorted(groups, key=lambda one: -1 if one.position is None else one.position)
        if [one.position for one in self.groups] != list(range(len(self.groups))):
            raise Broken("groups-make-the-map", f"{self.name}: groups at {[one.position for one in self.groups]}")

    @property
    def parameters(self) -> set[str]:
        """The names of the parameters of its tasks, those included that came from other maps."""
        view = self.view
        wholes = [node for node in view.links(self.node, "prov:used") if node in view.typed("Parameters")]
        return {view.text(one, "name") or "" for whole in wholes for one in view.links(whole, "parameter")}

    @property
    def cohorts(self) -> list[str]:
        """The cohorts of the map."""
        inside = set(self.view.backwards(DCTERMS + "isPartOf", self.node))
        return [node for node in self.view.typed("Cohort", "TailCohort") if node in inside]


def committed(view: View, node: str) -> Committed:
    """Read a commitment; `Broken` where it lacks something or its sums are impossible."""
    values = [view.number(node, name) for name in SUMS]
    root, key = view.text(node, "root"), view.text(node, "key")
    if None in values or root is None or view.text(node, "hash") != "sha-256":
        raise Broken("commitments", f"{short(node)} lacks its sums, its root or its hash function")
    sums = Sums(*(value or 0 for value in values))
    try:
        sums.pack()
        return Committed(
            node, sums, bytes.fromhex(root), None if key is None else bytes.fromhex(key), view.text(node, "kind"),
            view.number(node, "position"),
        )
    except BadSums as error:
        raise Broken("sums", f"{short(node)}: {error}") from None
    except ValueError:
        raise Broken("commitments", f"{short(node)}: its root or key is not hexadecimal") from None


def short(node: str) -> str:
    """Give the last part of a node's name."""
    return node.rpartition("#")[2] or node


def _iri(name: str) -> str:
    if name.startswith("prov:"):
        return PROV + name.removeprefix("prov:")
    return name if ":" in name else PR + name
