"""Runs over a list of hosts, without a scheduler: one rank on each, started again on those that respond."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from fixtures.invariants import Invariants
from fixtures.kills import family_of, others_of
from fixtures.launchers import Launcher
from fixtures.runs import Runs, finished, until
from fixtures.witness import Witness
from provrun.errors import UsageError
from provrun.run.hosts import Host, first_here, is_here, read_hosts
from provrun.run.links import SILENCE
from provrun.run.processes import read_process
from provrun.store.reads import Reads

GATED = "; while [ ! -e gate ]; do sleep 0.02; done"
# Starts on this host what it is told to start on another one, unless that is down.
SSH = """\
#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
host=$1
shift
[ ! -e "$DOWN-$host" ] && exec sh -c "$*"
exit 255
"""


@pytest.fixture
def down(tmp_path: Path, mpi: Launcher, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the launcher reach addresses of this host as if they were other hosts; give how to name those down."""
    ssh = tmp_path / "ssh"
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    monkeypatch.setenv("DOWN", str(tmp_path / "down"))
    monkeypatch.setenv("HYDRA_LAUNCHER", "ssh")
    monkeypatch.setenv("HYDRA_LAUNCHER_EXEC", str(ssh))
    monkeypatch.setenv("PRTE_MCA_plm_ssh_agent", str(ssh))
    return tmp_path / "down"


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("n1\nn2\n", [Host("n1", None), Host("n2", None)]),
        ("n1:2\nn2 slots=4  # the large one\n\n# none\n", [Host("n1", 2), Host("n2", 4)]),
        ("n1\nn1\nn2.x.org\n", [Host("n1", 2), Host("n2.x.org", None)]),
        ("n1 slots = 2 \n", [Host("n1", 2)]),
    ],
)
def test_a_list_of_hosts_is_read(tmp_path: Path, text: str, hosts: list[Host]) -> None:
    (tmp_path / "hosts").write_text(text)
    assert read_hosts(tmp_path / "hosts") == hosts


@pytest.mark.parametrize(("text", "said"), [("n1 n2\nn3:0\n", "line 1: n1 n2; line 2: n3:0"), ("#\n", "no host in it")])
def test_all_lines_that_name_no_host_are_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "hosts").write_text(text)
    with pytest.raises(UsageError, match=said):
        read_hosts(tmp_path / "hosts")


def test_this_host_comes_first_and_must_be_in_the_list() -> None:
    here = Host(os.uname().nodename, 2)
    assert first_here([Host("192.0.2.77", 1), here, Host("192.0.2.78", 1)])[0] == here
    assert not is_here("192.0.2.77")
    with pytest.raises(UsageError, match="the manager runs here"):
        first_here([Host("192.0.2.77", 1)])


def test_each_host_runs_as_many_tasks_as_its_line_says(runs: Runs, witness: Witness, down: Path) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + GATED], 9)
    (runs.root / "hosts").write_text("127.0.0.1:1\n127.0.0.2 slots=2\n127.0.0.3\n")
    process = runs.start("--hosts", "hosts", "-j", "3")
    until(lambda: len(witness.lines()) == 6, "six tasks began")
    (runs.root / "gate").touch()
    code, document, said = finished(process)
    assert (code, document["succeeded"]) == (0, 9), said
    project = runs.project()
    reads = Reads(project.registry.database)
    (job,) = reads.jobs()
    ranks = [reads.context(reads.attempts(1, index)[0].context).rank for index in range(9)]
    project.close()
    assert (job.kind, job.ranks, job.slots) == ("mpi", 3, 1)
    assert set(ranks) == {0, 1, 2}
    assert list((runs.root / ".provrun" / "tmp").glob("*.hosts")) == []


def test_a_host_that_goes_down_costs_a_new_start_on_the_others(
    runs: Runs, witness: Witness, down: Path, invariants: Invariants
) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + GATED], 6)
    (runs.root / "hosts").write_text("127.0.0.1:1\n127.0.0.2:1\n")
    process = runs.start("--hosts", "hosts")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    (other,) = others_of(runs)
    Path(f"{down}-127.0.0.2").touch()
    os.kill(other, signal.SIGKILL)
    until(lambda: len(witness.lines()) == 3, "one began again")
    (runs.root / "gate").touch()
    code, document, said = finished(process, timeout=60)
    assert (code, document["succeeded"]) == (0, 6), said
    project = runs.project()
    assert [job.ranks for job in Reads(project.registry.database).jobs()] == [2, 1]
    project.close()
    invariants()


def test_a_host_that_falls_silent_is_asked_after_and_done_without(
    runs: Runs, witness: Witness, down: Path, invariants: Invariants
) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + GATED], 6)
    (runs.root / "hosts").write_text("127.0.0.1:1\n127.0.0.2:1\n")
    process = runs.start("--hosts", "hosts")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    (other,) = others_of(runs)
    # As when its power is cut: nothing of it says anything any more, and no connection is closed.
    Path(f"{down}-127.0.0.2").touch()
    gone = [read_process(other).parent, *family_of(other)]
    for pid in gone:
        with suppress(ProcessLookupError):  # what has just ended says nothing more either
            os.kill(pid, signal.SIGSTOP)
    until(lambda: len(witness.lines()) == 3, "one began again", patience=120)
    (runs.root / "gate").touch()
    code, document, said = finished(process, timeout=60)
    assert (code, document["succeeded"]) == (0, 6), said
    for pid in gone:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    invariants()


@pytest.mark.parametrize("mpi", ["mpich"], indirect=True)
def test_a_rank_that_is_stopped_for_a_while_on_a_host_that_responds_is_waited_for(
    runs: Runs, witness: Witness, down: Path, invariants: Invariants
) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + GATED], 2)
    (runs.root / "hosts").write_text("127.0.0.1:1\n127.0.0.2:1\n")
    process = runs.start("--hosts", "hosts")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    (other,) = others_of(runs)
    os.kill(other, signal.SIGSTOP)
    time.sleep(SILENCE + 5)
    os.kill(other, signal.SIGCONT)
    (runs.root / "gate").touch()
    code, document, said = finished(process, timeout=60)
    assert (code, document["succeeded"], document["lost"]) == (0, 2, 0), said
    invariants()


def test_a_list_of_hosts_and_a_number_of_ranks_exclude_each_other(runs: Runs) -> None:
    runs.submit("t", ["true"], 1)
    code, document, _ = finished(runs.start("--hosts", "hosts", "--mpi", "2"))
    assert code == 2
    assert "--mpi" in document["error"]["message"]
