"""`db merge`: two real projects become one, with everything that is known of their maps."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fixtures.cli import Cli
from fixtures.repositories import git
from fixtures.runs import until
from fixtures.study import AT, Study, grid
from provrun.core.states import State
from provrun.store.registry import Registry

MODULE = """
def psi(x):
    print("at", x)
    return {"y": x * x, "text": "z" * 30_000 * (x == 3)}

def obs(psi, k):
    return psi["y"] + k

def total(rows):
    return sum(row["result"] for row in rows)
"""


@pytest.fixture
def other(cli: Cli, tmp_path: Path) -> Cli:
    """Give provrun in another clone of the same repository."""
    (cli.folder / "model.py").write_text(MODULE)
    git(cli.folder, "add", "model.py")
    git(cli.folder, "commit", "-q", "-m", "model")
    git(tmp_path, "clone", "-q", str(cli.folder), "cluster")  # which alone has a remote
    return Cli(tmp_path / "cluster")


def live(cli: Cli, first: int, last: int) -> None:
    """Run a study of three stages."""
    assert cli("submit", "psi", "--param", f"x={first}:{last}", "--function", "model.py:psi").exit == 0
    assert cli("submit", "obs", "--each", "psi", "--param", "k=0:2", "--function", "model.py:obs").exit == 0
    assert cli("submit", "total", "--all", "obs", "--function", "model.py:total").exit == 0
    assert cli("run", "-q").exit == 0


def test_maps_of_another_project_answer_as_they_did_there(cli: Cli, other: Cli, tmp_path: Path) -> None:
    live(other, 0, 6)
    assert other("submit", "odd", "--param", "x=0:3", "--retries", "1", "--shell", "--", "exit $((P_x % 2))").exit == 0
    assert other("run", "-q").exit == 3
    page, leaves = tmp_path / "there.ttl", tmp_path / "there.jsonl"
    assert other("export", "-o", str(page), "--leaves", str(leaves)).exit == 0
    assert cli("submit", "own", "--param", "x=0:3", "--", "echo", "{x}").exit == 0
    assert cli("run", "-q").exit == 0
    file = other.folder / ".provrun" / "registry.sqlite"
    dry = cli("db", "merge", str(file), "--dry-run", "--json").json
    assert cli("tasks", "psi").exit == 4
    done = cli("db", "merge", str(file), "--json")
    assert done.exit == 0
    assert {key: done.json[key] for key in ("changed", "maps", "next")} == {
        "changed": 22, "maps": ["psi", "obs", "total", "odd"], "next": "provrun status psi obs total odd",
    }
    assert dry["merged"] == done.json["merged"]
    assert done.json["packs"] == 1
    assert done.json["without_packs"] == 0
    # The record of every task is what it was, so what was published holds for what is here.
    again = tmp_path / "here.jsonl"
    here = tmp_path / "here.ttl"
    assert cli("export", "psi", "obs", "total", "odd", "-o", str(here), "--leaves", str(again)).exit == 0
    assert again.read_bytes() == leaves.read_bytes()
    proof = tmp_path / "proof"
    assert cli("prove", "obs/7", str(page), "-o", str(proof)).exit == 0
    assert cli("verify", str(page), "--member", str(proof)).exit == 0
    assert cli("verify", str(here), "--leaves", str(again)).exit == 0
    assert cli("verify").exit == 0
    for words in (
        ("logs", "psi/3"), ("tasks", "odd", "-q"), ("find", "exit == 1", "-q"), ("trace", "obs/7"), ("why", "odd/1"),
        ("trace", "psi/3", "--down"), ("diff", "obs/3", "obs/4"),
    ):
        # The numbers of jobs are this registry's.
        answers = [(done.exit, re.sub(r"job:\d+", "job", done.out)) for done in (cli(*words), other(*words))]
        assert answers[0] == answers[1], words
    large = [one("results", "psi", "--where", "x == 3", "--json").json["results"][0]["result"] for one in (cli, other)]
    assert large[0] == large[1] == {"y": 9, "text": "z" * 30_000}
    assert cli("db", "merge", str(file), "--json").json["changed"] == 0
    uuid = done.json["registry"]
    assert f"it was made in the registry {uuid}, as total/0#1, and came by a merge" in cli("why", "total/0").out
    (attempt,) = cli("show", "psi/3", "--json").json["history"]
    assert attempt["made_as"] == {"registry": uuid, "map": "psi", "index": 3, "attempt": 1}
    assert cli("show", "own/0#1", "--json").json["made_as"] is None
    # And it goes on here.
    assert cli("submit", "psi", "--param", "x=0:7", "--function", "model.py:psi").exit == 0
    assert cli("run", "total", "-q").exit == 0
    assert cli("results", "total", "--json").json["results"][0]["result"] == 2 * 91 + 7
    assert cli("verify").exit == 0


def test_laptop_and_cluster_worked_on_one_study(cli: Cli, other: Cli, tmp_path: Path) -> None:
    live(cli, 0, 4)
    live(other, 2, 8)
    copy = tmp_path / "cluster.sqlite"
    assert other("db", "backup", str(copy)).exit == 0
    done = cli("db", "merge", str(copy), "--packs", str(other.folder / ".provrun" / "packs"), "--json")
    assert done.exit == 0
    assert [(one["map"], one["new"], one["tasks"], one["attempts"]) for one in done.json["merged"]] == [
        ("psi", False, 4, 6), ("obs", False, 8, 12), ("total", False, 0, 1),
    ]
    states = {one["name"]: one["ntasks"] for one in cli("status", "--json").json["maps"]}
    assert states["psi"]["succeeded"] == 8
    assert states["obs"]["succeeded"] == 16
    assert states["total"]["pending"] == 1
    shown = cli("show", "psi/2", "--json").json
    assert (shown["attempt"], shown["attempts"]) == (1, 2)
    why = cli("why", "psi/2#2", "--json").json
    assert "as psi/0#1, and came by a merge; the task had a result already, and that stays: attempt 1" in str(why)
    assert "as total/0#1, and came by a merge; it read other results" in cli("why", "total/0#2").out
    assert cli("run", "-q").exit == 0
    assert cli("results", "total", "--json").json["results"][0]["result"] == 2 * 140 + 8
    page, leaves = tmp_path / "page.ttl", tmp_path / "leaves.jsonl"
    assert cli("export", "-o", str(page), "--leaves", str(leaves)).exit == 0
    assert cli("verify", str(page), "--leaves", str(leaves)).exit == 0
    assert cli("verify").exit == 0
    assert cli("db", "merge", str(copy), "--json").json["changed"] == 0
    # What came and was run again here is superseded as anything is.
    assert cli("rerun", "psi/4", "--force").exit == 0
    assert "other results than there are here, or was given up: the task is pending" in cli("why", "psi/4#1").out
    assert cli("run", "psi", "-q").exit == 0
    assert cli("why", "psi/4#1", "--json").json["situation"] == "superseded-rerun"


def test_maps_come_into_postgresql(cli: Cli, other: Cli, tmp_path: Path, postgres_url: str) -> None:
    live(other, 0, 4)
    leaves, again = tmp_path / "there.jsonl", tmp_path / "here.jsonl"
    assert other("export", "-o", str(tmp_path / "there.ttl"), "--leaves", str(leaves)).exit == 0
    assert cli("init", "--db", postgres_url).exit == 0
    file = other.folder / ".provrun" / "registry.sqlite"
    assert cli("db", "merge", str(file), "--json").json["changed"] == 13
    assert cli("db", "check").exit == 0
    assert cli("export", "-o", str(tmp_path / "here.ttl"), "--leaves", str(again)).exit == 0
    assert again.read_bytes() == leaves.read_bytes()
    assert cli("db", "merge", str(file), "--json").json["changed"] == 0


def test_packs_that_are_not_there_are_told(cli: Cli, other: Cli, tmp_path: Path) -> None:
    live(other, 0, 4)
    copy = tmp_path / "copy.sqlite"
    assert other("db", "backup", str(copy)).exit == 0
    assert cli("init").exit == 0
    done = cli("db", "merge", str(copy))
    assert done.exit == 0
    assert "not here: outputs and large results of 1 job;" in done.out
    lost = cli("logs", "psi/3")
    assert (lost.exit, "db merge FILE --packs DIR" in lost.err) == (74, True), lost.err
    again = cli("db", "merge", str(copy), "--packs", str(other.folder / ".provrun" / "packs"), "--json").json
    assert (again["changed"], again["packs"], again["without_packs"]) == (0, 1, 0)
    assert cli("logs", "psi/3").out == "at 3\n"


def test_what_a_merge_left_that_was_killed_goes_with_the_next_one(cli: Cli, other: Cli) -> None:
    live(other, 0, 2)
    file = other.folder / ".provrun" / "registry.sqlite"
    with closing(sqlite3.connect(file)) as database:  # an older one, of which a copy is made
        database.execute("drop table brought")
        database.execute("update alembic_version set version_num='0005'")
        database.commit()
    assert cli("init").exit == 0
    left = cli.folder / ".provrun" / "tmp" / "provrun-view-left"
    left.mkdir(parents=True)
    (left / "merge-1.sqlite").touch()
    os.utime(left, (0, 0))
    assert cli("db", "merge", str(file)).exit == 0
    assert [path for path in left.parent.rglob("*") if "merge" in path.name or path.is_dir()] == []


def test_what_cannot_be_merged_is_refused_with_the_reason(cli: Cli, other: Cli, tmp_path: Path) -> None:
    assert cli("submit", "scan", "--param", "x=0:3", "--", "echo", "{x}").exit == 0
    assert other("submit", "scan", "--param", "x=0:3", "--", "echo", "no", "{x}").exit == 0
    assert other("submit", "fit", "--param", "x=0:3", "--", "echo", "{x}").exit == 0
    assert other("submit", "loud", "--param", "x=0:3", "--", "echo", "{x}").exit == 0
    assert other("run", "loud", "-q").exit == 0
    file = str(other.folder / ".provrun" / "registry.sqlite")
    own = str(cli.folder / ".provrun" / "registry.sqlite")
    (tmp_path / "notes.txt").write_text("notes" * 1000)
    for words, code, said in (
        ((file,), 5, "the map scan exists and is another one"),
        ((own,), 5, "is the registry of this project"),
        ((str(tmp_path / "notes.txt"),), 5, "is no registry"),
        ((str(tmp_path / "none.sqlite"),), 4, "no file"),
        ((file, "--as", "scann=old", "--as", "fit"), 2, "did you mean scan?"),
        ((file, "--prefix", "2025-"), 2, "cannot be called '2025-scan'"),
        ((file, "--as", "scan=fit"), 5, "two maps would be called fit"),
    ):
        done = cli("db", "merge", *words, "--json")
        assert (done.exit, said in done.error["message"]) == (code, True), done.out
    assert [one["name"] for one in cli("list", "--json").json["maps"]] == ["scan"]
    assert list((cli.folder / ".provrun").glob("packs/*")) == []
    done = cli("db", "merge", file, "--prefix", "y2025-", "--as", "fit=fit", "--json")
    assert done.json["maps"] == ["y2025-scan", "fit", "y2025-loud"]
    assert cli("run", "-q").exit == 0


def test_nothing_comes_in_while_jobs_share_a_log(cli: Cli, other: Cli, tmp_path: Path) -> None:
    live(other, 0, 2)
    log = {"PROVRUN_LOG": "always", "PROVRUN_SCRATCH": str(tmp_path / "scratch"), "PROVRUN_HOST": "node1"}
    assert cli("submit", "slow", "--", "sleep", "600").exit == 0
    environ = {**os.environ, **log}
    run = subprocess.Popen([sys.executable, "-m", "provrun", "run", "-q"], cwd=cli.folder, env=environ)
    file = str(other.folder / ".provrun" / "registry.sqlite")
    try:
        until(lambda: cli("tasks", "slow", "--state", "running", "-q", **log).out, "it runs")
        done = cli("db", "merge", file, "--json", **log)
        assert (done.exit, "jobs share a log" in done.error["message"]) == (5, True)
        back = other("db", "merge", str(cli.folder / ".provrun" / "registry.sqlite"), "--json")
        assert (back.exit, "through a log" in back.error["message"]) == (5, True)
    finally:
        run.terminate()
        run.wait()
    assert cli("db", "merge", file, **log).exit == 0


def test_whoever_kills_it_finds_whole_maps_and_merges_again(cli: Cli, tmp_path: Path) -> None:
    with closing(Registry.create(f"sqlite:///{tmp_path / 'other.sqlite'}")) as registry:
        study = Study(registry)
        for name in ("a", "b", "c", "d"):
            study.submit(name, grid(x=4000))
            job = study.job()
            study.run(job, name)
            registry.close_job(job, "ended", "done", AT)
    assert cli("init").exit == 0
    file = str(tmp_path / "other.sqlite")
    whole = killed = 0
    for wanted in (1, 2, 3):
        with closing(Registry.open(f"sqlite:///{cli.folder / '.provrun' / 'registry.sqlite'}")) as registry:
            words = [sys.executable, "-m", "provrun", "db", "merge", file]
            merging = subprocess.Popen(words, cwd=cli.folder, stdout=subprocess.DEVNULL)
            begun = "select 1 from map m join task t on t.map_id=m.id where m.id=?"
            # Called before the loop goes on.
            until(lambda: registry.database.fetch(f"{begun} limit 1", (wanted,)), f"map {wanted} is being written")  # noqa: B023
            merging.send_signal(signal.SIGKILL)
            killed += merging.wait() == -signal.SIGKILL
            assert registry.check() == []
            maps = registry.maps()
            assert {record.counts[State.SUCCEEDED] for record in maps} <= {4000}
            assert len(maps) >= whole
            whole = len(maps)
    assert killed
    assert cli("db", "merge", file, "--json").json["changed"] == 4000 * (4 - whole)
    assert cli("db", "check").exit == 0
    assert cli("db", "merge", file, "--json").json["changed"] == 0
