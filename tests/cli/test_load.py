"""`load`: files of commands, one task a line."""

from __future__ import annotations

import json

from fixtures.cli import Cli
from provrun.store.registry import Registry

LINES = """\
# simulate all years
model --year 1990 > out/1990.txt 2>&1

model --year 1991 | awk '{print $1}'
model --year 1990 > out/1990.txt 2>&1
"""


def params(cli: Cli, map: str) -> list[dict[str, object]]:
    registry = Registry.open(f"sqlite:///{cli.folder / '.provrun' / 'registry.sqlite'}", readonly=True)
    try:
        record = registry.find_map(map)
        assert record is not None
        assert record.recipe.kind == "line"
        return [json.loads(task.params) for task in registry.tasks(record.id)]
    finally:
        registry.close()


def test_every_line_is_a_task_and_its_occurrence_is_counted(cli: Cli) -> None:
    (cli.folder / "jobs.txt").write_text(LINES)
    done = cli("load", "years", "jobs.txt", "--json")
    assert done.exit == 0
    assert [done.json[key] for key in ("map", "added", "existing", "total")] == ["years", 3, 0, 3]
    assert params(cli, "years") == [
        {"line": "model --year 1990 > out/1990.txt 2>&1", "occurrence": 1},
        {"line": "model --year 1991 | awk '{print $1}'", "occurrence": 1},
        {"line": "model --year 1990 > out/1990.txt 2>&1", "occurrence": 2},
    ]


def test_loading_again_adds_only_lines_that_are_new(cli: Cli) -> None:
    (cli.folder / "jobs.txt").write_text(LINES)
    assert cli("load", "years", "jobs.txt").exit == 0
    done = cli("load", "years", "-", "--json", stdin=LINES + "model --year 1990 > out/1990.txt 2>&1\nmodel --new\n")
    assert [done.json[key] for key in ("added", "existing", "total")] == [2, 3, 5]
    assert [task["occurrence"] for task in params(cli, "years")] == [1, 1, 2, 3, 1]


def test_lines_take_policy_and_dependencies(cli: Cli) -> None:
    assert cli("submit", "prepare", "--", "true").exit == 0
    (cli.folder / "jobs.txt").write_text(LINES)
    done = cli("load", "years", "jobs.txt", "--after", "prepare", "--task-time", "10m", "--retries", "2", "--json")
    assert done.json["added"] == 3
    assert cli("load", "more", "jobs.txt", "--each", "prepare").exit == 2


def test_a_dry_run_of_lines_stores_nothing(cli: Cli) -> None:
    (cli.folder / "jobs.txt").write_text(LINES)
    done = cli("load", "years", "jobs.txt", "--dry-run", "--json")
    assert (done.json["tasks"], done.json["first"]) == (3, "model --year 1990 > out/1990.txt 2>&1")
    assert not (cli.folder / ".provrun").exists()


def test_problems_come_with_their_lines_and_nothing_is_stored(cli: Cli) -> None:
    (cli.folder / "jobs.txt").write_bytes(b"good\nb\0d\n\xff\n")
    done = cli("load", "1years", "jobs.txt", "--json")
    assert done.exit == 2
    text = "\n".join(done.error["value"])
    assert [part in text for part in ("1years", "jobs.txt line 2", "jobs.txt line 3")] == [True] * 3
    assert not (cli.folder / ".provrun").exists()
    assert cli("load", "years", "missing.txt", "--json").exit == 2


def test_a_map_of_lines_is_not_extended_by_a_command(cli: Cli) -> None:
    (cli.folder / "jobs.txt").write_text(LINES)
    assert cli("load", "years", "jobs.txt").exit == 0
    done = cli("submit", "years", "--json", "--", "true")
    assert done.exit == 5
    assert "kind: line -> command" in done.error["message"]
