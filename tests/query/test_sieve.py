"""The sieve that a database is given never loses a task that a condition means."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from fixtures.lab import Fate, Lab
from provrun.core.canonical import encode
from provrun.core.conditions import parse
from provrun.core.records import Match
from provrun.core.states import Outcome
from provrun.core.terms import equal
from provrun.query.selecting import Names
from provrun.query.sieving import texts
from provrun.store.reads import Reads

NUMBERS = some.one_of(
    some.integers(-(2**70), 2**70), some.integers(-3, 3), some.floats(), some.sampled_from([0.0, -0.0, 1e16, 2.0**53])
)
VALUES = some.one_of(NUMBERS, some.booleans(), some.none(), some.text(max_size=5))

POINTS: list[Any] = [
    0, -0.0, 1, 1.0, True, False, None, "1", "gap", "y", 2**53, 2.0**53, 2**53 + 1, 10**400, -(10**400), 1e308, 5e-324,
    0.1, 0.1 + 2**-56, math.nan, math.inf, -math.inf, [1], {"a": 1}, "\x00", "é", 7, 3.5, -2, 1e-05,
]
RESULTS: list[Any] = [
    None, 3, "text", [1, 2], {"y": 1}, {"y": 0.1}, {"y": math.inf}, {"y": "gap"}, {"gap": 2, "y": None}, {"exit": 0},
    {"exit": "left"}, {"state": "failed", "y": -1}, {"stale": True}, {"index": 3}, {"deep": {"a": 1}}, {"deep.a": 2},
    {"seconds": 100}, {"node": "n1"}, {"y": "é" * 2500, "gap": 5}, {"n1": 4}, {"deep": {"y": 7}}, {"y": 10**400},
    {"y": 0.25, "gap": 9, "long": "e" * 70_000},
]
ENDS = [
    Fate(Outcome.EXIT, detail=3, error="no"), Fate(Outcome.SIGNAL, detail=9), Fate(Outcome.EXCEPTION, error="E"),
    Fate(Outcome.TIMEOUT, seconds=60), Fate(Outcome.LAUNCHER, detail=127), Fate(Outcome.MEMORY, rss=10**6),
]
NAMES = [
    "x", "param.x", "kind", "y", "result.y", "gap", "exit", "state", "stale", "index", "outcome", "signal", "seconds",
    "cpu_seconds", "max_rss", "node", "job", "attempt", "attempts", "code", "environment", "deep.a", "result.deep.a",
    "map", "task", "error", "started", "tag.paper", "result.exit", "result", "n1", "param.none",
]
CONSTANTS = [
    "0", "1", "-1", "0.1", "0.10000000000000001", "3", "2", "9007199254740992", "9007199254740993", "1e308", "5e-324",
    "0.25", "inf", "-inf", "nan", "1" + "0" * 400, "true", "false", "null", "gap", "'1'", "failed", "pending",
    "succeeded", "running", "exit", "timeout", "n1", "scan", "other", "'left'", "60", "1.5", "2048000", "100", "one",
    "y", "x", "''", "'\u00e9'", "aaaaaaaa", "[1, failed, gap]", "[0.1, 3, exit]", "[]",
]
SIGNS = ["=", "!=", "<", "<=", ">", ">="]
COMPARISONS = some.one_of(
    some.tuples(some.sampled_from(NAMES), some.sampled_from(SIGNS), some.sampled_from(CONSTANTS)).map(" ".join),
    some.tuples(some.sampled_from(CONSTANTS), some.sampled_from(SIGNS), some.sampled_from(NAMES)).map(" ".join),
    some.tuples(
        some.sampled_from(NAMES), some.sampled_from(["in", "not in"]), some.sampled_from(CONSTANTS)
    ).map(" ".join),
    some.sampled_from(["stale", "not stale", "x", "y"]),
)
CONDITIONS = some.recursive(
    COMPARISONS,
    lambda terms: some.one_of(
        some.tuples(terms, some.sampled_from([" and ", " or "]), terms).map(lambda parts: f"({''.join(parts)})"),
        terms.map(lambda term: f"not ({term})"),
    ),
    max_leaves=4,
)


@given(VALUES, VALUES, some.text(max_size=5), some.dictionaries(some.text(max_size=3), VALUES, max_size=3))
def test_whatever_equals_a_value_passes_its_sieve(held: object, wanted: object, name: str, others: object) -> None:
    assert isinstance(others, dict)
    params = encode({**others, name: held})
    sieve = texts(name, wanted)
    if equal(held, wanted):
        assert not sieve or any(text in params for text in sieve)


@given(some.integers(-(2**40), 2**40), some.text(max_size=5))
def test_a_sieve_for_a_number_holds_all_its_forms(number: int, name: str) -> None:
    sieve = texts(name, number)
    assert encode({name: number})[1:-1] in sieve
    assert encode({name: float(number)})[1:-1] in sieve


@pytest.fixture(params=["sqlite", "postgresql"])
def varied(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """Give a map of 56 tasks of every kind: succeeded under two codes, failed, reused, retried, running, pending."""
    lab = Lab(tmp_path, None if request.param == "sqlite" else request.getfixturevalue("postgres_url"))
    points = [{"x": x, "kind": kind} for kind in ("gap", "energy") for x in POINTS]
    lab.use("model.py", "one")
    lab.submit("other", [{"x": 1}])
    lab.run("other", lambda params, number: Fate(result={"y": 5}))
    lab.submit("scan", points, tags={"paper": "one"})
    scan, other = (lab.project.map(name).id for name in ("scan", "other"))
    results = iter(RESULTS * 2)
    lab.run("scan", lambda params, number: Fate(result=next(results)), limit=25)
    lab.use("model.py", "two")
    lab.run("scan", lambda params, number: Fate(result=next(results), seconds=0.25), limit=10)
    ends = iter(ENDS * 2)
    lab.run("scan", lambda params, number: next(ends), limit=12)
    lab.registry.rerun(scan, [1, 30])
    lab.run("scan", lambda params, number: Fate(result={"y": 9}), limit=2)
    assert lab.registry.take_over(scan, None, [Match(50, other, 0, 1)]).tasks == (50,)
    lab.claim("scan", lab.open_job(), 3)
    yield lab
    lab.close()


def test_a_sieve_loses_nothing_that_a_condition_means(varied: Lab) -> None:
    view = varied.view()
    assert isinstance(view.reads, Reads)
    view.reads.stretch = 9  # so that tasks lie in several
    map = view.map("scan")
    every = list(view.reads.stream(map.id))
    assert {shown.task.state.word for shown in every} == {"succeeded", "failed", "pending", "running"}

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(CONDITIONS)
    def compare(where: str) -> None:
        names = Names(view, map, parse(where))
        meant = [shown.task.index for shown in every if names.hold(shown)]
        assert [shown.task.index for shown in names.sieved(None) if names.hold(shown)] == meant

    compare()
