"""Maps that run from a checkout of the tree they were submitted with."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from fixtures.cli import Cli
from fixtures.repositories import commit_all, git

TOOL = """\
import sys
from helper import factor
print(factor * int(sys.argv[1]))
"""
PYTHON = sys.executable


def prepared(cli: Cli) -> Path:
    """Write a tool and a module it imports, both not committed."""
    (cli.folder / "deep").mkdir()
    (cli.folder / "deep" / "tool.py").write_text(TOOL)
    (cli.folder / "deep" / "helper.py").write_text("factor = 2\n")
    (cli.folder / "model.py").write_text("import analysis\n\ndef double(x):\n    return 2 * analysis.square(x)\n")
    return cli.folder


def results(cli: Cli, map: str) -> list[object]:
    return [row["result"] for row in cli("results", map, "--json").json["results"]]


def test_a_command_runs_the_files_of_the_submitted_tree_and_data_stay_where_they_are(cli: Cli) -> None:
    folder = prepared(cli)
    (folder / "in.txt").write_text("1")
    (folder / "out").mkdir()
    words = ["--", "sh", "run.sh", "{x}", "{output.o}"]
    (folder / "run.sh").write_text(f'cat in.txt > "$2" && exec {PYTHON} "$PROVRUN_CODE/deep/tool.py" "$1"\n')
    submitted = cli(
        "submit", "scan", "--code", "pin", "--param", "x=1:4", "--output", "o=out/{x}.txt", "--input", "in.txt",
        "--json", *words,
    )
    assert submitted.exit == 0, submitted.out
    tree = submitted.json["code"]["tree"]
    # Everything is edited, and one file is gone.
    (folder / "deep" / "helper.py").write_text("factor = 300\n")
    (folder / "deep" / "tool.py").unlink()
    (folder / "run.sh").write_text("exit 1\n")
    commit_all(folder, "Edited")
    done = cli("run", "scan")
    assert done.exit == 0, done.err
    assert "other code" not in done.err
    assert results(cli, "scan") == [2, 4, 6]
    assert (folder / "out" / "3.txt").read_text() == "1"
    shown = cli("show", "scan/0", "--json").json
    assert cli("show", f"code:{shown['code']}", "--json").json["tree"] == tree
    assert list(shown["uses"]["files"]) == ["run.sh"]
    assert shown["stale"] is False
    assert cli("verify").exit == 0


def test_a_script_and_what_it_imports_come_from_the_checkout(cli: Cli) -> None:
    folder = prepared(cli)
    words = ["--", PYTHON, "deep/tool.py", "{x}"]
    assert cli("submit", "scan", "--code", "pin", "--param", "x=1:3", *words).exit == 0
    (folder / "deep" / "helper.py").write_text("factor = 300\n")
    assert cli("run", "scan").exit == 0
    assert results(cli, "scan") == [2, 4]


def test_a_function_and_its_modules_come_from_the_checkout(cli: Cli) -> None:
    folder = prepared(cli)
    for name, function in (("named", "model:double"), ("filed", "model.py:double")):
        assert cli("submit", name, "--code", "pin", "--function", function, "--param", "x=1:4").exit == 0
    (folder / "analysis.py").write_text("def square(x):\n    return 0\n")
    (folder / "model.py").unlink()
    assert cli("run").exit == 0
    for name in ("named", "filed"):
        assert results(cli, name) == [2, 8, 18]
        shown = cli("show", f"{name}/0", "--json").json
        assert sorted(shown["uses"]["files"]) == ["analysis.py", "model.py"]
        assert shown["stale"] is False


def test_a_module_that_was_not_submitted_is_not_taken_from_the_working_tree(cli: Cli) -> None:
    folder = prepared(cli)
    (folder / "late.py").write_text("def f(x):\n    import later\n    return later.y\n\nimport later\n")
    assert cli("submit", "scan", "--code", "pin", "--function", "late:f", "--param", "x=1").exit == 0
    (folder / "later.py").write_text("y = 1\n")
    assert cli("run").exit == 3
    assert "later" in cli("why", "scan/0").out


def test_submitting_again_moves_the_pin_and_makes_older_results_stale(cli: Cli) -> None:
    folder = prepared(cli)
    words = ["--code", "pin", "--function", "model:double"]
    assert cli("submit", "scan", "--param", "x=1:3", *words).exit == 0
    assert cli("run").exit == 0
    (folder / "analysis.py").write_text("def square(x):\n    return 5\n")
    assert cli("status", "--json").json["maps"][0]["stale"] == 0
    assert cli("submit", "scan", "--param", "x=1:4", *words).exit == 0
    assert cli("run").exit == 0
    assert results(cli, "scan") == [2, 8, 10]
    assert cli("status", "--json").json["maps"][0]["stale"] == 2


def test_a_checkout_that_is_gone_is_made_again_and_one_that_was_edited_is_refused(cli: Cli) -> None:
    folder = prepared(cli)
    assert cli("submit", "scan", "--code", "pin", "--function", "model:double", "--param", "x=1:3").exit == 0
    (checkout,) = (folder / ".provrun" / "checkouts").iterdir()
    edited = checkout / "model.py"
    edited.chmod(0o644)
    edited.write_text("x = 1\n")
    refused = cli("run", "--json")
    assert (refused.exit, refused.error["value"]) == (5, str(checkout))
    shutil.rmtree(checkout)
    assert cli("run").exit == 0
    assert results(cli, "scan") == [2, 8]
    assert not (edited.stat().st_mode & 0o222)


def test_what_cannot_be_pinned_is_refused_with_the_reason(cli: Cli, tmp_path: Path) -> None:
    folder = prepared(cli)
    for words in (["--shell", "--", "echo {x}"], ["--", PYTHON, "-m", "model"], ["--", "sh", "-c", "echo {x}"]):
        refused = cli("submit", "scan", "--code", "pin", "--param", "x=1", "--json", *words)
        assert (refused.exit, "words" in refused.error["message"]) == (5, True), words
    (folder / ".gitattributes").write_text("*.txt text eol=crlf\n")
    (folder / "a.txt").write_bytes(b"a\r\n")
    commit_all(folder, "Converted")
    refused = cli("submit", "scan", "--code", "pin", "--param", "x=1", "--json", "--", "cat", "a.txt")
    assert (refused.exit, "line ends" in refused.error["message"]) == (5, True)
    outside = tmp_path / "plain"
    outside.mkdir()
    refused = cli("submit", "scan", "--code", "pin", "--param", "x=1", "--json", "--", "true", at=outside)
    assert (refused.exit, "no git repository" in refused.error["message"]) == (5, True)
    assert json.loads(cli("status", "--json").out)["maps"] == []


def test_a_pinned_map_whose_code_cannot_be_had_keeps_no_other_from_running(cli: Cli, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", str(cli.folder), "elsewhere")
    there = Cli(tmp_path / "elsewhere")
    (there.folder / "tool.sh").write_text("echo $1\n")
    commit_all(there.folder, "Known there alone")
    for name in ("done", "open"):
        words = ["--code", "pin", "--param", "x=0:2", "--", "sh", "tool.sh", "{x}"]
        assert there("submit", name, *words).exit == 0
    assert there("run", "done").exit == 0
    assert cli("submit", "own", "--param", "x=0:2", "--", "echo", "{x}").exit == 0
    assert cli("db", "merge", str(there.folder / ".provrun" / "registry.sqlite")).exit == 0
    refused = cli("run", "--json")
    assert refused.exit == 5 and refused.error["message"].startswith("open: code:")
    assert "provrun pause open" in refused.error["next"]
    assert cli("pause", "open").exit == 0
    assert cli("run", "--json").json["succeeded"] == 2
