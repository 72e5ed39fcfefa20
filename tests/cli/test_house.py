"""`init`, `config`, `db`."""

from __future__ import annotations

from pathlib import Path

from fixtures.cli import Cli
from fixtures.repositories import git


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
