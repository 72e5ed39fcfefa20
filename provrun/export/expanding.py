"""One task's own graph, from a published page and the task's record alone: what `ExemplarNodes` says of it.

Names follow from the record; the agent and the cohort, with its number and its group, are looked up on the page. What
a record does not hold is not said: the value of a result, the size of an input file, parameters and results that came
from other maps without standing in the record one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from provrun.core.canonical import encode
from provrun.core.cohorts import CohortKey
from provrun.core.history import Circumstances, Tried
from provrun.core.leaves import Record, micros_of
from provrun.core.records import Artifact
from provrun.core.states import Outcome, State
from provrun.export.checks import cohort_key
from provrun.export.exemplars import Exemplar, ExemplarNodes
from provrun.export.maps import MapNodes, Place
from provrun.export.page import Page
from provrun.export.task_level import StatementPage
from provrun.export.things import Things
from provrun.export.view import Broken, Mapped, View

if TYPE_CHECKING:
    from prov.identifier import QualifiedName

    from provrun.export.rdf import Triple


def expand(view: View, record: Record) -> list[Triple]:
    """Give the graph of a task, as sorted triples: none for a task without an ended attempt of its own.

    Raises `Broken` where the page lacks its map or the cohort of an attempt.
    """
    one = next((one for one in view.maps() if one.name == record.map), None)
    if one is None:
        raise Broken("expand", f"the page has no map {record.map}")
    attempts = sorted(
        () if record.fields["origin"] is not None else record.attempts, key=lambda tried: cast("int", tried["attempt"])
    )
    if not attempts:
        return []
    page = StatementPage(_page(view, one))
    circumstances = [_circumstances(attempt) for attempt in attempts]
    nodes = _Nodes(page, one.name, _Places(view, one))
    level = cast("int", record.fields["level"])
    ExemplarNodes(nodes, circumstances.__getitem__, lambda _: level).add(_exemplar(record, attempts, one.parameters))
    return page.taken()


class _Places:
    """The cohorts of a map on a page, by their keys; for one that is not there the tail of its outcome."""

    def __init__(self, view: View, map: Mapped) -> None:
        self._by_key: dict[CohortKey, Place] = {}
        self._tails: dict[bool, Place] = {}
        tails = set(view.typed("TailCohort"))
        for node in map.cohorts:
            leads = view.link(node, "commitment")
            place = Place(
                int(node.rpartition(".")[2]), None if leads is None else view.number(leads, "position")
            )
            if node in tails:
                self._tails[view.text(node, "outcome") == Outcome.SUCCEEDED.word] = place
            else:
                self._by_key[cohort_key(view, node)] = place

    def __call__(self, key: CohortKey) -> Place:
        found = self._by_key.get(key) or self._tails.get(key.outcome is Outcome.SUCCEEDED)
        if found is None:
            raise Broken("expand", f"the page has no cohort of the attempts that ended as {key.outcome.word}")
        return found


class _Nodes(MapNodes):
    """The nodes of a map that is on a page already."""

    def __init__(self, page: Page, name: str, places: _Places) -> None:
        self.page = page
        self.name = name
        self.things = _PublishedThings(page)
        self.params = page.p(f"params.{name}")
        self._places = places

    def part(self, key: CohortKey) -> Place:
        return self._places(key)


class _PublishedThings(Things):
    """The things of a page that is there already: they are named, and said again where the record tells of them."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.provrun = page.r("provrun")

    def first(self, name: QualifiedName) -> bool:
        return True

    def code(self, key: str) -> QualifiedName:
        return self.page.digested("code", key)

    def environment(self, key: str) -> QualifiedName:
        return self.page.digested("environment", key)

    def inputs(self, digests: Iterable[str]) -> list[QualifiedName]:
        return [self.page.digested("file", sha256) for sha256 in dict.fromkeys(digests)]

    def file(self, sha256: str, size: int | None) -> QualifiedName:
        name = self.page.digested("file", sha256)
        return self.page.entity(name, ["InputFile"], sha256=sha256)


def _page(view: View, map: Mapped) -> Page:
    """Make a page with the namespaces of the one that was read."""
    (agent,) = view.typed("prov:SoftwareAgent")
    page = Page("", "")
    page.namespaces |= {
        "r": agent.removesuffix("provrun"), "p": map.node.removesuffix(f"map.{map.name}"),
    }
    return page


def _circumstances(attempt: Mapping[str, object]) -> Circumstances:
    shared = cast("dict[str, list[str]]", attempt["inputs"])["shared"]
    return Circumstances(
        job=0, code=cast("str", attempt["code"]), code_after=None, environment=cast("str", attempt["environment"]),
        host="", inputs=tuple(shared),
    )


def _exemplar(record: Record, attempts: Sequence[Mapping[str, object]], parameters: Collection[str]) -> Exemplar:
    """Tell the task in full; the contexts of attempts are their places in the list.

    The record has the parameters of the map's own; ``parameters`` names all.
    """
    fields = record.fields
    tried = [
        Tried(
            number=cast("int", one["attempt"]), context=place, outcome=Outcome[cast("str", one["outcome"]).upper()],
            started=None if one["started"] is None else micros_of(cast("str", one["started"])),
            wall=cast("int | None", one["wall_us"]), detail=cast("int | None", one["detail"]),
            result_digest=None if one["result"] is None else bytes.fromhex(cast("str", one["result"])), trail=None,
        )
        for place, one in enumerate(attempts)
    ]
    own = cast("dict[str, object]", fields["params"])
    return Exemplar(
        task=record.index, params=encode(own) if own.keys() == parameters else None,
        accepted=cast("int", fields["attempt"]) if fields["state"] == State.SUCCEEDED.word else 0, attempts=tried,
        results={},
        artifacts={cast("int", one["attempt"]): _artifacts(one) for one in attempts},
        reads={cast("int", one["attempt"]): _reads(one) for one in attempts},
    )


def _artifacts(attempt: Mapping[str, object]) -> list[Artifact]:
    own = cast("dict[str, list[str]]", attempt["inputs"])["own"]
    outputs = cast("dict[str, dict[str, object]]", attempt["outputs"])
    return [
        *(Artifact("input", "", bytes.fromhex(sha256), 0, "", None) for sha256 in own),
        *(
            Artifact("output", name, bytes.fromhex(cast("str", one["digest"])), cast("int", one["size"]), "", None)
            for name, one in outputs.items()
        ),
    ]


def _reads(attempt: Mapping[str, object]) -> list[tuple[str, int, int]]:
    """Give the attempts that were read and made here, where the record lists them."""
    return [
        (cast("str", read["map"]), index, number)
        for read in cast("list[dict[str, object]]", attempt["reads"])
        for index, number, _ in cast("list[tuple[int, int | None, str | None]]", read["list"] or ())
        if number is not None
    ]
