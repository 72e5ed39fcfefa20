"""The disordered Heisenberg chain gives the numbers of the literature, through the command line and from Python."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import rdflib

from fixtures.examples import EXAMPLES, Study
from fixtures.parts import lacking
from fixtures.repositories import git
from provrun.core.canonical import digest_text

pytestmark = pytest.mark.xdist_group("localization")

RANDOM_MATRICES, INDEPENDENT_LEVELS = 0.5307, 0.3863


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    if find_spec("quspin") is None:
        lacking("no quspin: pip install quspin")
    return Study.of("localization", tmp_path_factory.mktemp("example"))


def test_weak_disorder_repels_levels_and_strong_disorder_leaves_them_independent(study: Study) -> None:
    rows = {row["params"]["W"]: row["result"] for row in study.ask("results", "average")["results"]}
    assert {W: row["n"] for W, row in rows.items()} == {0.5: 100, 8: 100}
    # Four standard errors of either mean are below 0.01, so this is no luck of the seeds.
    assert all(row["error"] < 0.0025 for row in rows.values())
    assert rows[0.5]["mean"] == pytest.approx(RANDOM_MATRICES, abs=0.01)
    assert rows[8]["mean"] == pytest.approx(INDEPENDENT_LEVELS, abs=0.01)


def test_running_the_script_added_nothing_to_what_the_command_line_made(study: Study) -> None:
    maps = {entry["name"]: entry for entry in study.ask("status")["maps"]}
    assert {name: sum(entry["ntasks"].values()) for name, entry in maps.items()} == {
        "spectrum": 200, "ratio": 200, "average": 2,
    }
    assert all(entry["ntasks"]["succeeded"] == sum(entry["ntasks"].values()) for entry in maps.values())
    assert all(row["attempts"] == 1 for row in study.ask("tasks", "average")["tasks"])


def test_a_number_leads_back_to_the_commit_that_made_it(study: Study) -> None:
    command = [sys.executable, "-m", "provrun", "trace", "average/0"]
    done = subprocess.run(command, cwd=study.folder, env=study.environ, check=True, capture_output=True, text=True)
    assert git(study.folder, "rev-parse", "--short=7", "HEAD") in done.stdout
    assert "spectrum" in done.stdout


def test_the_published_graph_is_read_by_others(study: Study) -> None:
    graph = rdflib.Graph().parse(study.folder / "localization.ttl", format="turtle")
    prov = rdflib.Namespace("http://www.w3.org/ns/prov#")
    assert len(set(graph.subjects(rdflib.RDF.type, prov.Activity))) >= 6  # three maps, a cohort of each
    assert len(graph) < 5000  # a page, not a row per task


def test_a_stranger_verifies_the_crate_and_runs_a_sample_of_20_again(study: Study, tmp_path: Path) -> None:
    crate = tmp_path / "stranger" / "paper"
    crate.parent.mkdir()
    provrun = [sys.executable, "-m", "provrun"]
    publish = [*provrun, "export", "average", "--format", "crate", "-o", str(crate)]
    subprocess.run(publish, cwd=study.folder, env=study.environ, check=True, capture_output=True)
    environ = {key: value for key, value in study.environ.items() if not key.startswith("PROVRUN")}

    def ask(*words: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [*provrun, *words, "--json"], cwd=crate.parent, env=environ, check=False, capture_output=True, text=True
        )
        return done.returncode, json.loads(done.stdout)

    assert ask("verify", "paper")[0] == 0
    again = ["reproduce", "paper", "--sample", "20", "--nonce", "a stranger's", "--repository", str(study.folder)]
    code, report = ask(*again)
    assert (code, report["sample"]) == (0, 20), report
    assert {one["verdict"] for one in report["tasks"]} == {"reproduced"}
    assert {one["task"].partition("/")[0] for one in report["tasks"]} == {"spectrum", "ratio", "average"}


def test_one_planted_change_is_found(study: Study, tmp_path: Path) -> None:
    lie = tmp_path / "study"
    shutil.copytree(study.folder / ".provrun", lie / ".provrun")
    with sqlite3.connect(lie / ".provrun" / "registry.sqlite") as registry:
        (map,) = registry.execute("select id from map where name='ratio'").fetchone()
        text = '{"r":0.5}'
        planted = text, digest_text("result", text), map
        registry.execute("update attempt set result=?, result_digest=? where map_id=? and idx=0", planted)
    provrun = [sys.executable, "-m", "provrun"]
    environ = study.environ | {"PROVRUN_PROJECT": str(lie)}
    page = [str(tmp_path / "paper.ttl"), "--leaves", str(tmp_path / "leaves.jsonl.gz")]
    for words in (["export", "ratio", "-o", *page], ["verify", *page]):
        subprocess.run([*provrun, *words], cwd=lie, env=environ, check=True, capture_output=True)  # the page holds
    again = ["reproduce", *page, "--map", "ratio", "--sample", "200", "--repository", str(study.folder), "--json"]
    done = subprocess.run(
        [*provrun, *again], cwd=tmp_path, env=environ, check=False, capture_output=True, text=True
    )
    found = {one["task"]: one["verdict"] for one in json.loads(done.stdout)["tasks"]}
    assert (done.returncode, found.pop("ratio/0")) == (6, "differs")
    assert len(found) == 199 and set(found.values()) == {"reproduced"}


def test_the_demo_ends_with_a_graph_and_leaves_the_repository_as_it_was(tmp_path: Path) -> None:
    if find_spec("quspin") is None:
        lacking("no quspin: pip install quspin")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "SIZES": "8", "DISORDERS": "0.5,8", "SEEDS": "0:4"}
    before = git(EXAMPLES, "status", "--porcelain", ".")
    done = subprocess.run(
        [EXAMPLES / "localization" / "demo", tmp_path / "demo"], env=environ, check=False, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "demo" / "localization.ttl").stat().st_size > 0
    assert "$ provrun trace average/1" in done.stdout
    assert git(EXAMPLES, "status", "--porcelain", ".") == before
