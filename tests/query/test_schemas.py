"""Every answer obeys the schema that the reference promises."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from fixtures.cli import Cli
from fixtures.schemas import PAGE, SCHEMAS, check
from provrun.query.why import TASKS
from provrun.query.why_attempt import ATTEMPTS
from provrun.query.why_map import MAPS


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("status", ["status"]),
        ("status", ["list"]),
        ("status", ["wait", "scan"]),
        ("written", ["results", "scan", "-o", "{tmp}/out.csv"]),
        ("why", ["why", "scan/0"]),
        ("why", ["why", "scan/3"]),
        ("why", ["why", "stat"]),
        ("why", ["why", "job:1"]),
        ("trace", ["trace", "scan/1"]),
        ("trace", ["trace", "scan", "--down"]),
        ("diff", ["diff", "scan/0", "scan/1"]),
        ("diff", ["diff", "scan", "stat"]),
        ("show", ["show", "scan/1"]),
        ("show", ["show", "scan/3#1"]),
        ("show", ["show", "scan"]),
        ("show", ["show", "stat/0"]),
        ("show", ["show", "job:1"]),
        ("show", ["show", "./tool.py"]),
        ("code", ["code", "scan"]),
        ("env", ["env", "scan/1"]),
        ("logs", ["logs", "scan"]),
        ("jobs", ["job", "list"]),
        ("jobs", ["job", "show", "1"]),
        ("launched", ["launch", "scan", "--scheduler", "local"]),
        ("cancelled", ["job", "cancel", "1"]),
        ("verify", ["verify"]),
        ("error", ["show", "nowhere"]),
    ],
    ids=lambda each: each if isinstance(each, str) else " ".join(each),
)
def test_an_answer_obeys_its_schema(ran: Cli, tmp_path: Path, name: str, words: list[str]) -> None:
    check(name, ran(*(word.format(tmp=tmp_path) for word in words), "--json").json)


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["tasks", "scan"], "tasks"),
        (["tasks", "stat"], "tasks"),
        (["find", "state == failed"], "tasks"),
        (["results", "scan"], "results"),
    ],
)
def test_every_row_obeys_its_schema(ran: Cli, words: list[str], key: str) -> None:
    document = ran(*words, "--json").json
    assert list(document) == [key]
    assert document[key]
    for row in document[key]:
        check("row", row)
        assert list(row) == SCHEMAS["row"]["required"]


@pytest.mark.parametrize(("command", "key", "name"), [("code", "codes", "code"), ("env", "environments", "env")])
def test_lists_of_versions_obey_their_schema(ran: Cli, command: str, key: str, name: str) -> None:
    document = ran(command, "--json").json
    assert document[key]
    for each in document[key]:
        check(name, each)


def test_the_reference_names_every_situation() -> None:
    text = PAGE.read_text()
    names = [situation.name for table in (TASKS, ATTEMPTS, MAPS) for situation in table]
    assert [name for name in names if f"`{name}`" not in text and name != "failed"] == []
