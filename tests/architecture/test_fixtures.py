"""The fixtures give real parts that work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from fixtures.processes import MARK, carrying
from fixtures.repositories import git
from fixtures.runs import until

if TYPE_CHECKING:
    from fixtures.launchers import Launcher
    from fixtures.witness import Witness

# One write for each line: pieces of two ranks' lines would mix.
RANKS = """
import os
from mpi4py import MPI
world = MPI.COMM_WORLD
os.write(1, f"{world.rank} {world.size} {MPI.Get_library_version().splitlines()[0]}\\n".encode())
"""


def test_a_repository_has_one_commit_and_a_clean_tree(project_dir: Path) -> None:
    assert git(project_dir, "status", "--porcelain") == ""
    assert git(project_dir, "rev-list", "--count", "HEAD") == "1"
    assert Path.cwd() == project_dir


def test_a_postgres_database_is_empty_and_writable(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("create table t (x integer)")
        assert connection.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone() == (1,)


def test_the_next_postgres_database_is_empty_again(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone() == (0,)


@pytest.mark.usefixtures("no_strays")
@pytest.mark.parametrize("command", ["absolute", "by path"])
def test_each_mpi_gives_ranks_of_its_own_library(mpi: Launcher, command: str) -> None:
    argv = mpi.command(2, sys.executable, "-c", RANKS)
    if command == "by path":
        argv[0] = "mpiexec"
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60)
    library = {"mpich": "MPICH", "openmpi": "Open MPI"}[mpi.name]
    seen = sorted(line.split()[:2] for line in done.stdout.splitlines() if library in line)
    assert seen == [["0", "2"], ["1", "2"]], done.stdout + done.stderr


def test_a_stray_is_seen_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, "a-stray-of-this-test")
    setting = f"{MARK}=a-stray-of-this-test".encode()
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        until(lambda: carrying(setting), "the environment of a new program is there")
        assert carrying(setting) == {child.pid: "sleep 60"}
    finally:
        child.kill()
        child.wait()
    assert carrying(setting) == {}


def test_a_witness_counts_lines_of_many_processes(witness: Witness) -> None:
    children = [subprocess.Popen(["sh", "-c", 'echo once >> "$WITNESS"']) for _ in range(8)]
    assert [child.wait() for child in children] == [0] * 8
    assert witness.counts() == {"once": 8}
