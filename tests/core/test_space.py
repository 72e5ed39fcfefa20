"""Parameter spaces: what is in them, in which order, streamed in constant memory."""

from __future__ import annotations

import tracemalloc
from collections import deque
from collections.abc import Iterator
from itertools import islice, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provrun.core.axes import Normal, Single, Uniform, lin, log
from provrun.core.canonical import encode
from provrun.core.space import Cell, Grid, Rows, Space, combine, from_mapping, from_rows, sample, zip_axes
from provrun.errors import InvalidInput, UsageError

NAMES = st.sampled_from(["a", "b", "c", "d", "B", "λ", "x1", "x10"])
VALUES = st.lists(st.integers(-5, 5) | st.floats() | st.text(max_size=3) | st.none(), min_size=1, max_size=4)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_a_grid_is_the_product_with_the_last_name_fastest(axes: dict[str, list[object]]) -> None:
    space = from_mapping(axes)
    expected = [encode(dict(zip(axes, values, strict=True))) for values in product(*axes.values())]
    assert list(space.texts()) == expected
    assert space.size == len(expected)
    assert not space.distinct or len(set(expected)) == len(expected)
    assert [encode(point) for point in space.points()] == expected
    assert [_text(space, index) for index in range(space.size)] == expected


@given(st.lists(st.lists(NAMES, min_size=1, max_size=3, unique=True), min_size=1, max_size=3), st.data())
def test_zipped_names_and_rows_multiply_the_grid_in_the_order_given(
    groups: list[list[str]], data: st.DataObject
) -> None:
    seen: set[str] = set()
    spaces: list[Space] = []
    rows: list[list[dict[str, object]]] = []
    for group in groups:
        names = [name for name in group if name not in seen]
        seen.update(names)
        size = data.draw(st.integers(1, 3))
        table = [{name: [name, number] for name in names} for number in range(size)]
        as_rows = data.draw(st.booleans())
        if names:
            spaces.append(from_rows(table) if as_rows else zip_axes({name: [r[name] for r in table] for name in names}))
            rows.append(table)
    space = combine(spaces)
    expected = [encode({k: v for row in combination for k, v in row.items()}) for combination in product(*rows)]
    assert list(space.texts()) == expected
    assert space.distinct
    assert [_text(space, index) for index in range(space.size)] == expected


def test_a_grid_of_nothing_is_one_point_without_parameters() -> None:
    assert list(from_mapping({}).texts()) == ["{}"]
    assert from_mapping({}).size == 1


def test_a_list_without_values_makes_an_empty_space() -> None:
    space = from_mapping({"x": [], "y": range(3)})
    assert (space.size, list(space.texts()), space.summary()) == (0, [], [("x", 0, None, None), ("y", 3, 0, 2)])


def test_the_same_text_comes_from_products_longer_than_what_is_kept_at_hand() -> None:
    axes = {"z": range(2), "b": range(70_000), "a": [0.5, "k"]}
    space = from_mapping(axes)
    expected = (encode({"z": z, "b": b, "a": a}) for z in axes["z"] for b in axes["b"] for a in axes["a"])
    assert all(map(str.__eq__, space.texts(), expected))
    assert sum(1 for _ in space.texts()) == space.size == 280_000


@pytest.mark.parametrize(
    "space",
    [
        from_mapping({"x": range(10**7)}),
        from_mapping({"y": range(3), "x": range(10**7)}),
        from_mapping({"x": lin(0, 1, 10**7), "y": range(2)}),
        Grid([zip_axes({"c": range(10**6), "a": range(10**6)}), from_mapping({"b": range(10)})]),
    ],
)
def test_ten_million_points_are_streamed_in_constant_memory(space: Space) -> None:
    texts = space.texts()
    next(texts)
    tracemalloc.start()
    try:
        deque(islice(texts, 200_000), maxlen=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert space.size >= 10**7
    assert peak < 16 * 2**20


def test_rows_of_a_source_are_read_anew_for_each_pass_and_never_kept() -> None:
    passes = []

    def read() -> Iterator[Cell]:
        passes.append(1)
        return ((str(number), '"t"') for number in range(3))

    space = Grid(
        [Rows(("n", "t"), 3, read, ends=[("0", '"t"'), ("2", '"t"')], distinct=True), from_mapping({"x": [1, 2]})]
    )
    assert space.summary() == [("n", 3, 0, 2), ("t", 3, "t", "t"), ("x", 2, 1, 2)]
    assert passes == []
    assert list(space.texts())[:3] == ['{"n":0,"t":"t","x":1}', '{"n":0,"t":"t","x":2}', '{"n":1,"t":"t","x":1}']
    assert len(passes) == 1


def test_python_values_are_swept_or_single() -> None:
    space = from_mapping(
        {
            "range": range(0, 10, 5),
            "list": [1, 1.0, True, "1"],
            "tuple": (None,),
            "array": np.array([0.5, 1.5]),
            "text": "ab",
            "dict": {"k": [1, 2]},
            "scalar": np.float64(2),
            "single": Single([1, 2]),
            "nothing": None,
        }
    )
    assert space.size == 2 * 4 * 2
    assert next(space.points()) == {
        "range": 0,
        "list": 1,
        "tuple": None,
        "array": 0.5,
        "text": "ab",
        "dict": {"k": [1, 2]},
        "scalar": 2.0,
        "single": [1, 2],
        "nothing": None,
    }
    assert [type(point["list"]) for point in islice(space.points(), 0, 8, 2)] == [int, float, bool, str]


def test_all_parameters_that_are_no_values_are_reported_together() -> None:
    with pytest.raises(InvalidInput) as raised:
        from_mapping({"good": 1, "set": {1}, "list": [1, b"x"], "grid": np.eye(2), "dist": Uniform(0, 1)})
    assert [problem.split(":")[0] for problem in raised.value.problems] == ["set", "list", "grid", "dist"]


@pytest.mark.parametrize("name", ["", "a b", "1a", "a-b", "a.b"])
def test_a_name_that_is_no_identifier_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no parameter name"):
        from_mapping({name: 1})


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="x is given twice"):
        combine([from_mapping({"x": [1]}), zip_axes({"x": [1], "y": [2]})])


def test_zipped_parameters_of_different_length_are_refused_with_their_lengths() -> None:
    with pytest.raises(UsageError, match="x has 2, y has 3"):
        zip_axes({"x": [1, 2], "y": range(3)})


def test_rows_that_name_other_parameters_are_all_reported() -> None:
    with pytest.raises(InvalidInput) as raised:
        from_rows([{"x": 1, "y": 2}, {"x": 1}, {"y": 2, "x": 3}, {"x": {1}, "y": 1}, 5])  # type: ignore[list-item]
    assert [problem.split(":")[0] for problem in raised.value.problems] == ["row 2", "row 4", "row 5"]


def test_rows_of_any_key_order_are_one_space_and_equal_rows_are_noticed() -> None:
    assert from_rows([{"x": 1, "y": 2}, {"y": 3, "x": 1}]).distinct
    assert not from_rows([{"x": 1, "y": 2}, {"y": 2, "x": 1}]).distinct


@given(st.integers(0, 50), st.integers(0, 50), st.integers(), st.sampled_from(["finite", "mixed"]))
def test_a_longer_sample_begins_with_the_shorter(one: int, more: int, seed: int, kind: str) -> None:
    axes: dict[str, object] = {"x": range(20), "y": ["a", "b", "c", "d", "e"]}
    if kind == "mixed":
        axes |= {"u": Uniform(-1, 1), "n": Normal(10, 2)}
    short, long = sample(axes, one, seed), sample(axes, one + more, seed)
    assert list(islice(long.texts(), one)) == list(short.texts())
    assert long.names == tuple(axes)
    assert not long.distinct or len(set(long.texts())) == long.size


def test_a_sample_as_large_as_its_grid_is_the_grid_in_another_order() -> None:
    axes: dict[str, object] = {"x": range(30), "y": range(7)}
    texts = list(sample(axes, 210, seed=3).texts())
    assert sorted(texts) == sorted(from_mapping(axes).texts())
    assert texts != list(from_mapping(axes).texts())
    assert sample(axes, 210, seed=3).distinct


def test_samples_of_different_seeds_differ() -> None:
    axes: dict[str, object] = {"x": range(1000), "u": Uniform(0, 1)}
    assert not set(sample(axes, 50, seed=1).texts()) & set(sample(axes, 50, seed=2).texts())


def test_what_one_parameter_draws_does_not_depend_on_the_others() -> None:
    alone = [point["u"] for point in sample({"u": Uniform(0, 1)}, 20, seed=5).points()]
    among = [point["u"] for point in sample({"n": Normal(0, 1), "u": Uniform(0, 1), "k": [1, 2]}, 20, seed=5).points()]
    assert alone == among


def test_every_point_of_a_small_grid_is_equally_likely_to_be_drawn_first() -> None:
    first = [next(sample({"x": range(5)}, 1, seed).points())["x"] for seed in range(2_000)]
    assert all(300 < first.count(value) < 500 for value in range(5))


def test_a_sample_of_more_points_than_there_are_is_refused() -> None:
    with pytest.raises(UsageError, match="a sample of 7 from the 6 points"):
        sample({"x": range(3), "y": "ab", "z": [1, 2]}, 7)


def test_a_sample_multiplies_a_grid() -> None:
    space = combine([sample({"u": Uniform(0, 1)}, 3), from_mapping({"L": [8, 10]})])
    points = list(space.points())
    assert [point["L"] for point in points] == [8, 10] * 3
    assert points[0]["u"] == points[1]["u"] != points[2]["u"]


def test_the_summary_says_how_many_first_and_last() -> None:
    space = combine(
        [zip_axes({"x": range(3), "y": lin(0, 1, 3)}), from_mapping({"k": ["a", "b"], "L": 12, "f": log(1, 100, 3)})]
    )
    assert space.summary() == [
        ("x", 3, 0, 2),
        ("y", 3, 0.0, 1.0),
        ("k", 2, "a", "b"),
        ("L", 1, 12, 12),
        ("f", 3, 1.0, 100.0),
    ]


def _text(space: Space, index: int) -> str:
    members = sorted(zip(space.names, space.cell(index), strict=True))
    return "{" + ",".join(f"{encode(name)}:{text}" for name, text in members) + "}"
