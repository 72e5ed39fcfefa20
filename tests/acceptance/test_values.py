"""Values keep their types from the command line through tasks and results to conditions and files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import pytest

from fixtures.cli import Cli
from fixtures.repositories import new_repository

VALUES = [
    1, 1.0, True, "1", None, {"$float": "nan"}, {"$float": "inf"}, [1, {"a": 2}], "line\nbreak", "ü 😀", "", "--help",
    "{x}", "$(id)", "-0.0", 12345678901234567890, "y" * 100_000,
]
WORK = """\
def echo(x, unused=3):
    return {"x": x, "type": type(x).__name__}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, isolated_home: None) -> Iterator[Cli]:
    """Give one function task per value that has come back, and the same values as arguments of a command."""
    cli = Cli(new_repository(tmp_path_factory.mktemp("values")))
    (cli.folder / "work.py").write_text(WORK)
    (cli.folder / "values.json").write_text(json.dumps([{"x": value} for value in VALUES]))
    assert cli("submit", "echo", "--params", "values.json", "--function", "work.py:echo").exit == 0
    command = ["--result", "stdout-text", "--", "printf", "%s", "{x}"]
    assert cli("submit", "words", "--params", "values.json", *command).exit == 0
    done = cli("run", "-j", "2")
    assert done.exit == 0, done.out + done.err
    yield cli


def test_values_come_back_as_they_were(study: Cli) -> None:
    rows = study("results", "echo", "--json").json["results"]
    kept = [row["params"]["x"] for row in rows]
    assert kept == VALUES
    assert list(map(type, kept)) == list(map(type, VALUES))
    assert [row["result"]["x"] for row in rows] == VALUES
    assert [row["result"]["type"] for row in rows][:7] == ["int", "float", "bool", "str", "NoneType", "float", "float"]
    assert {json.dumps(row["defaults"]) for row in rows} == {'{"unused": 3}'}


def test_commands_get_text_as_it_is_and_other_values_as_json(study: Cli) -> None:
    rows = study("results", "words", "--json").json["results"]
    found = {row["index"]: row["result"] for row in rows}
    assert [found[index] for index in (0, 1, 2, 3, 4, 7)] == ["1", "1.0", "true", "1", "null", '[1,{"a":2}]']
    assert [found[index] for index in (8, 9, 11, 12, 13)] == ["line\nbreak", "ü 😀", "--help", "{x}", "$(id)"]
    assert found[16] == "y" * 100_000


def test_equal_values_of_different_types_are_different_tasks(study: Cli) -> None:
    again = study("submit", "echo", "--params", "values.json", "--function", "work.py:echo", "--json").json
    assert [again[key] for key in ("added", "existing", "total")] == [0, len(VALUES), len(VALUES)]


@pytest.mark.parametrize(
    ("inside", "index"),
    [
        ("x=1", 0), ("x=1.0", 1), ("x=true", 2), ('x="1"', 3), ("x=null", 4), ('x={"$float":"nan"}', 5),
        ('x=[1,{"a":2}]', 7), ("x=ü 😀", 9),
    ],
)
def test_a_task_is_found_by_its_parameters_with_their_types(study: Cli, inside: str, index: int) -> None:
    assert study("show", f"echo[{inside}]", "-q").out == f"echo/{index}\n"


def test_conditions_compare_numbers_by_value_and_text_apart(study: Cli) -> None:
    def found(condition: str) -> list[str]:
        return [ref.rpartition("/")[2] for ref in study("find", "map == echo", condition, "-q").out.split()]

    assert found("x == 1") == ["0", "1"]
    assert found('x == "1" or param.x == true') == ["2", "3"]
    assert found("result.type in [int, 'bool'] and not x > 5") == ["0", "2"]
    assert found("x >= 1 and x <= 1e3 and outcome = succeeded and exit != 0") == []


def test_names_that_clash_have_columns_of_their_own(study: Cli) -> None:
    rows = list(csv.DictReader(io.StringIO(study("results", "echo", "--format", "csv").out)))
    assert {"task", "param.x", "result.x", "type", "state", "defaults"} <= set(rows[0])
    assert "x" not in rows[0]
    # A column that holds more than one type is JSON text, so that 1 and "1" stay apart.
    assert [json.loads(rows[index]["param.x"]) for index in (0, 3, 8, 9)] == [1, "1", "line\nbreak", "ü 😀"]
    assert rows[8]["result.x"] == rows[8]["param.x"]


def test_numbers_in_json_lines_are_those_of_the_document(study: Cli) -> None:
    lines = study("results", "echo", "--format", "jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == study("results", "echo", "--json").json["results"]
