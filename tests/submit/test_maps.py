"""From a request to a map's record, against a real registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from provrun.core.code import CapturedCode, Code
from provrun.core.environment import Environment
from provrun.core.problems import Problems
from provrun.core.records import Dependency, MapSpec
from provrun.core.space import Space, from_mapping
from provrun.errors import InvalidInput, Refused
from provrun.store.registry import Registry
from provrun.submit.flow import Building
from provrun.submit.maps import Built, build
from provrun.submit.policies import unheeded
from provrun.submit.request import Request, pairs


class Place:
    """A folder with a registry, in which maps are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = Registry.create(f"sqlite:///{folder / 'registry.sqlite'}")
        self.code = self.registry.intern_code(CapturedCode(Code(kind="files", root="/")), 1)
        self.environment = self.registry.intern_environment(Environment(python="3", implementation="cpython"), 1)

    def ask(self, name: str, words: str = "", space: Space | None = None, **given: Any) -> Built:
        parameters = space if space is not None else from_mapping(given.pop("params", {}))
        request = Request(
            name=name, folder=self.folder, root=self.folder, words=tuple(words.split()),
            **given,
        )
        return build(request, parameters, self.registry, Problems(name))

    def put(self, name: str, words: str = "", **given: Any) -> MapSpec:
        space = from_mapping(given.pop("params", {}))
        built = self.ask(name, words, space, **given)
        self.registry.submit(
            built.spec, space.texts(), distinct=space.distinct, code=self.code, environment=self.environment, at=1
        )
        return built.spec

    def problems(self, name: str, words: str = "", **given: Any) -> list[str]:
        with pytest.raises(InvalidInput) as refused:
            self.ask(name, words, **given)
        return refused.value.problems


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.registry.close()


@pytest.fixture
def upstream(place: Place) -> Place:
    place.put("A", "make {x} {output.table}", params={"x": range(3), "y": [1, 2]}, outputs={"table": "out/{x}-{y}"})
    return place


def test_a_command_map_has_the_recipe_asked_for(place: Place) -> None:
    built = place.ask(
        "scan", "analyze -x {x} {index} {params}", params={"x": range(3)}, outputs={"table": "out/{x}.csv"},
        inputs=("in/{x}",), policy={"task_time": "1h30m", "task_memory": "4G", "retries": "2", "retry_time": "x2"},
        tags={"who": "ada"}, priority=3,
    )
    spec = built.spec
    assert (spec.recipe.kind, spec.recipe.words) == ("command", ("analyze", "-x", "{x}", "{index}", "{params}"))
    assert (spec.own, spec.workdir, spec.tags, spec.priority) == (("x",), ".", {"who": "ada"}, 3)
    assert (spec.policy.task_time, spec.policy.task_memory, spec.policy.retries) == (5400.0, 4 << 30, 2)
    assert built.existing is None


def test_all_problems_are_told_at_once(place: Place) -> None:
    found = place.problems(
        "1scan", "analyze {z} {output.tabel}", params={"x": range(3)}, outputs={"table": "/out/{x}"},
        policy={"task_time": "soon", "cores": "0", "retry_memory": "x2", "code": "frozen"}, result="json",
        building=Building(each=("nothing",)),
    )
    text = "\n".join(found)
    for part in ("1scan", "no map named nothing", "beneath the working folder", "'soon' is no duration", "--cores",
                 "--retry-memory multiplies", "--code", "--result json"):
        assert part in text
    assert len(found) == 8
    found = place.problems("scan", "analyze {z} {output.tabel}", params={"xx": [1]}, outputs={"table": "out"})
    assert ["{z} is unknown" in found[0], "did you mean {output.table}?" in found[1]] == [True, True]


@pytest.mark.parametrize("name", ["", "1a", "a b", "a.b", "-a", "ä"])
def test_a_map_has_a_plain_name(place: Place, name: str) -> None:
    assert "is no name of a map" in place.problems(name, "true")[0]


def test_an_unknown_upstream_map_gets_the_nearest(upstream: Place) -> None:
    upstream.put("spectra", "true")
    assert place_problem(upstream, Building(each=("spectre",))) == "no map named spectre; did you mean spectra?"


def place_problem(place: Place, building: Building) -> str:
    (problem,) = place.problems("B", "true", building=building)
    return problem


@pytest.mark.parametrize(
    ("building", "says"),
    [
        (Building(each=("A", "B")), "give one --each or --group"),
        (Building(each=("B",)), "B cannot build on itself"),
        (Building(each=("A",), after=("A",)), "A is named 2 times"),
        (Building(group=("A",)), "by which parameters?"),
        (Building(group=("A",), by=("z",)), "A has no parameter z; it has x, y"),
        (Building(group=("A",), by=("x",), chunk=2), "two ways to cut"),
        (Building(chunk=2), "say which with --group"),
        (Building(group=("A",), chunk=0), "--chunk 0"),
        (Building(by=("x",)), "say which with --group"),
        (Building(each=("A",), on_failed="skip"), "--on-failed is for maps that read many"),
    ],
)
def test_a_dependency_that_means_nothing_is_told(upstream: Place, building: Building, says: str) -> None:
    assert any(says in problem for problem in upstream.problems("B", "true", building=building))


@pytest.mark.parametrize(
    ("building", "dependency", "inherited"),
    [
        (Building(each=("A",)), Dependency(upstream="A", kind="each"), ("x", "y")),
        (Building(group=("A",), by=("y",)), Dependency(upstream="A", kind="group", by=("y",)), ("y",)),
        (Building(group=("A",), chunk=4), Dependency(upstream="A", kind="chunk", chunk=4), ("chunk",)),
        (Building(all=("A",), chunk=4), Dependency(upstream="A", kind="chunk", chunk=4), ("chunk",)),
        (Building(all=("A",), on_failed="skip"), Dependency(upstream="A", kind="all", on_failed="skip"), ()),
        (Building(after=("A",)), Dependency(upstream="A", kind="after"), ()),
    ],
)
def test_a_dependency_says_what_is_inherited(
    upstream: Place, building: Building, dependency: Dependency, inherited: tuple[str, ...]
) -> None:
    built = upstream.ask("B", "true", building=building)
    assert built.spec.dependencies == (dependency,)
    assert built.flow.inherited == inherited


def test_what_flows_from_upstream_may_stand_in_a_command(upstream: Place) -> None:
    words = "use {x} {k} {A.result} {A.result.gap} {A.param.y} {A.output.table} {task}"
    assert upstream.ask("B", words, params={"k": [1]}, building=Building(each=("A",))).spec.own == ("k",)
    assert upstream.ask("C", "sum {A.rows} {y}", building=Building(group=("A",), by=("y",)))
    upstream.put("B", "use {A.result}", building=Building(each=("A",)))
    assert upstream.ask("D", "use {B.result} {A.result.gap} {A.output.table} {x}", building=Building(each=("B",)))


@pytest.mark.parametrize(
    ("words", "building", "says"),
    [
        ("{A.param.z}", Building(each=("A",)), "A has no param z"),
        ("{A.output.tabel}", Building(each=("A",)), "did you mean table?"),
        ("{A.rows}", Building(each=("A",)), "write {A.result}"),
        ("{A.result}", Building(all=("A",)), "{A.rows} is the file of their rows"),
        ("{A.result}", Building(after=("A",)), "{A.result} is unknown"),
        ("{x}", Building(group=("A",), by=("y",)), "{x} is unknown"),
    ],
)
def test_what_does_not_flow_is_told(upstream: Place, words: str, building: Building, says: str) -> None:
    assert says in upstream.problems("B", f"use {words}", building=building)[0]


def test_a_name_means_one_thing(upstream: Place) -> None:
    clash = upstream.problems("B", "use {x}", params={"x": [1]}, building=Building(each=("A",)))
    assert "the parameter x comes from the map it builds on" in clash[0]
    clash = upstream.problems("B", "use {A}", params={"A": [1]}, building=Building(each=("A",)))
    assert "the name of a map it builds on" in clash[0]
    assert "always known" in upstream.problems("B", "use {index}", params={"index": [1]})[0]


def test_a_function_takes_what_it_is_given(upstream: Place) -> None:
    (upstream.folder / "study.py").write_text("def f(x, k, gap): ...\ndef g(rows, y): ...\n")
    each = Building(each=("A",))
    recipe = upstream.ask("B", function="./study.py:f", params={"k": [1]}, building=each).spec.recipe
    assert (recipe.kind, recipe.function) == ("function", "study.py:f")
    assert upstream.ask("C", function="study:g", building=Building(group=("A",), by=("y",)))
    assert "f takes no kk: did you mean k?" in upstream.problems(
        "B", function="study.py:f", params={"kk": [1]}, building=each
    )[0]
    missing = upstream.problems("B", function="study.py:f", params={"x": [1]})
    assert missing == ["f needs k: add --param k=...", "f needs gap: add --param gap=..."]


@pytest.mark.parametrize(
    ("path", "params", "good"),
    [
        ("out/{x}-{y}", {"x": range(3), "y": range(2)}, True),
        ("out/{x}", {"x": range(3), "y": [1]}, True),
        ("out/{x}", {"x": range(3), "y": range(2)}, False),
        ("out/all", {"x": range(3)}, False),
        ("out/all", {"x": [1]}, True),
        ("out/{index}", {"x": range(3)}, True),
        ("out/{task}", {"x": range(3)}, True),
    ],
)
def test_an_output_that_several_tasks_would_write_is_refused(
    place: Place, path: str, params: dict[str, Any], good: bool
) -> None:
    if good:
        assert place.ask("scan", "true", params=params, outputs={"o": path})
    else:
        assert "several tasks would write this file" in place.problems(
            "scan", "true", params=params, outputs={"o": path}
        )[0]


def test_an_output_of_each_names_something_from_above(upstream: Place) -> None:
    each = Building(each=("A",))
    assert upstream.ask("B", "true", outputs={"o": "b/{x}-{y}"}, building=each)
    assert "name {x}, {y} or {index}" in upstream.problems("B", "true", outputs={"o": "b/all"}, building=each)[0]


def test_another_recipe_under_an_existing_name_is_refused_with_the_difference(upstream: Place) -> None:
    given: dict[str, Any] = {"params": {"x": range(3), "y": [1, 2]}, "outputs": {"table": "out/{x}-{y}"}}
    assert upstream.ask("A", "make {x} {output.table}", **given).existing is not None
    with pytest.raises(Refused) as refused:
        upstream.ask("A", "make -v {x} {output.table}", **given)
    assert "words: make '{x}' '{output.table}' -> make -v '{x}' '{output.table}'" in str(refused.value)
    with pytest.raises(Refused, match=r"parameters: x y -> x"):
        upstream.ask("A", "make {x} {output.table}", params={"x": range(3)}, outputs={"table": "out/{x}-{index}"})


def test_a_map_keeps_policy_that_is_not_given_again(place: Place) -> None:
    place.put("scan", "echo {x}", params={"x": [1]}, policy={"cores": 4, "task_time": "1h"}, priority=7)
    again = place.ask("scan", "echo {x}", params={"x": [1, 2]}, policy={"task_time": "2h"})
    assert (again.spec.policy.cores, again.spec.policy.task_time, again.spec.priority) == (4, 7200.0, 7)
    assert again.existing is not None
    assert msgspec.structs.replace(again.spec.policy, task_time=3600.0) == again.existing.policy


def test_policy_that_does_less_for_a_function_is_told(place: Place) -> None:
    policy = place.ask("scan", "true", policy={"gpus": 1, "checkpoint": True, "task_nodes": 2, "ranks": 4}).spec.policy
    assert [note.split()[0] for note in unheeded(policy, "function")] == ["--ranks", "--task-nodes"]
    assert unheeded(policy, "command") == []


def test_pairs_are_read_with_every_problem() -> None:
    problems = Problems("tags")
    assert pairs("--tag", ["a=1", "b=x=y", "c", "a=2", "=3", "d="], problems) == {"a": "1", "b": "x=y"}
    with pytest.raises(InvalidInput) as refused:
        problems.raise_any()
    assert len(refused.value.problems) == 4
