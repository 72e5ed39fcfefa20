"""Which tasks a condition means."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

from fixtures.lab import Fate, Lab, fails, xs
from provrun.core.canonical import Blob
from provrun.core.conditions import parse
from provrun.core.records import Dependency
from provrun.core.states import Outcome
from provrun.errors import NotFound, UsageError
from provrun.project import asking
from provrun.query.selecting import Names, Unnamed, select


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Give a map of ten tasks that no test changes: 0 to 5 succeeded, 6 and 7 failed, 8 and 9 pending."""
    lab = Lab(tmp_path_factory.mktemp("scan"))
    lab.submit("scan", [{"x": x, "kind": "gap" if x % 2 else "energy"} for x in range(10)], tags={"paper": "one"})
    lab.run("scan", lambda params, number: Fate(result={"y": params["x"] ** 2, "deep": {"a": params["x"]}}), limit=6)
    lab.run("scan", fails(Outcome.EXIT, detail=3, error="no"), limit=2)
    lab.submit("other", [{"z": 4}])
    yield lab
    lab.close()


@pytest.mark.parametrize(
    ("where", "meant"),
    [
        ("x > 7", [8, 9]),
        ("param.x in [1, 2.0, 11]", [1, 2]),
        ("kind == gap and x < 4", [1, 3]),
        ("kind == 'energy' and not x < 6", [6, 8]),
        ("y >= 16", [4, 5]),
        ("result.y == 9", [3]),
        ("result.deep.a == 2", [2]),
        ("deep.a == 2", [2]),
        ("state == failed", [6, 7]),
        ("state = pending or exit = 3", [6, 7, 8, 9]),
        ("outcome == exit", [6, 7]),
        ("outcome in [exit, signal] and exit == 3", [6, 7]),
        ("exit != 0", [6, 7]),
        ("attempt == 1 and seconds > 1", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("index == 4", [4]),
        ("index == 4 and state == failed", []),
        ("index = 400", []),
        ("tag.paper == one and x = 0", [0]),
        ("node == n1 and max_rss > 1000000 and x <= 1", [0, 1]),
        ("stale", []),
        ("not stale and x == 5.0", [5]),
        ("job == 2", [6, 7]),
        ("error == no", [6, 7]),
        ("x == 3 and x == 4", []),
        ("state == succeeded and state == failed", []),
    ],
)
def test_a_condition_means_these_tasks(scan: Lab, where: str, meant: list[int]) -> None:
    assert [row["index"] for row in scan.rows("scan", where)] == meant
    assert list(asking.matching(scan.project, scan.project.map("scan"), where)) == meant


def test_code_and_environment_are_known_by_their_first_digits(scan: Lab) -> None:
    digest = scan.commit.digest
    assert len(scan.rows("scan", f"code == '{digest[:6]}'")) == 8
    assert len(scan.rows("scan", f"code == 'code:{digest}'")) == 8
    assert scan.rows("scan", "code == '0123456789'") == []
    assert len(scan.rows("scan", f"environment == '{scan.python.digest[:12]}'")) == 8


def test_a_parameter_goes_before_a_key_of_the_result_and_that_before_a_field(lab: Lab) -> None:
    lab.submit("scan", [{"x": 1, "state": "solid"}])
    lab.run("scan", lambda params, number: Fate(result={"x": 2, "exit": "left"}))
    assert lab.rows("scan", "x == 1") and not lab.rows("scan", "x == 2")
    assert lab.rows("scan", "result.x == 2")
    assert lab.rows("scan", "state == solid") and not lab.rows("scan", "state == succeeded")
    assert lab.rows("scan", "exit == left")


def test_a_key_of_the_result_goes_before_a_field_also_where_the_field_has_an_index(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2))
    lab.run("scan", lambda params, number: Fate(result={"state": "solid", "index": 7} if params["x"] == 1 else {}))
    assert [row["index"] for row in lab.rows("scan", "state == solid")] == [0]
    assert [row["index"] for row in lab.rows("scan", "state == succeeded")] == [1]
    assert [row["index"] for row in lab.rows("scan", "index == 7")] == [0]
    assert [row["index"] for row in lab.rows("scan", "index == 1")] == [1]


def test_a_key_that_some_results_have_is_known_though_nothing_fits(scan: Lab) -> None:
    assert scan.rows("scan", "y == 7") == scan.rows("scan", "deep.a < -1") == scan.rows("scan", "result.y > 100") == []
    with pytest.raises(Unnamed, match=r"anything named deep\.b"):
        scan.rows("scan", "deep.b > 1")


def test_a_name_that_nothing_has_is_told_beside_a_thousand_arrays(lab: Lab) -> None:
    lab.submit("scan", xs(*range(1100)))
    array = Blob({"digest": "a" * 64, "format": "npy", "size": 320})
    lab.run("scan", lambda params, number: Fate(result={"values": array} if params["x"] % 2 else array))
    with pytest.raises(Unnamed, match="anything named valuess") as caught:
        lab.rows("scan", "valuess > 3")
    assert lab.rows("scan", "values > 3") == []
    assert caught.value.next == "its parameters are x"


def test_words_of_states_are_text_even_when_results_have_such_keys(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    lab.run("scan", lambda params, number: Fate(result={"succeeded": 17}))
    assert len(lab.rows("scan", "state == succeeded")) == 1
    assert len(lab.rows("scan", "result.succeeded == 17")) == 1


def test_an_unknown_name_gets_the_nearest_one(scan: Lab) -> None:
    with pytest.raises(UsageError, match="anything named kindd") as caught:
        scan.rows("scan", "kindd == gap")
    assert caught.value.next == "did you mean kind?"
    assert scan.rows("scan", "kindd == gap or x == 1")[0]["index"] == 1


def test_inherited_parameters_can_be_asked_for(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2))
    lab.run("scan")
    lab.submit("obs", [{"kind": "a"}, {"kind": "b"}], on=[Dependency(upstream="scan", kind="each")])
    assert [row["index"] for row in lab.rows("obs", "x == 2 and kind == a")] == [2]


def test_the_database_sieves_by_state_index_and_parameters(scan: Lab) -> None:
    view = scan.view()
    record = view.map("scan")

    def looked_at(where: str) -> int:
        return sum(1 for _ in Names(view, record, parse(where)).sieved(None))

    assert looked_at("state == failed and x > 1") == 2
    assert looked_at("index == 3") == 1
    assert looked_at("x == 3.0") == 1
    assert looked_at("param.kind == 'gap'") == 5
    assert looked_at("y == 9") == looked_at("result.y == 9") == 1
    assert looked_at("exit == 3") == looked_at("exit != 0") == looked_at("outcome = exit") == 2
    assert looked_at("y > 8") == looked_at("8 < result.y") == 3
    assert looked_at("x <= 2 and kind = 'gap'") == 1
    assert looked_at("x in [1, 2] or y = 25") == 3
    assert looked_at("job = 2") == 2
    assert looked_at("seconds > 2") == looked_at("stale") == looked_at("tag.paper = two") == looked_at("map = b") == 0
    assert looked_at("not x = 1") == 10


def test_a_sieve_on_numbers_keeps_all_that_are_equal_by_value(lab: Lab) -> None:
    lab.submit("scan", xs(0, 0.0, -0.0, 1, 1.0, True, "1", 1e16, 10**16))
    assert [row["index"] for row in lab.rows("scan", "x == 0")] == [0, 1, 2]
    assert [row["index"] for row in lab.rows("scan", "x == 1.0")] == [3, 4]
    assert [row["index"] for row in lab.rows("scan", "x == true")] == [5]
    assert [row["index"] for row in lab.rows("scan", "x == '1'")] == [6]
    assert [row["index"] for row in lab.rows("scan", "x == 10000000000000000")] == [7, 8]


def test_find_looks_through_all_maps_and_ends_with_exit_4_when_nothing_fits(scan: Lab) -> None:
    assert [row["task"] for row in asking.find(scan.project, "z == 4")] == ["other/0"]
    assert [row["task"] for row in asking.find(scan.project, "state == pending")] == ["scan/8", "scan/9", "other/0"]
    with pytest.raises(NotFound, match="no task fits") as caught:
        list(asking.find(scan.project, "x > 100"))
    assert caught.value.exit == 4
    with pytest.raises(NotFound, match="anything named nothing"):
        list(asking.find(scan.project, "nothing > 100"))


def test_a_few_tasks_of_many_are_found_without_looking_at_the_others(lab: Lab) -> None:
    lab.submit("scan", xs(*range(3000)))
    view = lab.view()
    first = next(islice(select(view, view.map("scan"), parse("x >= 0")), 1))
    assert first.task.index == 0


def test_an_empty_map_has_no_unknown_names(lab: Lab) -> None:
    lab.submit("none", [])
    assert lab.rows("none", "what == 1") == []
    with pytest.raises(Unnamed):
        lab.submit("one", xs(1))
        lab.rows("one", "what == 1")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Give a map whose results have names that ends of attempts have too, and two tasks that have not run."""
    lab = Lab(tmp_path_factory.mktemp("mixed"))
    lab.submit("scan", [{"x": x} for x in range(16)])

    def decide(params: dict[str, Any], number: int) -> Fate:
        x = params["x"]
        if x < 4:
            return Fate(outcome=(Outcome.EXIT, Outcome.SIGNAL)[x % 2], detail=9)
        found: dict[str, Any] = {"late": x, "exit": 9, "y": float(x), "e.f": x, "deep": {"y": 5, "n": None}}
        return Fate(result=found if x < 10 else (x, "text", True, [{"y": 5}])[x % 4])

    lab.run("scan", decide, limit=14)
    yield lab
    lab.close()


@pytest.mark.parametrize("value", ["0", "3", "5", "6.0", "9", "13", "text", "true", "exit", "signal", "nan", "null"])
@pytest.mark.parametrize(
    "name", ["x", "late", "y", "e.f", "exit", "signal", "outcome", "result.y", "result.late", "result.deep.y",
             "result.exit", "param.late", "deep.n", "result"],
)  # fmt: skip
def test_no_task_that_a_condition_means_is_ruled_out_by_the_database(mixed: Lab, name: str, value: str) -> None:
    where = parse(f"{name} = {value}")
    view, map = mixed.view(), mixed.project.map("scan")
    names = Names(view, map, where)
    meant = [shown.task.index for shown in view.reads.stream(map.id) if names.hold(shown)]
    assert [shown.task.index for shown in names.sieved(None) if names.hold(shown)] == meant
