"""`reproduce`: a sample of what was published is run again by a reader, from the recorded code."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures.cli import Cli, Done
from fixtures.launchers import Launcher
from fixtures.repositories import commit_all, git
from fixtures.runs import until

STUDY = """
import os
import random
import time

import numpy as np


def levels(size, seed):
    return np.sort(np.random.default_rng(seed).normal(size=size)) * (1 + float(os.environ.get("NOISE", 0)))


def gap(levels):
    return {"width": float(np.diff(levels).mean()), "drawn": random.random()}


def summary(width):
    return {"mean": sum(width) / len(width), "n": len(width)}


def patient(x):
    if "PIDS" in os.environ:
        with open(os.environ["PIDS"] + ".part", "w") as file:
            file.write(str(os.getpid()))
        os.rename(os.environ["PIDS"] + ".part", os.environ["PIDS"])
        time.sleep(float(os.environ["NAP"]))
    return x


def long(x):
    return {"text": "z" * 200_000}


def size(text):
    return len(text)


def fragile(x):
    if os.environ.get("BROKEN"):
        raise ValueError("it is broken")
    return {"x": x, "half": x / 2 * (1 + float(os.environ.get("NOISE", 0)))}
"""
SCRIPT = """
read -r factor < data.txt
echo "{\\"y\\": $(( $1 * factor ))}" > "out.$1.json"
"""
RANKS = """
import sys

from mpi4py import MPI

world = MPI.COMM_WORLD
total = world.reduce(world.rank * int(sys.argv[1]))
if world.rank == 0:
    print([world.size, total])
"""


@pytest.fixture
def study(cli: Cli) -> Cli:
    """A repository with functions, a script and an input file that is not tracked."""
    (cli.folder / "study.py").write_text(STUDY)
    (cli.folder / "work.sh").write_text(SCRIPT)
    (cli.folder / ".gitignore").write_text("data.txt\nout.*\n")
    commit_all(cli.folder, "study")
    (cli.folder / "data.txt").write_text("3\n")
    return cli


@pytest.fixture
def chain(study: Cli) -> Cli:
    """Three maps, each over the one before, the last a reduce over 20 tasks for each size."""
    for words in (
        ["levels", "--param", "size=4,5", "--param", "seed=0:20", "--function", "study.py:levels"],
        ["gap", "--each", "levels", "--function", "study.py:gap"],
        ["summary", "--group", "gap", "--by", "size", "--function", "study.py:summary"],
    ):
        assert study("submit", *words).exit == 0
    assert study("run").exit == 0
    return study


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """A folder of somebody else, with no project near."""
    folder = tmp_path / "reader"
    folder.mkdir()
    return folder


def exported(cli: Cli, folder: Path, *words: str) -> list[str]:
    """Export a page with its records and give the words that name them."""
    page, leaves = str(folder / "paper.ttl"), str(folder / "leaves.jsonl.gz")
    done = cli("export", *words, "-o", page, "--leaves", leaves)
    assert done.exit == 0, done.err
    return [page, "--leaves", leaves]


def verdicts(done: Done) -> dict[str, str]:
    return {one["task"]: one["verdict"] for one in done.json["tasks"]}


def whys(done: Done) -> set[str]:
    return {one["why"] for one in done.json["tasks"]}


def test_a_reader_runs_a_sample_of_a_chain_again_from_a_clone(chain: Cli, reader: Path, tmp_path: Path) -> None:
    bare = tmp_path / "published.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(chain.folder), str(bare))
    page = exported(chain, reader)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = chain(
        "reproduce", *page, "--sample", "12", "--repository", f"file://{bare}", "--json", at=reader,
        TMPDIR=str(scratch),
    )
    assert done.exit == 0, done.out + done.err
    found = verdicts(done)
    assert set(found.values()) == {"reproduced"} and len(found) == 12
    assert {task.partition("/")[0] for task in found} == {"levels", "gap", "summary"}
    assert all(one["found"] == one["recorded"] for one in done.json["tasks"])
    assert [path.name for path in scratch.iterdir() if path.name.startswith("provrun-view")] == []


def test_the_sample_follows_from_the_page_and_the_readers_nonce(chain: Cli, reader: Path) -> None:
    page = exported(chain, reader)

    def drawn(*nonce: str) -> list[str]:
        words = [*page, "--map", "levels", "--sample", "5", "--repository", str(chain.folder), "--json", *nonce]
        done = chain("reproduce", *words, at=reader)
        assert done.exit == 0, done.out
        return list(verdicts(done))

    assert drawn() == drawn() != drawn("--nonce", "2718")
    assert all(task.startswith("levels/") for task in drawn("--nonce", "2718"))


def test_a_map_of_the_project_is_compared_with_what_the_registry_has(chain: Cli) -> None:
    before = sorted(path.name for path in (chain.folder / ".provrun").rglob("*"))
    done = chain("reproduce", "summary", "--json")
    assert (done.exit, verdicts(done)) == (0, {"summary/0": "reproduced", "summary/1": "reproduced"})
    assert "that they read" not in done.err  # their values are at hand
    assert sorted(path.name for path in (chain.folder / ".provrun").rglob("*")) == before


def test_results_in_a_crate_may_be_long(study: Cli, reader: Path) -> None:
    study("submit", "long", "--param", "x=0:2", "--function", "study.py:long")
    study("submit", "size", "--each", "long", "--function", "study.py:size")
    assert study("run").exit == 0
    crate = str(reader / "crate")
    assert study("export", "--format", "crate", "-o", crate).exit == 0
    done = study("reproduce", crate, "--map", "size", "--repository", str(study.folder), "--json", at=reader)
    assert (done.exit, verdicts(done)) == (0, {"size/0": "reproduced", "size/1": "reproduced"}), done.err


def test_a_planted_result_is_found_though_the_page_holds(chain: Cli, reader: Path) -> None:
    with sqlite3.connect(chain.folder / ".provrun" / "registry.sqlite") as registry:
        (map,) = registry.execute("select id from map where name='gap'").fetchone()
        registry.execute("update attempt set result_digest=zeroblob(32) where map_id=? and idx=7", (map,))
    page = exported(chain, reader, "gap")
    assert chain("verify", *page, at=reader).exit == 0
    words = ["--map", "gap", "--sample", "40", "--repository", str(chain.folder), "--json"]
    done = chain("reproduce", *page, *words, at=reader)
    found = verdicts(done)
    assert done.exit == 6 and found.pop("gap/7") == "differs"
    assert len(found) == 39 and set(found.values()) == {"reproduced"}
    assert done.json["ok"] is False and done.json["verdicts"]["differs"] == 1


@pytest.mark.parametrize("name", ["fragile", "levels"])
def test_floats_may_differ_by_a_tolerance_where_the_recorded_ones_are_at_hand(
    study: Cli, reader: Path, name: str
) -> None:
    params = {"fragile": ["--param", "x=1:6"], "levels": ["--param", "size=6", "--param", "seed=0:5"]}[name]
    study("submit", name, *params, "--function", f"study.py:{name}")
    assert study("run").exit == 0

    def again(noise: str, *words: str) -> Done:
        return study("reproduce", *words, "--json", NOISE=noise)

    assert set(verdicts(again("0", name)).values()) == {"reproduced"}
    assert again("1e-9", name).exit == 6
    close = again("1e-9", name, "--rtol", "1e-6")
    assert (close.exit, set(verdicts(close).values())) == (0, {"within tolerance"})
    far = again("1e-3", name, "--rtol", "1e-6")
    assert (far.exit, set(verdicts(far).values())) == (6, {"differs"})
    # A page has digests only; a crate also has the values, as far as its tables show them.
    page = [*exported(study, reader), "--repository", str(study.folder), "--rtol", "1e-6"]
    unknown = again("1e-9", *page)
    assert unknown.exit == 6 and any("not here to be compared" in why for why in whys(unknown))
    if name == "fragile":
        assert study("export", "--format", "crate", "-o", str(reader / "crate")).exit == 0
        crate = again("1e-9", str(reader / "crate"), "--repository", str(study.folder), "--rtol", "1e-6")
        assert (crate.exit, set(verdicts(crate).values())) == (0, {"within tolerance"})


def test_what_fails_or_ends_its_process_now_is_said_to_fail(study: Cli) -> None:
    study("submit", "fragile", "--param", "x=0:3", "--function", "study.py:fragile")
    assert study("run").exit == 0
    done = study("reproduce", "fragile", "--json", BROKEN="1")
    assert (done.exit, set(verdicts(done).values())) == (6, {"failed"})
    assert all("it is broken" in why for why in whys(done))


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_who_is_stopped_leaves_no_process_and_no_folder_for_long(
    study: Cli, tmp_path: Path, ending: signal.Signals
) -> None:
    temporary, pids = tmp_path / "temporary", tmp_path / "pids"
    temporary.mkdir()
    study("submit", "patient", "--param", "x=0:2", "--function", "study.py:patient")
    assert study("run").exit == 0
    environ = {**os.environ, "TMPDIR": str(temporary), "NAP": "60", "PIDS": str(pids)}
    words = [sys.executable, "-m", "provrun", "reproduce", "patient", "--sample", "1"]
    with subprocess.Popen(words, cwd=study.folder, env=environ, stderr=subprocess.DEVNULL) as running:
        until(pids.exists, "a task runs again")
        running.send_signal(ending)
        assert running.wait(30) in (130, -signal.SIGTERM)
    until(lambda: not Path(f"/proc/{pids.read_text()}").exists(), "its process is gone")
    if ending == signal.SIGINT:
        assert list(temporary.iterdir()) == []
    for left in temporary.iterdir():
        os.utime(left, (0, 0))
    assert study("reproduce", "patient", "--sample", "1", TMPDIR=str(temporary)).exit == 0
    assert list(temporary.iterdir()) == []
    assert study("verify").exit == 0


def test_uncommitted_code_is_in_the_crate_and_not_with_a_page(study: Cli, reader: Path) -> None:
    (study.folder / "study.py").write_text(STUDY.replace("x / 2", "x / 4"))
    study("submit", "fragile", "--param", "x=0:3", "--function", "study.py:fragile")
    assert study("run").exit == 0
    page = exported(study, reader)
    assert study("export", "--format", "crate", "-o", str(reader / "crate")).exit == 0
    git(study.folder, "checkout", "--quiet", "study.py")
    here = ["--repository", str(study.folder), "--json"]
    done = study("reproduce", *page, *here, at=reader)
    assert (done.exit, set(verdicts(done).values())) == (1, {"could not be run"})
    assert all("not committed" in why for why in whys(done))
    done = study("reproduce", "crate", *here, at=reader)
    assert (done.exit, set(verdicts(done).values())) == (0, {"reproduced"})


def test_commands_find_their_inputs_where_the_reader_says(study: Cli, reader: Path) -> None:
    study("submit", "scaled", "--param", "x=1:4", "--input", "data.txt", "--output", "y=out.{x}.json",
          "--", "sh", "work.sh", "{x}")
    assert study("run").exit == 0
    words = [*exported(study, reader), "--repository", str(study.folder), "--json"]
    without = study("reproduce", *words, at=reader)
    assert without.exit != 0 and "reproduced" not in verdicts(without).values()
    (reader / "files").mkdir()
    (reader / "files" / "data.txt").write_text("3\n")
    done = study("reproduce", *words, "--inputs", "files", at=reader)
    assert (done.exit, set(verdicts(done).values())) == (0, {"reproduced"})
    (reader / "files" / "data.txt").write_text("4\n")
    done = study("reproduce", *words, "--inputs", "files", at=reader)
    assert (done.exit, set(verdicts(done).values())) == (1, {"could not be run"})


def test_what_cannot_be_checked_is_said(study: Cli, reader: Path) -> None:
    study("submit", "fragile", "--param", "x=0:3", "--function", "study.py:fragile")
    assert study("run").exit == 0
    page, *leaves = exported(study, reader)
    error: dict[str, Any] = study("reproduce", page, "--json", at=reader).error
    assert "--leaves" in error["next"]
    nowhere = study("reproduce", page, *leaves, "--json", at=reader)
    assert (nowhere.exit, set(verdicts(nowhere).values())) == (1, {"could not be run"})
    assert all("--repository" in why for why in whys(nowhere))
    for wrong in ("no/such/repository", "https://127.0.0.1:1/none.git"):
        done = study("reproduce", page, *leaves, "--repository", wrong, "--json", at=reader)
        assert (done.exit, set(verdicts(done).values())) == (1, {"could not be run"})
    assert study("reproduce", "paper.pdf", at=reader).exit == 4
    assert study("reproduce", "nothing").exit == 4
    assert study("reproduce", page, *leaves, "--map", "other", at=reader).exit == 4
    damaged = reader / "damaged.ttl"
    damaged.write_text(Path(page).read_text().replace("pr:succeeded 3", "pr:succeeded 2", 1))
    done = study("reproduce", str(damaged), *leaves, "--json", at=reader)
    assert done.exit == 6 and "does not hold" in done.error["message"]


def test_what_differs_in_software_is_said(study: Cli, reader: Path) -> None:
    study("submit", "fragile", "--param", "x=0:3", "--function", "study.py:fragile")
    assert study("run", OMP_SCHEDULE="static").exit == 0
    assert study("export", "--format", "crate", "-o", str(reader / "crate")).exit == 0
    environ = {"OMP_SCHEDULE": "dynamic"} if "OMP_SCHEDULE" in os.environ else {}
    done = study("reproduce", "crate", "--repository", str(study.folder), "--json", at=reader, **environ)
    assert done.exit == 0
    assert "recorded, not here: # OMP_SCHEDULE=static" in done.json["environment"]


def test_tasks_have_the_cores_ranks_and_limits_that_they_had(study: Cli) -> None:
    text = ["--result", "stdout-text", "--task-time", "50", "--task-memory", "1G"]
    study("submit", "wide", "--param", "x=0:2", "--cores", "3", *text, "--", "printenv", "PROVRUN_CORES")
    study("submit", "ranked", "--param", "x=0:2", "--ranks", "2", *text, "--", "printenv", "RANKS")
    launcher = {"PROVRUN_LAUNCHER": "env RANKS={ranks}"}
    assert study("run", "--slots", "3", **launcher).exit == 0
    for name in ("wide", "ranked"):
        done = study("reproduce", name, "--slots", "3", "--json", **launcher)
        assert (done.exit, set(verdicts(done).values())) == (0, {"reproduced"}), done.out
        narrow = study("reproduce", name, "--slots", "1", "--json", **launcher)
        assert (narrow.exit, set(verdicts(narrow).values())) == (1, {"could not be run"})
        assert all("--slots" in why for why in whys(narrow))


def test_ranks_of_mpi_run_again(study: Cli, reader: Path, mpi: Launcher) -> None:
    (study.folder / "ranks.py").write_text(RANKS)
    commit_all(study.folder, "ranks")
    words = ["--ranks", "3", "--result", "stdout-json", "--", sys.executable, "ranks.py", "{x}"]
    study("submit", "ranked", "--param", "x=1:3", *words)
    assert study("run", "--slots", "3").exit == 0
    page = [*exported(study, reader), "--repository", str(study.folder), "--slots", "3", "--json"]
    done = study("reproduce", *page, at=reader)
    assert (done.exit, set(verdicts(done).values())) == (0, {"reproduced"}), done.out + done.err
    assert study("results", "ranked", "--json").json["results"][1]["result"] == [3, 6]


@pytest.mark.parametrize(
    ("limit", "why"), [(("--task-time", "0.5s"), "longer than its limit"), (("--gpus", "1"), "wants 1 GPUs")]
)
def test_a_task_that_needs_more_than_there_is_here_is_not_blamed(
    study: Cli, tmp_path: Path, limit: tuple[str, str], why: str
) -> None:
    study("submit", "patient", "--param", "x=0:2", *limit, "--function", "study.py:patient")
    assert study("run", CUDA_VISIBLE_DEVICES="0").exit == 0
    environ = {"PIDS": str(tmp_path / "pids"), "NAP": "20", "CUDA_VISIBLE_DEVICES": ""}
    done = study("reproduce", "patient", "--sample", "1", "--json", **environ)
    assert (done.exit, set(verdicts(done).values())) == (1, {"could not be run"}), done.out
    assert all(why in one for one in whys(done))
