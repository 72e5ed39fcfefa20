"""`submit`: what it answers, what it stores, what it refuses."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.cli import Cli, Done
from fixtures.parts import lacking
from fixtures.repositories import commit_all, git

KEYS = {"map", "added", "existing", "reused", "stale", "total", "code", "environment", "next"}


def stored(cli: Cli, map: str) -> list[str]:
    """Give the parameters of the tasks of a map as the registry holds them."""
    from provrun.store.registry import Registry

    registry = Registry.open(f"sqlite:///{cli.folder / '.provrun' / 'registry.sqlite'}", readonly=True)
    try:
        record = registry.find_map(map)
        return [] if record is None else [task.params for task in registry.tasks(record.id)]
    finally:
        registry.close()


def submit(cli: Cli, *words: str) -> Done:
    return cli("submit", "--json", *words)


def test_submit_answers_with_the_promised_document(cli: Cli) -> None:
    done = submit(cli, "scan", "--param", "x=0:3", "--param", "mode=fast,slow", "--", "echo", "{x}", "{mode}")
    assert done.exit == 0
    document = done.json
    assert set(document) >= KEYS
    assert document["map"] == "scan"
    assert [document[key] for key in ("added", "existing", "reused", "stale", "total")] == [6, 0, 0, 0, 6]
    commit, tree = git(cli.folder, "rev-parse", "HEAD", "HEAD^{tree}").split()
    assert document["code"] | {"digest": ""} == {
        "commit": commit, "dirty": False, "tree": tree, "files": None, "digest": ""
    }
    assert len(document["environment"]) == 64
    assert document["next"] == "provrun run scan"
    assert stored(cli, "scan")[:3] == ['{"mode":"fast","x":0}', '{"mode":"slow","x":0}', '{"mode":"fast","x":1}']


def test_submit_makes_a_project_at_the_git_root_and_says_so(cli: Cli) -> None:
    below = cli.folder / "below"
    below.mkdir()
    done = cli("submit", "scan", "--", "true", at=below)
    assert done.exit == 0
    assert f"made a project in {cli.folder}" in done.err
    assert (cli.folder / ".provrun" / "config.toml").exists()
    assert not (below / ".provrun").exists()


def test_submit_makes_no_project_in_the_home_folder(tmp_path: Path) -> None:
    done = Cli(tmp_path)("submit", "scan", "--json", "--", "true", HOME=str(tmp_path))
    assert done.exit == 5
    assert "provrun init" in done.error["next"]
    assert list(tmp_path.iterdir()) == []


def test_submit_again_adds_only_what_is_new(cli: Cli) -> None:
    assert submit(cli, "scan", "--param", "x=0:3", "--", "echo", "{x}").json["added"] == 3
    again = submit(cli, "scan", "--param", "x=0:5", "--", "echo", "{x}").json
    assert [again[key] for key in ("added", "existing", "total")] == [2, 3, 5]
    assert stored(cli, "scan") == [f'{{"x":{x}}}' for x in range(5)]


def test_another_template_is_refused_with_the_difference(cli: Cli) -> None:
    assert submit(cli, "scan", "--param", "x=0:3", "--", "echo", "{x}").exit == 0
    done = submit(cli, "scan", "--param", "x=0:3", "--", "echo", "-n", "{x}")
    assert done.exit == 5
    assert done.error["code"] == "refused"
    assert "echo '{x}' -> echo -n '{x}'" in done.error["message"]


def test_another_policy_is_stored_and_said(cli: Cli) -> None:
    assert submit(cli, "scan", "--param", "x=0:3", "--task-time", "1h", "--cores", "2", "--", "echo", "{x}").exit == 0
    done = cli("submit", "scan", "--param", "x=0:3", "--task-time", "2h", "--", "echo", "{x}")
    assert "changed task-time: 1h00m -> 2h00m" in done.out
    assert "cores" not in done.out
    done = cli("submit", "scan", "--param", "x=0:3", "--tag", "who=ada", "--", "echo", "{x}")
    assert "changed tag who: ada" in done.out
    assert cli("find", "tag.who == ada", "-q").out.split() == ["scan/0", "scan/1", "scan/2"]


def test_dry_run_shows_what_would_be_and_stores_nothing(cli: Cli) -> None:
    words = ["scan", "--param", "x=0:1000", "--param", "mode=fast,slow", "--", "echo", "{x:04d}", "{mode}", "{task}"]
    done = cli("submit", "--dry-run", "--json", *words)
    assert done.exit == 0
    assert done.json == {
        "map": "scan", "dry_run": True, "tasks": 2000, "first": "echo 0000 fast scan/0",
        "parameters": [
            {"name": "x", "count": 1000, "first": 0, "last": 999},
            {"name": "mode", "count": 2, "first": "fast", "last": "slow"},
        ],
    }
    assert not (cli.folder / ".provrun").exists()
    assert "x: 1000 values, 0 ... 999" in cli("submit", "--dry-run", *words).out


def test_all_problems_are_told_at_once_and_nothing_is_stored(cli: Cli) -> None:
    done = submit(
        cli, "1scan", "--param", "x=0:3", "--param", "y=lin:0", "--task-time", "soon", "--output", "o=/tmp/x", "--each",
        "nothing", "--", "echo", "{z}",
    )
    assert done.exit == 2
    assert done.error["code"] == "invalid"
    assert len(done.error["value"]) == 5
    assert not (cli.folder / ".provrun").exists()


def test_an_unknown_placeholder_gets_the_nearest(cli: Cli) -> None:
    done = submit(cli, "scan", "--param", "coupling=0:3", "--", "echo", "{couplng}")
    assert done.exit == 2
    assert "did you mean {coupling}?" in done.error["message"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["scan", "--param", "x=0:3", "echo", "{x}"], "provrun submit scan --param x=0:3 -- echo '{x}'"),
        (["scan", "echo", "-n", "{x}", "--param", "x=0:3"], "provrun submit scan --param x=0:3 -- echo -n '{x}'"),
        (["scan", "--task-time=1h", "sleep", "--quick", "1"], "provrun submit scan --task-time=1h -- sleep --quick 1"),
    ],
)
def test_a_command_without_dashes_is_answered_with_the_corrected_line(cli: Cli, words: list[str], line: str) -> None:
    done = cli("submit", *words, "--json")
    assert done.exit == 2
    assert done.error["next"].replace(" --json", "") == line


def test_words_after_the_dashes_stay_as_they_are(cli: Cli) -> None:
    done = cli("submit", "scan", "--dry-run", "--json", "--", "tool", "--json", "--", "-x", "a b", "{index}")
    assert done.json["first"] == "tool --json -- -x 'a b' 0"


def test_a_function_is_found_without_running_it(cli: Cli) -> None:
    (cli.folder / "analysis.py").write_text("raise SystemExit('run')\ndef square(x): ...\n")
    assert submit(cli, "squares", "--function", "analysis.py:square", "--param", "x=0:3").json["added"] == 3
    done = submit(cli, "other", "--function", "analysis.py:squar", "--param", "x=0:3")
    assert done.exit == 2
    assert "did you mean square?" in done.error["message"]


def test_an_edited_function_is_the_same_recipe_with_new_code(cli: Cli) -> None:
    words = ["squares", "--function", "analysis.py:square", "--param", "x=0:3"]
    first = submit(cli, *words).json
    (cli.folder / "analysis.py").write_text("def square(x):\n    return x ** 2\n")
    second = submit(cli, *words).json
    assert second["existing"] == 3
    assert second["code"]["dirty"] is True
    assert second["code"]["tree"] != first["code"]["tree"]


def test_submit_counts_results_that_edited_code_makes_stale(cli: Cli) -> None:
    words = ["squares", "--function", "analysis.py:square", "--param"]
    assert submit(cli, *words, "x=0:3").json["stale"] == 0
    assert cli("run", "-j", "2").exit == 0
    assert submit(cli, *words, "x=0:3").json["stale"] == 0
    (cli.folder / "analysis.py").write_text("def square(x):\n    return x ** 2\n")
    assert submit(cli, *words, "x=0:4").json["stale"] == 3
    assert "3 results are stale" in cli("submit", *words, "x=0:4").out


def test_submit_and_run_in_one_command(cli: Cli) -> None:
    done = submit(cli, "scan", "--run", "--param", "x=0:3", "--", "echo", "{x}")
    assert done.exit == 0
    assert set(done.json) >= KEYS
    assert (done.json["run"]["succeeded"], done.json["run"]["failed"]) == (3, 0)
    assert submit(cli, "bad", "--run", "--", "false").exit == 3


def test_clean_code_refuses_a_dirty_tree(cli: Cli) -> None:
    (cli.folder / "analysis.py").write_text("x = 1\n")
    done = submit(cli, "scan", "--code", "clean", "--", "true")
    assert done.exit == 5
    commit_all(cli.folder, "Clean up")
    assert submit(cli, "scan", "--code", "clean", "--", "true").exit == 0


def test_outside_of_a_repository_the_files_named_are_the_code(tmp_path: Path) -> None:
    (tmp_path / "tool.sh").write_text("echo 1\n")
    cli = Cli(tmp_path)
    first = submit(cli, "scan", "--", "sh", "tool.sh").json["code"]
    assert (first["commit"], first["tree"], first["dirty"]) == (None, None, False)
    (tmp_path / "tool.sh").write_text("echo 2\n")
    assert submit(cli, "scan", "--", "sh", "tool.sh").json["code"]["files"] != first["files"]


def test_each_grows_with_what_it_builds_on(cli: Cli) -> None:
    assert submit(cli, "A", "--param", "x=0:3", "--", "echo", "{x}").exit == 0
    done = submit(cli, "B", "--each", "A", "--param", "k=0:2", "--", "echo", "{A.result}", "{x}", "{k}")
    assert done.json["added"] == 6
    grown = submit(cli, "A", "--param", "x=0:4", "--", "echo", "{x}").json
    assert grown["grown"] == {"B": 2}
    assert stored(cli, "B")[-1] == '{"k":1,"x":3}'


def test_tasks_start_in_the_folder_of_the_submit(cli: Cli) -> None:
    below = cli.folder / "a" / "b"
    below.mkdir(parents=True)
    (below / "where.py").write_text("import os\ndef here():\n    return os.getcwd()\n")
    assert cli("submit", "command", "--", "sh", "-c", 'printf \'"%s"\' "$PWD" > place', at=below).exit == 0
    assert cli("submit", "function", "--function", "where.py:here", at=below).exit == 0
    assert cli("run", "-j", "2").exit == 0
    assert (below / "place").read_text() == f'"{below}"'
    rows = cli("results", "function", "--json").json["results"]
    assert [row["result"] for row in rows] == [str(below)]


def test_a_program_that_is_not_found_is_told_but_stored(cli: Cli) -> None:
    done = cli("submit", "scan", "--json", "--", "no-such-program", "1")
    assert done.exit == 0
    assert "no program no-such-program is found here" in done.err


def test_two_first_submits_at_once_share_one_project(cli: Cli) -> None:
    words = [sys.executable, "-m", "provrun", "submit"]
    both = [
        subprocess.Popen([*words, name, "--param", "x=0:100", "--", "true"], cwd=cli.folder, stdout=subprocess.DEVNULL)
        for name in ("A", "B")
    ]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert (len(stored(cli, "A")), len(stored(cli, "B"))) == (100, 100)


def test_quiet_prints_the_map_alone(cli: Cli) -> None:
    done = cli("submit", "scan", "-q", "--", "true")
    assert (done.out, done.err) == ("scan\n", "")


def test_a_shell_command_is_one_word_without_quoted_placeholders(cli: Cli) -> None:
    assert submit(cli, "scan", "--shell", "--param", "x=0:3", "--", "echo {x} | wc -c").exit == 0
    assert submit(cli, "a", "--shell", "--", "echo", "1").exit == 2
    done = submit(cli, "b", "--shell", "--param", "x=0:3", "--", "echo '{x}'")
    assert done.exit == 2
    assert "$P_x" in done.error["message"]


def test_who_has_no_entry_among_the_users_goes_by_number() -> None:
    if os.geteuid() != 0:
        lacking("only root can be somebody whom no file names")
    said = (
        "import os, pwd; from provrun.project.submitter import user_name; named = user_name();"
        " os.setuid(54321); print(named, user_name())"
    )
    environ = {name: value for name, value in os.environ.items() if name not in ("LOGNAME", "USER", "LNAME")}
    done = subprocess.run(
        [sys.executable, "-c", said], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == [pwd.getpwuid(0).pw_name, "54321"]
