"""Lies planted into a published page, its records or a proof: each is found, by the name of what does not hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from fixtures.lies import Page
from fixtures.study import Study
from fixtures.told import tell
from provrun.core.canonical import encode
from provrun.errors import Unsound
from provrun.export.checks import CHECKS
from provrun.export.page import PR
from provrun.export.rdf import PROV, XSD, Iri, Literal, Triple
from provrun.export.reading import read_page
from provrun.project.pages.publishing import export
from provrun.project.pages.verifying import prove, verify
from provrun.project.project import Project


class Published(NamedTuple):
    page: Path
    leaves: Path
    proof: Path
    other: Path


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    folder = tmp_path_factory.mktemp("published")
    project = Project.create(folder)
    study = Study(project.registry)
    tell(study)
    study.claim(study.job(), "note", limit=1)
    found = Published(*(folder / name for name in ("page.nt", "leaves.jsonl", "proof.json", "other.nt")))
    export(project, format="nt", path=found.page, leaves=found.leaves)
    prove("scan/7", found.page, found.proof, folder=folder)
    study.run(study.job(), "mean")
    study.submit("late", [{"x": 1}])
    study.run(study.job(), "late")
    study.registry.rerun(study.id("scan"), [7])
    study.run(study.job(), "scan")
    export(project, format="nt", path=found.other)
    yield found
    project.close()


def test_every_name_under_which_a_lie_is_found_stands_in_the_reference() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "commitment.md").read_text()
    named = {*CHECKS, *(check for lies in (SEALED, LEAVES, PROOFS) for _, check, _ in lies)}
    assert [name for name in sorted(named) if f"| `{name}` |" not in text] == []


def test_the_truth_holds(published: Published) -> None:
    for page in (published.page, published.other):
        assert verify(page).problems == []
    assert verify(published.page, leaves=published.leaves, member=published.proof).problems == []


def _another_code(page: Page) -> None:
    codes = sorted(t.subject for t in page.triples if t.object == Iri(PR + "CodeVersion"))
    assert len(codes) == 2
    swapped = {codes[0]: codes[1], codes[1]: codes[0]}
    plans = {t for t in page.triples if t.predicate == PROV + "hadPlan" and ".scan.0" in t.subject}
    page.triples -= plans
    page.triples |= {t._replace(object=Iri(swapped[t.object.iri])) for t in plans if isinstance(t.object, Iri)}


def _another_digest_of(kind: str) -> Callable[[Page], None]:
    def lie(page: Page) -> None:
        node = sorted(t.subject for t in page.triples if t.object == Iri(PR + kind))[0]
        page.set(node.rpartition("#")[2], "digest", "0" * 64)

    return lie


def _drop_the_last_group(page: Page) -> None:
    page.forget("commitment.scan.2")


def _swap_two_groups(page: Page) -> None:
    page.set("commitment.scan.0", "position", 1)
    page.triples.remove(page.get("commitment.scan.1", "position"))
    page.triples.add(page.get("commitment.scan.0", "position")._replace(
        subject=page.node("commitment.scan.1"), object=Literal("0", XSD + "integer")
    ))


def _qualified_generator(page: Page) -> None:
    generation = page.get("results.scan.0", "prov:qualifiedGeneration").object
    assert isinstance(generation, Iri)
    page.say(generation.iri.rpartition("#")[2], "prov:activity", "cohort.scan.2")


def _failed_of(page: Page) -> str:
    (failed,) = {
        t.subject for t in page.triples
        if t.predicate == PR + "outcome" and t.object == Literal("exit", XSD + "string") and "#cohort." in t.subject
    }
    return failed.rpartition("#")[2]


def _results_of_a_failure(page: Page) -> None:
    page.triples = {t for t in page.triples if t.subject != page.node("superseded.scan.0")
                    or t.predicate not in {PROV + "wasGeneratedBy", PROV + "qualifiedGeneration"}}
    page.say("superseded.scan.0", "prov:wasGeneratedBy", _failed_of(page))


SEALED: list[tuple[str, str, Callable[[Page], None]]] = [
    ("a task more succeeded", "counts-are-those-committed-to", lambda p: p.raise_("map.scan", "succeeded")),
    ("a task more was planned", "counts-are-those-committed-to", lambda p: p.raise_("map.scan", "planned")),
    ("fewer failed", "counts-are-those-committed-to", lambda p: p.raise_("map.scan", "failed", -1)),
    ("an attempt more", "counts-are-those-committed-to", lambda p: p.raise_("cohort.scan.0", "attempts")),
    ("one more accepted", "counts-are-those-committed-to", lambda p: p.raise_("cohort.scan.0", "accepted")),
    ("one parameter set more", "counts-are-those-committed-to", lambda p: p.raise_("params.scan.0", "memberCount")),
    ("one result more", "counts-are-those-committed-to", lambda p: p.raise_("results.scan.0", "memberCount")),
    ("results dropped", "counts-are-those-committed-to", lambda p: p.forget("results.obs.0")),
    ("the whole is more than its parts", "partitions-add-up", lambda p: p.raise_("results.scan", "memberCount")),
    ("a second generator", "one-generation-each",
     lambda p: p.say("results.scan.0", "prov:wasGeneratedBy", "cohort.scan.2")),
    ("a second generator, qualified", "one-generation-each", _qualified_generator),
    ("other code", "keys-are-those-of-the-cohorts", _another_code),
    ("another digest of code", "keys-are-those-of-the-cohorts", _another_digest_of("CodeVersion")),
    ("another environment", "keys-are-those-of-the-cohorts", _another_digest_of("Environment")),
    ("another level", "keys-are-those-of-the-cohorts", lambda p: p.raise_("cohort.scan.0", "level")),
    ("failures that succeeded", "keys-are-those-of-the-cohorts",
     lambda p: p.set(_failed_of(p), "outcome", "succeeded")),
    ("a cohort dropped", "keys-are-those-of-the-cohorts", lambda p: p.forget("cohort.scan.0")),
    ("a key edited", "groups-make-the-map", lambda p: p.set("commitment.scan.0", "key", "0" * 64)),
    ("a time outside the hull", "parts-end-within-the-whole",
     lambda p: p.set("cohort.scan.0", "prov:endedAtTime", "2030-01-01T00:00:00.000+00:00")),
    ("a group's root edited", "groups-make-the-map", lambda p: p.set("commitment.scan.0", "root", "0" * 64)),
    ("the map's root edited", "groups-make-the-map", lambda p: p.set("commitment.scan", "root", "0" * 64)),
    ("a sum edited", "groups-make-the-map", lambda p: p.raise_("commitment.scan.0", "wallMicroseconds")),
    ("the map's sum edited", "groups-make-the-map", lambda p: p.raise_("commitment.scan", "wallMicroseconds")),
    ("a sum of 2^63", "sums", lambda p: p.set("commitment.scan.0", "wallMicroseconds", 2**63)),
    ("a sum below zero", "sums", lambda p: p.set("commitment.scan.0", "wallMicroseconds", -1)),
    ("tasks that are not the four", "sums", lambda p: p.raise_("commitment.scan.0", "succeeded")),
    ("a group dropped", "groups-make-the-map", _drop_the_last_group),
    ("two groups swapped", "groups-make-the-map", _swap_two_groups),
    ("another snapshot", "snapshot-holds", lambda p: p.set("page", "snapshot", "0" * 64)),
    ("a map renamed", "snapshot-holds", lambda p: p.set("map.scan", "name", "scam")),
    ("results of failures", "unsuccessful-cohorts-make-nothing", _results_of_a_failure),
    ("using what one makes", "nothing-uses-what-it-makes",
     lambda p: p.say("cohort.scan.0", "prov:used", "results.scan.0")),
    ("deriving in a circle", "nothing-derives-from-itself",
     lambda p: p.say("params.scan.0", "prov:wasDerivedFrom", "results.scan.0")),
    ("a use in one form only", "both-forms-agree", lambda p: p.say("cohort.scan.0", "prov:used", "params.obs.0")),
    ("reused claimed as generated", "nothing-reused-is-made-here",
     lambda p: p.say("results.scan.0", "a", "ReusedResults")),
]


@pytest.mark.parametrize(("check", "lie"), [(check, lie) for _, check, lie in SEALED], ids=[one[0] for one in SEALED])
def test_a_lie_on_a_page_whose_digest_was_made_anew_is_found_by_name(
    published: Published, tmp_path: Path, check: str, lie: Callable[[Page], None]
) -> None:
    page = Page(read_page(published.page))
    lie(page)
    page.seal()
    found = verify(page.write(tmp_path / "page.nt")).problems
    assert found, "nobody noticed"
    assert found[0].startswith(f"{check}: "), found


def test_any_edit_breaks_the_digest_and_a_page_made_anew_is_not_the_printed_one(
    published: Published, tmp_path: Path
) -> None:
    printed = verify(published.page).digest
    page = Page(read_page(published.page))
    environment = next(t.subject for t in page.triples if t.object == Iri(PR + "Environment"))
    page.set(environment.rpartition("#")[2], "python", "2.7")
    edited = page.write(tmp_path / "page.nt")
    assert verify(edited).problems[0].startswith("page-digest-holds: ")
    page.seal()
    page.write(edited)
    assert verify(edited).problems == []
    assert verify(edited, printed=printed).problems[0].startswith("printed-digest: ")
    assert verify(published.page, printed=printed).problems == []


def _lines(change: Callable[[list[bytes]], object]) -> Callable[[list[bytes]], list[bytes]]:
    def lie(lines: list[bytes]) -> list[bytes]:
        change(lines)
        return lines

    return lie


def _long_walls(lines: list[bytes]) -> None:
    for number in range(2):
        record = json.loads(lines[number]) | {"started": None, "ended": None, "wall_us": 2**62}
        lines[number] = encode(record).encode() + b"\n"


def _edited(old: bytes, new: bytes) -> Callable[[list[bytes]], list[bytes]]:
    def lie(lines: list[bytes]) -> list[bytes]:
        place = next(n for n, line in enumerate(lines) if old in line)
        lines[place] = lines[place].replace(old, new, 1)
        return lines

    return lie


LEAVES: list[tuple[str, str, Callable[[list[bytes]], list[bytes]]]] = [
    ("a leaf edited", "leaves-make-the-roots", _edited(b'"y":3', b'"y":4')),
    ("a leaf dropped", "leaves-are-the-records", _lines(lambda lines: lines.pop(3))),
    ("a leaf twice", "leaves-are-the-records", _lines(lambda lines: lines.insert(3, lines[3]))),
    ("a leaf more", "leaves-are-the-records", _lines(lambda lines: lines.append(lines[-1]))),
    ("two leaves swapped", "leaves-are-the-records", _lines(lambda lines: lines.insert(0, lines.pop(1)))),
    ("a space", "leaves-are-the-records", _edited(b'"v":1', b'"v": 1')),
    ("1.0 for 1", "leaves-are-the-records", _edited(b'"v":1', b'"v":1.0')),
    ("an unknown field", "leaves-are-the-records", _edited(b'"v":1', b'"v":1,"w":1')),
    ("no end of line", "leaves-are-the-records", _lines(lambda lines: lines.append(lines.pop()[:-1]))),
    ("a wall of 2^63", "leaves-are-the-records", _edited(b'"wall_us":1000', b'"wall_us":9223372036854775808')),
    ("walls of 2^63 together", "leaves-are-the-records", _lines(_long_walls)),
    ("another end", "leaves-are-the-records", _edited(b'"wall_us":1000', b'"wall_us":1001')),
    ("another code in a leaf", "leaves-belong-to-their-groups", _edited(b'"code":"', b'"code":"0')),
    ("another state", "leaves-make-the-roots", _edited(b'"state":"succeeded"', b'"state":"failed"')),
    ("a state that is a list", "leaves-are-the-records", _edited(b'"state":"succeeded"', b'"state":[]')),
    ("a level that is a list", "leaves-are-the-records", _edited(b'"level":0', b'"level":[]')),
    ("an origin without a map", "leaves-are-the-records", _edited(b'"origin":null', b'"origin":{}')),
    ("no inputs", "leaves-are-the-records", _edited(b'"inputs":{"own":[],"shared":[]}', b'"inputs":null')),
    ("inputs that are numbers", "leaves-are-the-records", _edited(b'"shared":[]', b'"shared":[1]')),
    ("a wall of 2^90", "leaves-are-the-records", _edited(b'"wall_us":1000', b'"wall_us":%d' % 2**90)),
    ("a start in another form", "leaves-are-the-records", _edited(b'+00:00","state"', b'Z","state"')),
    ("one attempt fewer", "leaves-are-the-records", _edited(b'"attempts":2', b'"attempts":1')),
]


@pytest.mark.parametrize(("check", "lie"), [(check, lie) for _, check, lie in LEAVES], ids=[one[0] for one in LEAVES])
def test_a_lie_in_the_records_is_found_by_name(
    published: Published, tmp_path: Path, check: str, lie: Callable[[list[bytes]], list[bytes]]
) -> None:
    lines = lie(published.leaves.read_bytes().splitlines(keepends=True))
    path = tmp_path / "leaves.jsonl"
    path.write_bytes(b"".join(lines))
    found = verify(published.page, leaves=path).problems
    assert found, "nobody noticed"
    assert found[0].startswith(f"{check}: "), found


def test_a_proof_from_the_records_is_the_one_from_the_registry(published: Published, tmp_path: Path) -> None:
    prove("scan/7", published.page, tmp_path / "proof.json", leaves=published.leaves)
    assert (tmp_path / "proof.json").read_bytes() == published.proof.read_bytes()


@pytest.mark.parametrize(
    "lie",
    [
        _lines(lambda lines: lines.pop(0)), _lines(_long_walls), _edited(b'"state":"succeeded"', b'"state":"failed"'),
        _edited(b'"state":"succeeded"', b'"state":[]'), _edited(b'{"attempt"', b"{attempt"),
    ],
    ids=["a record missing", "walls of 2^63 together", "another state", "a state that is a list", "no JSON"],
)
def test_no_proof_is_made_from_records_that_are_not_those_of_the_page(
    published: Published, tmp_path: Path, lie: Callable[[list[bytes]], list[bytes]]
) -> None:
    leaves, proof = tmp_path / "leaves.jsonl", tmp_path / "proof.json"
    leaves.write_bytes(b"".join(lie(published.leaves.read_bytes().splitlines(keepends=True))))
    with pytest.raises(Unsound, match="records"):
        prove("scan/7", published.page, proof, leaves=leaves)
    assert not proof.exists()


def _start_earlier(page: Page) -> None:
    for name in ("cohort.scan.0", "map.scan"):
        page.set(name, "prov:startedAtTime", "2023-11-14T22:13:19.000+00:00")


def _invent_a_parameter(page: Page) -> None:
    invented = page.node("parameter.scan.0") + "9"
    page.triples |= {t._replace(subject=invented) for t in page.triples if t.subject == page.node("parameter.scan.0")}
    page.triples.add(Triple(page.node("params.scan"), PR + "parameter", Iri(invented)))
    page.set("parameter.scan.09", "name", "z")


NUMBERS: list[tuple[str, Callable[[Page], None]]] = [
    ("the 95th percentile", lambda p: p.raise_("cohort.scan.0", "wallP95")),
    ("the median", lambda p: p.raise_("cohort.scan.0", "wallMedian")),
    ("the sum of time", lambda p: p.raise_("cohort.obs.0", "wallSum")),
    ("CPU time", lambda p: p.raise_("cohort.scan.0", "cpuSum")),
    ("memory", lambda p: p.raise_("cohort.scan.0", "maxRss")),
    ("tasks of a cohort", lambda p: p.raise_("cohort.scan.0", "tasks", -1)),
    ("retries", lambda p: p.raise_("cohort.scan.0", "retried")),
    ("superseded", lambda p: p.raise_("superseded.scan.0", "memberCount")),
    ("superseded alike", lambda p: p.raise_("superseded.scan.0", "sameDigest")),
    ("what failed", lambda p: p.set(_failed_of(p), "failure", '{"class":"exit","count":5,"detail":2}')),
    ("who recovered", lambda p: p.set(_failed_of(p), "recovery", '{"into":"cohort.scan.1","tasks":5}')),
    ("no result", lambda p: p.raise_("map.scan", "noResult")),
    ("the largest parameter", lambda p: p.set("parameter.scan.0", "maximum", "100")),
    ("distinct parameters", lambda p: p.raise_("parameter.scan.0", "distinct")),
    ("values of a parameter", lambda p: p.set("parameter.scan.1", "values", "[0,1,2,3]")),
    ("kinds of a parameter", lambda p: p.set("parameter.scan.0", "kind", "number")),
    ("a parameter more", _invent_a_parameter),
    ("where failures lie", lambda p: p.set("parameter.scan.2.0", "minimum", "0")),
    ("what has not run", lambda p: p.set("parameter.obs.1.0", "maximum", "7")),
    ("what was added", lambda p: p.set("parameter.scan.added.1.0", "maximum", "9")),
    ("how much was added", lambda p: p.raise_("submission.scan.1", "tasksAdded")),
    ("from where on it was added", lambda p: p.raise_("submission.scan.1", "firstTask", -1)),
    ("results replaced", lambda p: p.raise_("v.results.scan.1.superseded.scan.0", "membersReplaced")),
    ("equal results replaced", lambda p: p.raise_("v.results.scan.1.superseded.scan.0", "membersEqual")),
    ("a start", _start_earlier),
]


@pytest.mark.parametrize("lie", [lie for _, lie in NUMBERS], ids=[one[0] for one in NUMBERS])
def test_a_number_that_the_records_do_not_give_is_found(
    published: Published, tmp_path: Path, lie: Callable[[Page], None]
) -> None:
    page = Page(read_page(published.page))
    lie(page)
    page.seal()
    path = page.write(tmp_path / "page.nt")
    assert verify(path).problems == []
    found = verify(path, leaves=published.leaves).problems
    assert found, "nobody noticed"
    assert found[0].startswith("numbers-are-those-of-the-leaves: "), found


def _step(change: Callable[[list[object]], object]) -> Callable[[dict[str, object]], None]:
    def lie(proof: dict[str, object]) -> None:
        path = proof["path"]
        assert isinstance(path, list)
        change(path)

    return lie


def _record(old: str, new: str) -> Callable[[dict[str, object]], None]:
    def lie(proof: dict[str, object]) -> None:
        assert old in str(proof["record"])
        proof["record"] = str(proof["record"]).replace(old, new, 1)

    return lie


PROOFS: list[tuple[str, str, Callable[[dict[str, object]], object]]] = [
    ("another parameter", "proof-leads-to-the-root", _record('"y":3', '"y":2')),
    ("another time", "proof-is-whole", _record('"wall_us":1000', '"wall_us":999')),
    ("not canonical", "proof-is-whole", _record('"v":1', '"v":1 ')),
    ("another level", "record-belongs-to-its-group", _record('"level":0', '"level":1')),
    ("another hash", "proof-leads-to-the-root", _step(lambda path: path[0].__setitem__(1, "0" * 64))),  # type: ignore[attr-defined]
    ("another sum", "proof-leads-to-the-root", _step(lambda path: path[0][0].__setitem__(5, 7))),  # type: ignore[index]
    ("a sibling of another size", "proof-leads-to-the-root",
     _step(lambda path: path[0].__setitem__(0, [2, 2, 0, 0, 0, 7]))),  # type: ignore[attr-defined]
    ("impossible sums", "proof-is-whole", _step(lambda path: path[0].__setitem__(0, [2, 1, 0, 0, 0, 7]))),  # type: ignore[attr-defined]
    ("sums of 2^63", "proof-is-whole", _step(lambda path: path[0][0].__setitem__(5, 2**63))),  # type: ignore[index]
    ("a step fewer", "proof-leads-to-the-root", _step(lambda path: path.pop())),
    ("a step more", "proof-leads-to-the-root", _step(lambda path: path.append(path[0]))),
    ("another place", "proof-leads-to-the-root", lambda proof: proof.__setitem__("position", 6)),
    ("no place", "proof-leads-to-the-root", lambda proof: proof.__setitem__("position", 10**6)),
    ("another group", "record-belongs-to-its-group", lambda proof: proof.__setitem__("group", 1)),
    ("no group", "proof-is-of-this-page", lambda proof: proof.__setitem__("group", 9)),
    ("another map", "proof-is-of-this-page", lambda proof: proof.__setitem__("map", "obs")),
    ("another version", "proof-is-whole", lambda proof: proof.__setitem__("v", 2)),
]


@pytest.mark.parametrize(("check", "lie"), [(check, lie) for _, check, lie in PROOFS], ids=[one[0] for one in PROOFS])
def test_a_lie_in_a_proof_is_found_by_name(
    published: Published, tmp_path: Path, check: str, lie: Callable[[dict[str, object]], object]
) -> None:
    proof = json.loads(published.proof.read_bytes())
    lie(proof)
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(proof))
    found = verify(published.page, member=path).problems
    assert found, "nobody noticed"
    assert found[0].startswith(f"{check}: "), found


def test_a_proof_for_another_page_does_not_hold(published: Published) -> None:
    found = verify(published.other, member=published.proof).problems
    assert found
    assert found[0].partition(":")[0] in {"proof-leads-to-the-root", "record-belongs-to-its-group"}
