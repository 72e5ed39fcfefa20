"""`init`, `config`, `db`."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from fixtures.cli import Cli
from fixtures.repositories import git
from fixtures.runs import until


def test_init_makes_a_project_that_git_does_not_see(cli: Cli) -> None:
    done = cli("init", "--json")
    assert done.exit == 0
    assert set(done.json) == {"project", "url", "next"}
    assert done.json["project"] == str(cli.folder)
    assert (cli.folder / ".provrun" / ".gitignore").read_text() == "*\n"
    assert git(cli.folder, "status", "--porcelain") == ""


def test_init_again_is_refused_and_harms_nothing(cli: Cli) -> None:
    assert cli("init").exit == 0
    before = (cli.folder / ".provrun" / "registry.sqlite").read_bytes()
    done = cli("init", "--json")
    assert done.exit == 5
    assert done.error["code"] == "refused"
    assert (cli.folder / ".provrun" / "registry.sqlite").read_bytes() == before


def test_init_makes_the_folder_it_names(cli: Cli) -> None:
    assert cli("init", "new/study").exit == 0
    assert cli("db", "current", at=cli.folder / "new" / "study").exit == 0
    assert cli("db", "current", "--project", "new/study").exit == 0
    assert cli("db", "current", PROVRUN_PROJECT="new/study").exit == 0


def test_a_project_is_found_from_below(cli: Cli) -> None:
    assert cli("init").exit == 0
    below = cli.folder / "a" / "b"
    below.mkdir(parents=True)
    assert cli("db", "current", at=below).exit == 0


def test_a_folder_named_without_a_project_is_not_searched_upward(cli: Cli) -> None:
    assert cli("init").exit == 0
    (cli.folder / "below").mkdir()
    done = cli("config", "--project", "below", "--json")
    assert (done.exit, done.error["code"]) == (1, "no-project")


def test_config_says_where_each_value_comes_from(cli: Cli) -> None:
    assert cli("init").exit == 0
    assert cli("config", "slots", "3").exit == 0
    done = cli("config", "--origin", "--json", PROVRUN_TAKEOVER="2h")
    rows = {row["name"]: (row["value"], row["origin"]) for row in done.json["settings"]}
    assert rows["slots"] == (3, "config.toml")
    assert rows["takeover"] == ("2h", "PROVRUN_TAKEOVER")
    assert cli("config", "slots", "--json", PROVRUN_SLOTS="5").json["settings"][0]["value"] == 5


def test_config_refuses_unknown_names_and_wrong_values(cli: Cli) -> None:
    assert cli("init").exit == 0
    unknown = cli("config", "slot", "3", "--json")
    assert (unknown.exit, unknown.error["next"]) == (4, "did you mean slots?")
    assert cli("config", "slots", "many").exit == 2
    assert cli("config", "slots", PROVRUN_SLOTS="many").exit == 2


def test_a_postgresql_project_keeps_its_password_to_itself(cli: Cli, postgres_url: str) -> None:
    secret = postgres_url.replace("@", ":hidden@", 1)
    done = cli("init", "--db", secret, "--json")
    assert done.exit == 0
    assert "hidden" not in done.out + cli("config").out + cli("db", "current").out
    assert (cli.folder / ".provrun" / "config.toml").stat().st_mode & 0o777 == 0o600
    assert not (cli.folder / ".provrun" / "registry.sqlite").exists()
    assert cli("db", "current").exit == 0


def test_a_study_in_postgresql_is_submitted_run_and_changed_as_in_sqlite(cli: Cli, postgres_url: str) -> None:
    assert cli("init", "--db", postgres_url).exit == 0
    words = ["--", "sh", "-c", "exit $(( $1 % 2 ))", "sh", "{x}"]
    assert cli("submit", "scan", "--param", "x=0:4", "--json", *words).json["added"] == 4
    assert cli("submit", "scan", "--param", "x=0:6", "--json", *words).json["added"] == 2
    assert cli("run", "scan", "-j", "2").exit == 3
    assert cli("retry", "scan", "--where", "x > 2", "--json").json["changed"] == 2
    assert cli("db", "check", "--json").json == {"ok": True, "problems": []}


def test_the_database_says_its_schema(cli: Cli) -> None:
    assert cli("init").exit == 0
    now = cli("db", "current", "--json").json
    assert now["current"] == now["head"]
    assert cli("db", "upgrade", "--json").json == {"before": now["head"], "current": now["head"], "changed": False}


def test_a_sound_registry_is_sound_and_a_damaged_one_is_exit_6(cli: Cli) -> None:
    assert cli("init").exit == 0
    assert cli("db", "check", "--json").json == {"ok": True, "problems": []}
    damage(cli.folder / ".provrun" / "registry.sqlite")
    done = cli("db", "check", "--json")
    assert done.exit == 6
    assert done.json["ok"] is False
    assert done.json["problems"]


def damage(path: Path) -> None:
    """Drop an index behind provrun's back."""
    import sqlite3

    connection = sqlite3.connect(path)
    (name,) = connection.execute("select name from sqlite_master where type='index' and sql is not null").fetchone()
    connection.execute(f"drop index {name}")
    connection.close()


def test_a_missing_registry_is_exit_69(cli: Cli) -> None:
    assert cli("init").exit == 0
    (cli.folder / ".provrun" / "registry.sqlite").unlink()
    done = cli("db", "current", "--json")
    assert (done.exit, done.error["code"]) == (69, "unavailable")


def dumped(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Read all rows of a registry in a SQLite file; what is open there is not of interest."""
    with closing(sqlite3.connect(path)) as database:
        tables = [row[0] for row in database.execute("select name from sqlite_master where type='table' order by name")]
        return {name: sorted(database.execute(f"select * from {name}"), key=repr) for name in tables if name != "log"}


def test_a_backup_is_the_whole_registry_and_can_be_restored(cli: Cli, tmp_path: Path) -> None:
    assert cli("submit", "scan", "--param", "x=0:5", "--", "echo", "{x}").exit == 0
    assert cli("run").exit == 0
    copy = tmp_path / "copy.sqlite"
    done = cli("db", "backup", str(copy), "--json")
    assert done.exit == 0
    assert {key: done.json[key] for key in ("file", "maps", "tasks")} == {"file": str(copy), "maps": 1, "tasks": 5}
    assert done.json["size"] == copy.stat().st_size and done.json["packs"] > 0
    assert dumped(copy) == dumped(cli.folder / ".provrun" / "registry.sqlite")
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == ["copy.sqlite"]
    again = cli("db", "backup", str(copy), "--json")
    assert again.exit == 5 and "there already" in again.error["message"]
    page = cli("export").out
    (cli.folder / ".provrun" / "registry.sqlite").unlink()
    shutil.copy(copy, cli.folder / ".provrun" / "registry.sqlite")
    assert cli("export").out == page and cli("verify").exit == 0 and cli("logs", "scan/3").out.endswith("3\n")


def test_a_backup_of_postgresql_is_a_registry_in_sqlite(cli: Cli, postgres_url: str, tmp_path: Path) -> None:
    assert cli("init", "--db", postgres_url).exit == 0
    assert cli("submit", "scan", "--param", "x=0:5", "--", "echo", "{x}").exit == 0
    assert cli("run").exit == 0
    page = cli("export").out
    copy = tmp_path / "copy.sqlite"
    assert cli("db", "backup", str(copy)).exit == 0
    other = Cli(tmp_path / "other")
    other.folder.mkdir()
    assert other("init").exit == 0
    shutil.copy(copy, other.folder / ".provrun" / "registry.sqlite")
    assert other("db", "check").exit == 0
    assert sorted(other("export").out) != [] and other("verify").exit == 0
    assert other("tasks", "scan", "-q").out == cli("tasks", "scan", "-q").out
    assert other("export").out.count("pr:Attempt") == page.count("pr:Attempt")


def test_a_backup_has_what_jobs_have_recorded_through_a_log(cli: Cli, tmp_path: Path) -> None:
    log = {"PROVRUN_LOG": "always", "PROVRUN_SCRATCH": str(tmp_path / "scratch")}
    assert cli("submit", "scan", "--param", "x=0:5", "--", "echo", "{x}").exit == 0
    assert cli("run", PROVRUN_HOST="node1", **log).exit == 0
    assert cli("submit", "slow", "--", "sleep", "600").exit == 0
    environ = {**os.environ, "PROVRUN_HOST": "node1", **log}
    run = subprocess.Popen([sys.executable, "-m", "provrun", "run", "-q"], cwd=cli.folder, env=environ)
    try:
        until(lambda: cli("tasks", "slow", "--state", "running", "-q", **log).out, "it runs")
        copy = tmp_path / "copy.sqlite"
        assert cli("db", "backup", str(copy), **log).exit == 0
        with closing(sqlite3.connect(copy)) as database:
            assert database.execute("select count(*) from attempt").fetchone() == (5,)
            assert database.execute("select count(*) from task where state=2").fetchone() == (1,)
            assert database.execute("select count(*) from log where open=1").fetchone() == (0,)
    finally:
        run.terminate()
        run.wait()
