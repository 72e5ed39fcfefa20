"""Parameters of the command line: every form of --param, --zip and --sample, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from provrun.core.space import Space
from provrun.errors import InvalidInput, UsageError
from provrun.submit.parameters import build_space


def space(*params: str, zips: Sequence[str] = (), sample: int | None = None, seed: int | None = None) -> Space:
    return build_space(params, zips, [], sample, seed)


def values(param: str) -> list[object]:
    return [point["x"] for point in space(param).points()]


def problems(
    *params: str, zips: Sequence[str] = (), files: Sequence[Path] = (), sample: int | None = None
) -> list[str]:
    with pytest.raises(InvalidInput) as raised:
        build_space(params, zips, files, sample, 0)
    return raised.value.problems


@pytest.mark.parametrize(
    ("param", "expected"),
    [
        ("x=0:5", [0, 1, 2, 3, 4]),
        ("x=-2:5:3", [-2, 1, 4]),
        ("x=3:0:-1", [3, 2, 1]),
        ("x=0:1:0.25", [0.0, 0.25, 0.5, 0.75]),
        ("x=0:0.3:0.1", [0.0, 0.1, 0.2]),
        ("x=1:0:-.5", [1.0, 0.5]),
        ("x=0.5:3", [0.5, 1.5, 2.5]),
        ("x=0:4e0:2", [0.0, 2.0]),
        ("x=5", [5]),
        ("x=a", ["a"]),
        ('x=1,2.0,true,null,a b,"1"', [1, 2.0, True, None, "a b", "1"]),
        ("x=a, b", ["a", "b"]),
        ('x=["1","a,b"]', ["1", "a,b"]),
        ('x=[[1,2],{"k":null}]', [[1, 2], {"k": None}]),
        ("x=[1,2],[3]", [[1, 2], [3]]),
        ('x={"a":1,"b":2}', [{"a": 1, "b": 2}]),
        ("x=lin:0:1:5", [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("x=log:1e-3:1:4", [0.001, 0.01, 0.1, 1.0]),
        ("x=lin:7:9:1", [7.0]),
        ("x:text=1,2", ["1", "2"]),
        ("x:text=0:5", ["0:5"]),
        ("x:text=lin:0:1:5", ["lin:0:1:5"]),
        ("x:text= a", [" a"]),
        ("x:text=", [""]),
        ("x=a:b", ["a:b"]),
        ("x=0:1:0.1:3", ["0:1:0.1:3"]),
        ("x=a=b", ["a=b"]),
        ("x=16:9,4:3", ["16:9", "4:3"]),
        ("x=logs", ["logs"]),
        ('x={"$float":"inf"}', [float("inf")]),
    ],
)
def test_a_parameter_takes_these_values(param: str, expected: list[object]) -> None:
    found = values(param)
    assert found == expected
    assert list(map(type, found)) == list(map(type, expected))


def test_a_hundredth_steps_a_hundred_times() -> None:
    found = values("x=0:1:0.01")
    assert found == [float(f"0.{hundredth:02d}") for hundredth in range(100)]


def test_several_parameters_make_the_grid_in_the_order_given() -> None:
    grid = space("y=0:2", "x=a,b")
    assert list(grid.texts()) == ['{"x":"a","y":0}', '{"x":"b","y":0}', '{"x":"a","y":1}', '{"x":"b","y":1}']
    assert (grid.names, grid.size, grid.distinct) == (("y", "x"), 4, True)


def test_no_parameter_at_all_is_one_point() -> None:
    assert list(space().texts()) == ["{}"]


def test_zipped_parameters_are_paired_where_the_first_of_them_stands() -> None:
    zipped = space("x=0:2", "k=a,b", "y=lin:0:1:2", zips=["y,x"])
    assert [(point["x"], point["y"], point["k"]) for point in zipped.points()] == [
        (0, 0.0, "a"),
        (0, 0.0, "b"),
        (1, 1.0, "a"),
        (1, 1.0, "b"),
    ]


def test_one_value_a_line_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "ids"
    file.write_bytes('\ufeff001\r\n7\r\n\r\n"7"\n [1, 2]\n  \nlast é'.encode())
    assert values(f"x=@{file}") == ["001", 7, "7", [1, 2], "last é"]
    assert values(f"x:text=@{file}") == ["001", "7", '"7"', " [1, 2]", "last é"]
    assert space(f"x=@{file}").summary() == [("x", 5, "001", "last é")]
    assert space(f"x=@{file}", "y=0:5", zips=["x,y"]).size == 5
    assert next(space(f"x=@{file}", sample=3).points())["x"] in values(f"x=@{file}")


def test_a_sample_draws_and_a_longer_one_contains_the_shorter() -> None:
    params = ("x=uniform:2:3", "n=normal:0:1", "L=8,10", "y=0:100")
    short, long = space(*params, sample=5, seed=3), space(*params, sample=50, seed=3)
    assert list(long.texts())[:5] == list(short.texts())
    assert all(2 <= point["x"] < 3 and point["L"] in (8, 10) for point in long.points())  # type: ignore[operator]
    assert list(space(*params, sample=5, seed=4).texts()) != list(short.texts())


def test_a_sample_of_a_grid_has_as_many_points_as_asked_for() -> None:
    sampled = space("x=0:30", "y=0:2", sample=50)
    assert len(set(sampled.texts())) == sampled.size == 50
    assert sampled.distinct


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("x", "write --param NAME=VALUES"),
        ("=1", "no parameter name"),
        ("a b=1", "no parameter name"),
        ("x-y=1", "no parameter name"),
        ("x:int=1", "no parameter name"),
        ("x=", "empty"),
        ("x=a,,b", "empty"),
        ("x=[]", "empty"),
        ("x=5:5", "no value lies from 5 to before 5"),
        ("x=16:9", "x:text=16:9"),
        ("x=0:9:0", "the step is 0"),
        ("x=0:1:0.0", "the step is 0"),
        ("x=1:2:1e-17", "smaller than the distance"),
        ("x=lin:0:1", "write lin:START:STOP:POINTS"),
        ("x=lin:0:1:0", "no number of points"),
        ("x=lin:a:1:3", "no finite number"),
        ("x=log:0:1:3", "must be positive"),
        ("x=log:debug", "x:text=log:debug"),
        ("x=uniform:1:0", "must be larger"),
        ("x=normal:0", "write normal:MEAN:DEVIATION"),
        ("x=uniform:0:1", "--sample N"),
        ("x=1e400", "beyond the range"),
        ('x={"a":1,"a":2}', "stands twice"),
        ("x=@/no/such/file", "No such file"),
        ("x=@/", "Is a directory"),
        ("x=0:99999999999999999999999", "2**63"),
        ("x=\udcff", "surrogate"),
    ],
)
def test_a_parameter_that_means_nothing_is_refused(param: str, message: str) -> None:
    (problem,) = problems(param)
    assert message in problem
    assert problem.startswith("--param ")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("x,y\n1\n")
    found = problems(
        "x=0:0", "y", "z=1", "z=2", "u=uniform:0:1", "v=1,2", "w=1,2,3", zips=["v,w", "v", "a,z", "u,z"], files=[table]
    )
    assert len(found) == 9
    assert any("z is given twice" in problem for problem in found)
    assert any("line 2: 1 values for 2 names" in problem for problem in found)
    assert any("v has 2, w has 3" in problem for problem in found)
    assert any("a is not given with --param" in problem for problem in found)


def test_a_sample_larger_than_the_grid_is_refused() -> None:
    with pytest.raises(UsageError, match="a sample of 7 from the 6 points"):
        space("x=0:3", "y=0:2", sample=7)


def test_a_sample_of_fewer_than_no_points_is_refused() -> None:
    with pytest.raises(UsageError, match="a sample of -1 points"):
        space("x=0:3", sample=-1)
