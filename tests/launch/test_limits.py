"""What queues allow, as recorded answers of schedulers say it, and as a real Slurm does."""

from __future__ import annotations

import subprocess

import pytest

from fixtures.gridengine import Grid
from fixtures.slurm import CORES, NODES, Slurm
from provrun.core.shape import Queue
from provrun.launch.dialect import Answer, Unreadable
from provrun.launch.limits import FluxLimits, GridEngineLimits, LsfLimits, PbsLimits, SlurmLimits

SINFO = """\
normal*|up|1-00:00:00|90/8/2/100|24|64000|1-16|NO
normal*|up|1-00:00:00|3/1/0/4|48|256000|1-16|NO
debug|up|30:00|0/4/0/4|24|64000|1-infinite|EXCLUSIVE
long|up|infinite|0/0/4/4|24|64000|1|FORCE:4
"""
QSTAT = """\
Queue: medq
    queue_type = Execution
    total_jobs = 3
    state_count = Transit:0 Queued:0 Held:0 Waiting:0 Running:3 Exiting:0 Begun
\t:0
    max_run = [u:PBS_GENERIC=30]
    resources_max.mem = 64gb
    resources_max.ncpus = 96
    resources_max.walltime = 100:00:00
    resources_default.place = scatter:excl
    enabled = True
    started = True

"""
PBSNODES = """\
node1
     Mom = node1
     state = free
     pcpus = 48
     resources_available.mem = 97920mb
     resources_available.ncpus = 24

node2
     state = job-busy
     resources_available.mem = 97920mb
     resources_available.ncpus = 24

node3
     state = down,offline
     resources_available.ncpus = 24

"""
BQUEUES = """\

QUEUE: normal
  -- For normal low priority jobs. This is the default queue.

PARAMETERS/STATISTICS
PRIO NICE STATUS          MAX JL/U JL/P JL/H NJOBS  PEND   RUN SSUSP USUSP  RSV PJOBS
 30   20  Open:Active       -  128    -    -     0     0     0     0     0    0     0
Interval for a host to accept two jobs is 0 seconds

 DEFAULT LIMITS:
 RUNLIMIT
 60.0 min of hostA

 MAXIMUM LIMITS:
 RUNLIMIT
 1440.0 min of hostA

 TASKLIMIT
 1 4 64

SCHEDULING POLICIES:  FAIRSHARE  EXCLUSIVE
-------------------------------------------------------------------------------

QUEUE: night
  -- Nights.
"""
BHOSTS = """\
HOST_NAME          STATUS          JL/U    MAX  NJOBS    RUN  SSUSP  USUSP    RSV
hosta              ok              -         16      0      0      0      0      0
hostb              closed_Full     -         16     16     16      0      0      0
hostc              unavail         -         16      0      0      0      0      0
hostd              ok              -          -      0      0      0      0      0
"""
GIB = 1 << 30


def said(text: str) -> Answer:
    return Answer(0, text, "")


def test_sinfo_tells_the_default_partition_by_its_most_common_nodes() -> None:
    assert SlurmLimits().read([said(SINFO)], None) == Queue(
        name="normal", cores=24, memory=64000 << 20, nodes=102, most_nodes=16, most_time=86_400.0, source="says sinfo"
    )


def test_sinfo_tells_a_partition_by_name() -> None:
    debug = SlurmLimits().read([said(SINFO)], "debug")
    assert (debug.name, debug.most_time, debug.exclusive, debug.most_nodes) == ("debug", 1800.0, True, None)
    long = SlurmLimits().read([said(SINFO)], "long,debug")
    assert (long.most_time, long.most_nodes, long.nodes, long.exclusive) == (None, 1, 4, False)


def test_a_partition_that_there_is_not_is_named() -> None:
    with pytest.raises(Unreadable, match="no partition nosuch"):
        SlurmLimits().read([said("")], "nosuch")
    with pytest.raises(Unreadable, match="nothing"):
        SlurmLimits().read([said("")], None)


def test_qstat_and_pbsnodes_tell_a_queue() -> None:
    assert PbsLimits().read([said(QSTAT), said(PBSNODES)], None) == Queue(
        name="medq", cores=24, memory=97920 << 20, nodes=2, most_nodes=4, most_time=360_000.0, most_jobs=30,
        exclusive=True, source="say qstat and pbsnodes",
    )


def test_qstat_alone_leaves_the_nodes_open() -> None:
    queue = PbsLimits().read([said(QSTAT), Answer(1, "", "pbsnodes: not allowed")], "medq")
    assert (queue.cores, queue.nodes, queue.most_time) == (0, None, 360_000.0)


def test_of_several_pbs_queues_none_is_guessed() -> None:
    with pytest.raises(Unreadable, match="which of several"):
        PbsLimits().read([said(QSTAT + QSTAT.replace("medq", "other")), said(PBSNODES)], None)


def test_bqueues_and_bhosts_tell_the_default_queue() -> None:
    assert LsfLimits().read([said(BQUEUES), said(BHOSTS)], None) == Queue(
        name="normal", cores=16, nodes=2, most_nodes=4, most_time=86_400.0, most_cores=128,
        source="say bqueues and bhosts",
    )


def test_flux_tells_its_queue() -> None:
    answers = [said("batch*|8h|1-16\ndebug|30m|0-inf\n"), said("20|480\n")]
    assert FluxLimits().read(answers, None) == Queue(
        name="batch", cores=24, nodes=20, most_nodes=16, most_time=28_800.0, source="says flux"
    )
    assert FluxLimits().read([said("|inf|0-inf\n"), said("2|8\n")], None) == Queue(
        cores=4, nodes=2, source="says flux"
    )


QHOST = """\
HOSTNAME                ARCH         NCPU NSOC NCOR NTHR NLOAD  MEMTOT  MEMUSE  SWAPTO  SWAPUS
----------------------------------------------------------------------------------------------
global                  -               -    -    -    -     -       -       -       -       -
n1                      lx-amd64       24    2   24   24  0.51   64.0G    3.1G  976.0M     0.0
n2                      lx-amd64       24    2   24   24  0.51   64.0G    3.1G  976.0M     0.0
"""


def test_qhost_and_qconf_tell_a_queue() -> None:
    assert GridEngineLimits().read([said(QHOST)], None) == Queue(
        cores=24, memory=64 * GIB, nodes=2, source="says qhost"
    )
    queue = GridEngineLimits().read([said(QHOST), said("qname short.q\nslots 24\nh_rt 02:00:00\n")], "short.q")
    assert (queue.name, queue.most_time) == ("short.q", 7200.0)
    with pytest.raises(Unreadable):
        GridEngineLimits().read([said(QHOST), Answer(1, "", "No cluster queue matches")], "short.q")


def test_a_real_grid_engine_tells_its_nodes(grid: Grid) -> None:
    limits = GridEngineLimits()
    answers = [
        Answer(done.returncode, done.stdout, done.stderr)
        for done in (
            subprocess.run(command.words, capture_output=True, text=True, check=False)
            for command in limits.ask("main")
        )
    ]
    queue = limits.read(answers, "main")
    assert (queue.name, queue.nodes, queue.most_time) == ("main", 1, None)
    assert queue.cores >= 1


@pytest.mark.parametrize(
    ("limits", "answers"),
    [
        (SlurmLimits(), [Answer(1, "", "sinfo: error: Unable to contact slurm controller")]),
        (SlurmLimits(), [said("nonsense")]),
        (SlurmLimits(), [said(SINFO.replace("*", ""))]),
        (PbsLimits(), [Answer(170, "", "qstat: Unknown queue"), said(PBSNODES)]),
        (LsfLimits(), [Answer(255, "", "LSF is down"), said(BHOSTS)]),
        (LsfLimits(), [said(BQUEUES.replace("default", "usual")), said(BHOSTS)]),
        (FluxLimits(), [said("one"), said("2|8")]),
    ],
)
def test_what_is_no_answer_is_none(limits: SlurmLimits, answers: list[Answer]) -> None:
    with pytest.raises(Unreadable):
        limits.read(answers, None)


def test_a_real_slurm_tells_its_partitions(slurm: Slurm) -> None:
    limits = SlurmLimits()

    def asked(queue: str | None) -> Queue:
        (command,) = limits.ask(queue)
        done = subprocess.run(command.words, capture_output=True, text=True, check=False)
        return limits.read([Answer(done.returncode, done.stdout, done.stderr)], queue)

    assert asked(None) == Queue(name="main", cores=CORES, nodes=NODES, source="says sinfo")
    assert asked("short") == Queue(name="short", cores=CORES, nodes=2, most_time=600.0, source="says sinfo")
