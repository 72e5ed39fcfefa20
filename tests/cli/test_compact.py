"""`compact` drops what nobody needs and gives the space back, and nothing that was published changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fixtures.cli import Cli
from fixtures.runs import until

STUDY = """
import os

def long(x):
    print("noise", x, os.urandom(2000).hex())
    return {"text": str(x) * 200000 + os.environ.get("MORE", "")}

def fails(x):
    print("before it failed", x)
    raise ValueError(x)
"""


@pytest.fixture
def study(cli: Cli) -> Cli:
    """Long results of which some were superseded, packed outputs, and failures, all with captured output."""
    (cli.folder / "study.py").write_text(STUDY)
    assert cli("submit", "long", "--param", "x=0:6", "--function", "study.py:long").exit == 0
    assert cli("submit", "fails", "--param", "x=0:3", "--function", "study.py:fails").exit == 0
    line = "mkdir -p out; seq {x} 3000 > out/{x}.txt; echo done"
    words = ["--param", "x=1:4", "--output", "o=out/{x}.txt", "--pack", "--shell", "--", line]
    assert cli("submit", "packed", *words).exit == 0
    assert cli("run").exit == 3
    assert cli("rerun", "long", "--where", "x < 3", "--force").exit == 0
    assert cli("run", "long", MORE="more").exit == 0
    return cli


def size(cli: Cli) -> int:
    return sum(path.stat().st_size for path in (cli.folder / ".provrun" / "packs").glob("*.pack"))


def page(cli: Cli) -> tuple[bytes, bytes]:
    paths = cli.folder / "page.ttl", cli.folder / "leaves.jsonl"
    assert cli("export", "-o", str(paths[0]), "--leaves", str(paths[1])).exit == 0
    return paths[0].read_bytes(), paths[1].read_bytes()


def all_results(cli: Cli) -> list[dict[str, object]]:
    return [row["result"] for row in cli("results", "long", "--json").json["results"]]


def test_what_goes_is_said_and_what_counts_stays(study: Cli) -> None:
    before, published, results = size(study), page(study), all_results(study)
    said = study("compact", "--dry-run", "--json").json
    assert said["dry_run"] is True and size(study) == before
    done = study("compact", "--json").json
    assert {**done, "dry_run": True} == said
    assert (done["outputs"], done["contents"]) == (12, 3)  # six and three again, three commands; three old results
    assert before - size(study) == done["freed"] > 0
    assert page(study) == published and all_results(study) == results
    assert study("verify").exit == study("db", "check").exit == 0
    assert "before it failed" in study("logs", "fails/1").out
    gone = study("logs", "long/1", "--json")
    assert gone.exit == 4 and "dropped by provrun compact" in gone.error["message"]
    assert study("logs", "long").exit == 0
    assert not any(one["log"] for one in study("show", "long/1", "--json").json["history"])
    assert study("get", "packed/1", "-o", "again").exit == 0
    assert (study.folder / "again" / "out" / "2.txt").read_text().splitlines()[-1] == "3000"
    assert study("compact", "--json").json == {"outputs": 0, "contents": 0, "freed": 0, "dry_run": False}
    assert study("compact", "--output", "all", "--json").json["outputs"] == 3
    assert study("logs", "fails/1").exit == 4


def test_rules_say_what_goes(study: Cli) -> None:
    def would(*words: str) -> tuple[int, int]:
        said = study("compact", "--dry-run", "--json", *words).json
        return said["outputs"], said["contents"]

    assert would("--output", "none") == (0, 3)
    assert would("--output", "none", "--keep-superseded") == (0, 0)
    assert would("packed") == (3, 0)
    assert would("fails", "--output", "all") == (3, 0)
    assert would("--older", "1h") == (0, 0)
    assert would("--older", "0s") == (12, 3)
    assert study("compact", "nothing").exit == 4
    assert study("compact", "--older", "soon").exit == 2


def test_nothing_is_dropped_while_a_job_runs(study: Cli) -> None:
    assert study("submit", "slow", "--", "sleep", "600").exit == 0
    run = subprocess.Popen([sys.executable, "-m", "provrun", "run", "slow", "-q"], cwd=study.folder)
    try:
        until(lambda: "running" in study("status", "slow", "-q").out + study("tasks", "slow", "--json").out, "it runs")
        before = size(study)
        done = study("compact", "--json")
        assert (done.exit, size(study)) == (5, before)
        assert "is running" in done.error["message"]
    finally:
        run.send_signal(signal.SIGTERM)
        run.wait()


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.05, 0.1, 0.15, 0.2])
def test_killed_at_any_moment_it_loses_nothing_and_the_next_one_does_the_rest(study: Cli, moment: float) -> None:
    published, results = page(study), all_results(study)
    packs = study.folder / ".provrun" / "packs"
    first = {path.name for path in packs.glob("*.pack")}
    process = subprocess.Popen(
        [sys.executable, "-m", "provrun", "compact"], cwd=study.folder, stdout=subprocess.DEVNULL,
        env=dict(os.environ),
    )
    # The moments that matter are those after the first new pack is there.
    end = time.monotonic() + 20
    while process.poll() is None and {p.name for p in packs.glob("*.pack")} <= first and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(moment / 10)
    process.kill()
    process.wait()
    assert page(study) == published and all_results(study) == results
    assert study("verify").exit == 0
    assert study("compact").exit == 0
    assert page(study) == published and all_results(study) == results
    assert study("compact", "--json").json == {"outputs": 0, "contents": 0, "freed": 0, "dry_run": False}
    assert study("get", "packed/2", "-o", "again").exit == 0


def test_packs_of_maps_that_were_deleted_and_of_jobs_that_nobody_knows_go(study: Cli) -> None:
    stray = study.folder / ".provrun" / "packs" / "00000000-0000-0000-0000-000000000000-0.pack"
    stray.write_bytes(b"x" * 1000)
    for name in ("long", "fails", "packed"):
        assert study("delete", name, "--force").exit == 0
    assert study("compact").exit == 0
    assert list((study.folder / ".provrun" / "packs").iterdir()) == []


def test_both_databases_compact_alike(study: Cli, postgres_url: str, tmp_path: Path) -> None:
    other = Cli(tmp_path / "other")
    other.folder.mkdir()
    assert other("init", "--db", postgres_url).exit == 0
    (other.folder / "study.py").write_text(STUDY)
    assert other("submit", "long", "--param", "x=0:6", "--function", "study.py:long").exit == 0
    assert other("run").exit == 0
    assert other("rerun", "long", "--force").exit == 0
    assert other("run", MORE="more").exit == 0
    results = all_results(other)
    done = other("compact", "--json").json
    assert (done["outputs"], done["contents"]) == (12, 6) and done["freed"] > 0
    assert all_results(other) == results and other("verify").exit == 0


def test_what_another_map_reuses_stays_when_its_maker_goes(study: Cli) -> None:
    assert study("submit", "again", "--param", "x=3:6", "--function", "study.py:long", "--reuse").exit == 0
    assert study("run", "again", "--json").exit == 0
    rows = study("results", "again", "--json").json["results"]
    assert [row["result"] for row in rows] == all_results(study)[3:]
    assert study("tasks", "again", "--json").json["tasks"][0]["attempts"] == 0
    assert study("compact", "--output", "all").exit == 0
    assert study("delete", "long", "--force").exit == 0
    assert study("compact").exit == 0
    assert study("results", "again", "--json").json["results"] == rows
    assert study("verify").exit == 0
    done = study("reproduce", "again", "--json", "--repository", ".")
    assert (done.exit, done.json["verdicts"]["reproduced"]) == (0, 3), done.out + done.err
