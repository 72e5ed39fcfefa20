"""What whoever has the records of all tasks can check: that they are those committed to, and every number they give."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import cast

from provrun.core.canonical import encode
from provrun.core.cohorts import CohortKey, GroupKey, tail
from provrun.core.leaves import BadRecord, Record, micros_of
from provrun.core.merkle import BadSums, Tree, leaf_hash, unpack
from provrun.core.states import Outcome
from provrun.export.checks import cohort_key
from provrun.export.maps import listed
from provrun.export.page import DCTERMS, ended_at, started_at
from provrun.export.parameters import Additions, Parameters
from provrun.export.rdf import time_text
from provrun.export.view import Committed, Mapped, View, Wrong, short

LINES = "leaves-are-the-records"
ROOTS = "leaves-make-the-roots"
BELONGS = "leaves-belong-to-their-groups"
NUMBERS = "numbers-are-those-of-the-leaves"


class _Stop(Exception):
    """Nothing that follows can be checked."""


def recount(view: View, lines: Iterable[bytes]) -> Iterator[Wrong]:
    """Check the records of all tasks, in the order of the trees, against a page."""
    numbered = enumerate(lines, 1)
    try:
        for one in view.maps():
            yield from _map(view, one, numbered)
    except _Stop as stop:
        yield cast("Wrong", stop.args[0])
        return
    if next(numbered, None) is not None:
        yield Wrong(LINES, "there are more records than the page commits to")


def _map(view: View, one: Mapped, lines: Iterator[tuple[int, bytes]]) -> Iterator[Wrong]:
    tally = Tally(view, one)
    seen = bytearray(one.commitment.sums.tasks)
    for group in one.groups:
        tree = Tree()
        last = -1
        for _ in range(group.sums.tasks):
            number, record = _record(lines, one.name)
            if record.map != one.name or record.index >= len(seen) or seen[record.index] or record.index < last:
                raise _Stop(Wrong(LINES, f"line {number}: {record.map}/{record.index} is out of place"))
            seen[record.index] = 1
            last = record.index
            if not tally.belongs(record, group):
                yield Wrong(BELONGS, f"line {number}: {record.map}/{record.index} is not of {short(group.node)}")
            try:
                tree.add(record.sums().pack(), leaf_hash(record.line))
            except BadSums as error:
                raise _Stop(Wrong(LINES, f"line {number}: {error}")) from None
            tally.add(record, group)
        try:
            root = tree.root()
        except BadSums as error:
            raise _Stop(Wrong(LINES, f"the records of {short(group.node)}: {error}")) from None
        if root.hash != group.root or unpack(root.sums) != group.sums:
            yield Wrong(ROOTS, f"the records make another root for {short(group.node)} than the page states")
    yield from tally.wrong()


def _record(lines: Iterator[tuple[int, bytes]], map: str) -> tuple[int, Record]:
    number, line = next(lines, (0, b""))
    if not number:
        raise _Stop(Wrong(LINES, f"there are fewer records than the page commits to: {map} lacks some"))
    if not line.endswith(b"\n"):
        raise _Stop(Wrong(LINES, f"line {number} does not end"))
    try:
        return number, Record(line[:-1])
    except BadRecord as error:
        raise _Stop(Wrong(LINES, f"line {number}: {error}")) from None


class _Counted:
    """What the records say of one cohort of the page."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self.walls = array("q")
        self.cpu = 0
        self.rss: int | None = None
        self.first: int | None = None
        self.last: int | None = None
        self.failures = Counter[str]()
        self.superseded = 0
        self.repeated = 0
        self.replaced = Counter[str]()
        self.alike = Counter[str]()
        self.recovered = Counter[str]()

    def add(self, one: dict[str, object]) -> None:
        self.counts["attempts"] += 1
        wall, cpu, rss, started = (cast("int | None", one[n]) for n in ("wall_us", "cpu_us", "max_rss", "started"))
        if wall is not None:
            self.walls.append(wall)
        self.cpu += cpu or 0
        if rss is not None:
            self.rss = max(rss, self.rss or 0)
        if started is not None:
            start = micros_of(cast("str", one["started"]))
            self.first = start if self.first is None else min(start, self.first)
            self.last = max(start + (wall or 0), self.last or 0)
        if one["outcome"] != Outcome.SUCCEEDED.word:
            self.failures[encode({"class": one["outcome"], "detail": one["detail"]})] += 1

    def said(self) -> dict[str, int | None]:
        walls = sorted(self.walls)

        def ranked(percent: int) -> int | None:
            return walls[-(-len(walls) * percent // 100) - 1] if walls else None

        counts = {name: self.counts[name] for name in ("attempts", "tasks", "accepted", "retried")}
        return counts | {
            "wallSum": sum(walls), "wallMedian": ranked(50), "wallP95": ranked(95), "wallMax": ranked(100),
            "cpuSum": self.cpu, "maxRss": self.rss,
        }

    def failed(self) -> list[str]:
        counted: dict[str, int] = {}
        for text, n in self.failures.items():
            # The count belongs between "class" and "detail".
            head, _, rest = text.partition(',"detail"')
            counted[f'{head},"count":{n},"detail"{rest}'] = n
        return sorted(listed(counted))


class Tally:
    """Counts the records of a map as its page does."""

    def __init__(self, view: View, map: Mapped) -> None:
        self._view = view
        self._map = map
        tails = set(view.typed("TailCohort"))
        self._nodes: dict[CohortKey, str] = {cohort_key(view, n): n for n in map.cohorts if n not in tails}
        self._tails = {view.text(n, "outcome") == Outcome.SUCCEEDED.word: n for n in map.cohorts if n in tails}
        self._counted: dict[str, _Counted] = {node: _Counted() for node in map.cohorts}
        self._strange = 0
        self._noresult = 0
        self._attempts = 0
        self._digests: dict[CohortKey | GroupKey, bytes] = {}
        self._params = Parameters()
        others = (one for one in view.maps() if one.node != map.node)
        self._inherited = {name for one in others for name in one.parameters}
        self._inherited |= {*view.texts(map.node, "groupedBy"), "chunk"}
        self._described = {node: Parameters() for node in _described_groups(view, map)}
        added = _added(view, map)
        self._added = [node for node, _ in added]
        self._additions = Additions([first for _, first in added])

    def belongs(self, record: Record, group: Committed) -> bool:
        """Tell whether the group's key is that of the record."""
        key = record.key
        found = self._digests.get(key)
        if found is None:
            of = key
            if isinstance(of, CohortKey):
                of = of.group if of in self._nodes else tail(of.outcome is Outcome.SUCCEEDED)
            found = self._digests[key] = of.digest()
        return found == group.key

    def add(self, record: Record, group: Committed) -> None:
        """Count one task."""
        fields, attempts = record.fields, record.attempts
        params = cast("dict[str, object]", fields["params"])
        self._params.add(params)
        if (described := self._described.get(group.node)) is not None:
            described.add(params)
        if self._added:
            self._additions.add(record.index, params)
        if fields["origin"] is not None:
            self._noresult += fields["result"] is None
            return
        if not attempts:
            return
        last = max(cast("int", one["attempt"]) for one in attempts)
        accepted = fields["state"] == "succeeded"
        home = self._node(record.cohorts[0])
        seen: set[str] = set()
        recovered: set[str] = set()
        for one, cohort in zip(attempts, record.cohorts, strict=True):
            self._attempts += 1
            node = self._node(cohort)
            if node is None:
                self._strange += 1
                continue
            counted = self._counted[node]
            counted.add(one)
            counted.counts["tasks"] += node not in seen
            seen.add(node)
            succeeded = one["outcome"] == Outcome.SUCCEEDED.word
            if accepted and home is not None and not succeeded and node not in recovered and _came_after(fields, one):
                recovered.add(node)
                counted.recovered[home] += 1
            if one is fields and accepted:
                counted.counts["accepted"] += 1
                self._noresult += fields["result"] is None
                continue
            if one is not fields or succeeded:
                counted.counts["retried"] += cast("int", one["attempt"]) < last
            if succeeded:
                counted.superseded += 1
                alike = accepted and one["result"] == fields["result"]
                counted.repeated += alike
                if accepted and home is not None and _came_after(fields, one):
                    counted.replaced[home] += 1
                    counted.alike[home] += alike

    def _node(self, key: CohortKey) -> str | None:
        found = self._nodes.get(key)
        return found if found is not None else self._tails.get(key.outcome is Outcome.SUCCEEDED)

    def wrong(self) -> Iterator[Wrong]:
        """Give every number of the page that the records do not give."""
        for what in self._problems():
            yield Wrong(NUMBERS, what)

    def _problems(self) -> Iterator[str]:
        view, node = self._view, self._map.node
        if self._strange:
            yield f"{self._map.name}: {self._strange} attempts lie in no cohort of the page"
        for name, found in (("attempts", self._attempts), ("noResult", self._noresult)):
            if view.number(node, name) != found:
                yield f"{self._map.name}: {name} is {view.number(node, name)} on the page, {found} by the records"
        for cohort, counted in self._counted.items():
            yield from _differences(view, cohort, counted)
        yield from self._parameters()

    def _parameters(self) -> Iterator[str]:
        view = self._view
        for whole in (n for n in view.links(self._map.node, "prov:used") if n in view.typed("Parameters")):
            yield from _described(view, whole, self._params, self._inherited)
        for group, params in self._described.items():
            for node in (n for n in view.backwards("commitment", group) if n in view.typed("Parameters")):
                yield from _described(view, node, params, self._inherited)
        for submission, found in zip(self._added, self._additions.parts, strict=True):
            made = [n for n in view.backwards("prov:wasGeneratedBy", submission) if n in view.typed("Parameters")]
            if view.number(submission, "tasksAdded") != found.members or len(made) != (len(self._added) > 1):
                yield f"{short(submission)} added {found.members} tasks by the records"
            for node in made:
                yield from _described(view, node, found, self._inherited)


def _added(view: View, map: Mapped) -> list[tuple[str, int]]:
    """Give the submissions of a map and the first index that each added, in that order."""
    mine = [node for node in view.backwards(DCTERMS + "isPartOf", map.node) if node in view.typed("Submission")]
    firsts = {node: first for node in mine if (first := view.number(node, "firstTask")) is not None}
    return sorted(((node, n) for node, n in firsts.items() if view.number(node, "tasksAdded")), key=itemgetter(1))


def _described_groups(view: View, map: Mapped) -> Iterator[str]:
    """Give the groups whose parameters a page describes: those of unsuccessful cohorts, and the unattempted."""
    for group in map.groups:
        cohorts = [n for n in view.backwards("commitment", group.node) if n in view.typed("Cohort", "TailCohort")]
        if group.kind == "unattempted" or any(view.text(n, "outcome") != Outcome.SUCCEEDED.word for n in cohorts):
            yield group.node


def _described(
    view: View, collection: str, params: Parameters, inherited: set[str]
) -> Iterator[str]:
    """Compare what the page says of the parameters of a collection with those that were counted."""
    if view.number(collection, "memberCount") != params.members:
        yield f"{short(collection)} has {params.members} members by the records"
    described = {view.text(one, "name"): one for one in view.links(collection, "parameter")}
    for name, found in params.by_name.items():
        node = described.get(name)
        if node is None:
            yield f"{short(collection)}: the parameter {name} is not on the page"
            continue
        exact, values = found.distinct < found.most, found.values()
        wanted = {
            "count": str(found.count), "distinct": str(found.distinct) if exact else None,
            "distinctAtLeast": None if exact else str(found.distinct),
            "values": None if values is None else f"[{','.join(values)}]",
            "minimum": None if found.minimum is None else encode(found.minimum),
            "maximum": None if found.maximum is None else encode(found.maximum),
            "nonFinite": str(found.non_finite) if found.non_finite else None,
        }
        for what, value in wanted.items():
            if view.text(node, what) != value:
                yield f"{short(node)}: {what} is {view.text(node, what)} on the page, {value} by the records"
        if view.texts(node, "kind") != sorted(found.kinds):
            yield f"{short(node)}: its kinds are {', '.join(sorted(found.kinds))} by the records"
    # Records have the map's own parameters, pages those it inherits, too.
    for name in sorted(str(one) for one in described.keys() - params.by_name.keys() - inherited):
        yield f"{short(collection)}: the parameter {name} is in no record"


def _differences(view: View, cohort: str, counted: _Counted) -> Iterator[str]:
    for name, found in counted.said().items():
        if view.number(cohort, name) != found:
            yield f"{short(cohort)}: {name} is {view.number(cohort, name)} on the page, {found} by the records"
    times = {
        "prov:startedAtTime": None if counted.first is None else time_text(started_at(counted.first)),
        "prov:endedAtTime": None if counted.last is None else time_text(ended_at(counted.last)),
    }
    for name, text in times.items():
        if view.text(cohort, name) != text:
            yield f"{short(cohort)}: {name} is {view.text(cohort, name)} on the page, {text} by the records"
    if view.texts(cohort, "failure") != counted.failed():
        yield f"{short(cohort)}: its failures are others by the records"
    into = listed({encode({"into": short(node), "tasks": n}): n for node, n in counted.recovered.items()})
    if view.texts(cohort, "recovery") != sorted(into):
        yield f"{short(cohort)}: others of its tasks recovered by the records"
    made = [n for n in view.backwards("prov:wasGeneratedBy", cohort) if n in view.typed("SupersededResults")]
    said = [(view.number(n, "memberCount"), view.number(n, "sameDigest")) for n in made]
    if said != ([(counted.superseded, counted.repeated)] if counted.superseded else []):
        yield (
            f"{short(cohort)}: {counted.superseded} results are superseded, {counted.repeated} of them alike, by the"
            " records"
        )
    by_records = {node: (n, counted.alike[node]) for node, n in counted.replaced.items()}
    if dict(_replaced(view, made)) != by_records:
        yield f"{short(cohort)}: its results were replaced in other numbers, or are alike in others, by the records"


def _came_after(shown: dict[str, object], one: dict[str, object]) -> bool:
    """Tell whether the attempt that counts may have replaced another one: of two registries it need not have."""
    numbers = cast("int", shown["attempt"]), cast("int", one["attempt"])
    times = shown["started"], one["started"]
    later = None not in times and micros_of(cast("str", times[1])) > micros_of(cast("str", times[0]))
    return numbers[0] > numbers[1] and not later


def _replaced(view: View, superseded: Iterable[str]) -> Iterator[tuple[str, tuple[int | None, int | None]]]:
    """Give the cohorts whose results replaced some, how many they replaced, and how many of these are alike."""
    for older in superseded:
        for revision in view.backwards("prov:entity", older):
            for newer in view.backwards("prov:qualifiedRevision", revision):
                numbers = view.number(revision, "membersReplaced"), view.number(revision, "membersEqual")
                yield from ((cohort, numbers) for cohort in view.links(newer, "prov:wasGeneratedBy"))
