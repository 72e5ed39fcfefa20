"""What queues allow, as schedulers tell it: for each one the commands that ask, and how their answers read.

What an answer does not say stays unknown: 0 cores, None for the rest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from provrun.core.shape import Queue
from provrun.core.units import parse_duration, parse_size
from provrun.errors import UsageError
from provrun.launch.dialect import Answer, Command, Unreadable


class Limits(Protocol):
    """How one scheduler is asked what a queue allows; nothing here runs anything."""

    def ask(self, queue: str | None) -> list[Command]:
        """Give the commands that ask for a queue (None: the one that jobs go to unasked)."""

    def read(self, answers: Sequence[Answer], queue: str | None) -> Queue:
        """Read what they say; raises `Unreadable`."""


class _Node(NamedTuple):
    """A kind of node, and how many there are; memory in bytes."""

    cores: int
    memory: int | None
    nodes: int


# partition (* marks the default), state, time limit, nodes by state, CPUs, MB, nodes of a job, sharing
_SINFO = "%P|%a|%l|%F|%c|%m|%s|%h"


class SlurmLimits:
    """Asks `sinfo`."""

    def ask(self, queue: str | None) -> list[Command]:
        words = ["sinfo", "--noheader", "--exact", f"--format={_SINFO}"]
        return [Command([*words, f"--partition={queue}"] if queue else words, environ={"SINFO_FORMAT": None})]

    def read(self, answers: Sequence[Answer], queue: str | None) -> Queue:
        # It says nothing of a partition that there is not.
        said = answers[0].out if queue and not answers[0].exit else _text(answers[0])
        lines = [line.split("|") for line in said.splitlines() if line.strip()]
        if any(len(fields) != 8 for fields in lines):
            raise Unreadable(answers[0].out)
        # Several partitions may be named at once; a job goes to any of them, so the first is taken.
        named = queue.split(",")[0] if queue else None
        found = [fields for fields in lines if (fields[0].rstrip("*") == named if named else fields[0].endswith("*"))]
        if not found:
            raise Unreadable(f"no partition {queue}" if queue else "no partition is the default")
        name, _, time, _, _, _, size, sharing = found[0]
        kind = _usual(
            _Node(_number(fields[4]), _megabytes(fields[5]), _usable(fields[3])) for fields in found
        )
        return Queue(
            name=name.rstrip("*"), cores=kind.cores, memory=kind.memory, nodes=kind.nodes or None,
            most_nodes=_most(size.rpartition("-")[2]), most_time=_time(time),
            exclusive=sharing.startswith("EXCL"), source="says sinfo",
        )


def _usable(counts: str) -> int:
    """Count nodes that are allocated or idle in allocated/idle/other/total."""
    allocated, idle, _, total = (int(each) for each in counts.split("/"))
    return allocated + idle or total


def _megabytes(text: str) -> int | None:
    number = _number(text)
    return number << 20 if number > 1 else None  # 1: nobody has said how much it is


class PbsLimits:
    """Asks `qstat` for the queue and `pbsnodes` for the nodes."""

    def ask(self, queue: str | None) -> list[Command]:
        return [Command(["qstat", "-Qf", *([queue] if queue else [])]), Command(["pbsnodes", "-a"])]

    def read(self, answers: Sequence[Answer], queue: str | None) -> Queue:
        blocks = [
            (name.strip(), _attributes(rest))
            for name, _, rest in (
                block.partition("\n") for block in re.split(r"^Queue:? *", _text(answers[0]), flags=re.MULTILINE)[1:]
            )
        ]
        open_ = [
            (name, its) for name, its in blocks
            if its.get("enabled", "True") == "True" and (queue or its.get("queue_type", "Execution") == "Execution")
        ]
        if not open_ or (queue is None and len(open_) > 1):
            raise Unreadable(f"no queue {queue} takes jobs" if queue else "which of several queues it would be")
        name, its = open_[0]
        cores = _pbs_number(its, "resources_max.ncpus")
        kind = _usual(_pbs_nodes(answers[1])) if answers[1].exit == 0 else _Node(0, None, 0)
        per_user = its.get("max_user_run") or its.get("max_user_queuable") or _generic(its.get("max_run", ""))
        most_nodes = _pbs_number(its, "resources_max.nodect") or _pbs_number(its, "resources_max.nodes")
        if cores and kind.cores and most_nodes is None and cores >= kind.cores:
            most_nodes = cores // kind.cores
        return Queue(
            name=name, cores=min(kind.cores, cores) if cores and kind.cores else kind.cores, memory=kind.memory,
            nodes=kind.nodes or None, most_nodes=most_nodes, most_time=_time(its.get("resources_max.walltime", "")),
            most_jobs=_most(per_user or ""), exclusive="excl" in its.get("resources_default.place", ""),
            source="say qstat and pbsnodes",
        )


def _pbs_nodes(answer: Answer) -> list[_Node]:
    nodes = []
    for block in re.split(r"\n\s*\n", answer.out):
        its = _attributes(block)
        state = its.get("state", "")
        cores = _number(its.get("resources_available.ncpus") or its.get("np") or its.get("pcpus") or "")
        if cores and not re.search("down|offline|unknown|stale", state):
            nodes.append(_Node(cores, _bytes(its.get("resources_available.mem", "")), 1))
    return nodes


def _attributes(text: str) -> dict[str, str]:
    lines = text.replace("\n\t", "").splitlines()
    pairs = (line.strip().partition(" = ") for line in lines)
    return {name: value for name, separator, value in pairs if separator}


def _pbs_number(its: dict[str, str], name: str) -> int | None:
    return _most(its.get(name, ""))


def _generic(text: str) -> str | None:
    """Read what any user may have: ``[u:PBS_GENERIC=30]``."""
    found = re.search(r"u:PBS_GENERIC=(\d+)", text)
    return found[1] if found else None


class LsfLimits:
    """Asks `bqueues` for the queue and `bhosts` for the nodes."""

    def ask(self, queue: str | None) -> list[Command]:
        return [Command(["bqueues", "-l", *([queue] if queue else [])]), Command(["bhosts", "-w"])]

    def read(self, answers: Sequence[Answer], queue: str | None) -> Queue:
        blocks = re.split(r"^QUEUE: *", _text(answers[0]), flags=re.MULTILINE)[1:]
        found = blocks if queue else [block for block in blocks if "default queue" in block]
        if not found:
            raise Unreadable(f"no queue {queue}" if queue else "no queue is the default")
        block = found[0]
        kind = _usual(_lsf_nodes(answers[1])) if answers[1].exit == 0 else _Node(0, None, 0)
        # The last RUNLIMIT is the largest allowed, those before it are defaults; minutes, of a kind of host.
        runs = re.findall(r"^\s*RUNLIMIT[^\n]*\n\s*([\d.]+) min", block, re.MULTILINE)
        tasks = re.findall(r"^\s*(?:TASK|PROC)LIMIT[^\n]*\n\s*((?:\d+ *)+)", block, re.MULTILINE)
        slots = int(tasks[-1].split()[-1]) if tasks else None
        per_user = re.search(r"^ *PRIO +NICE +STATUS +MAX +JL/U.*\n *(?:\S+ +){4}(\S+)", block, re.MULTILINE)
        return Queue(
            name=block.split(maxsplit=1)[0], cores=min(kind.cores, slots) if slots and kind.cores else kind.cores,
            nodes=kind.nodes or None, most_time=float(runs[-1]) * 60 if runs else None,
            most_nodes=slots // kind.cores if slots and kind.cores and slots >= kind.cores else None,
            most_cores=_most(per_user[1]) if per_user else None, source="say bqueues and bhosts",
        )


def _lsf_nodes(answer: Answer) -> list[_Node]:
    rows = [line.split() for line in answer.out.splitlines()[1:]]
    return [
        _Node(int(row[3]), None, 1) for row in rows
        if len(row) > 3 and row[3].isdigit() and not row[1].startswith(("unavail", "unreach", "closed_Adm"))
    ]


_FLUX_QUEUE = "{queuem}|{limits.timelimit}|{limits.range.nnodes}"


class FluxLimits:
    """Asks `flux queue list` and `flux resource list`."""

    def __init__(self, *, inside: bool = False) -> None:
        self._flux = ["flux", "--parent"] if inside else ["flux"]

    def ask(self, queue: str | None) -> list[Command]:
        its = ["-q", queue] if queue else []
        return [
            Command([*self._flux, "queue", "list", "-n", "-o", _FLUX_QUEUE, *its]),
            Command([*self._flux, "resource", "list", "-n", "-s", "up", "-o", "{nnodes}|{ncores}", *its]),
        ]

    def read(self, answers: Sequence[Answer], queue: str | None) -> Queue:
        lines = [line.split("|") for line in _text(answers[0]).splitlines() if line.strip()]
        if not lines or any(len(fields) != 3 for fields in lines):
            raise Unreadable(answers[0].out)
        found = [fields for fields in lines if queue or len(lines) == 1 or fields[0].strip().endswith("*")]
        if not found:
            raise Unreadable("no queue is the default")
        name, time, size = (field.strip() for field in found[0])
        counts = re.search(r"(\d+)\|(\d+)", answers[1].out if answers[1].exit == 0 else "")
        nodes, cores = (int(counts[1]), int(counts[2])) if counts else (0, 0)
        return Queue(
            name=name.rstrip("*"), cores=cores // nodes if nodes else 0, nodes=nodes or None, most_time=_time(time),
            most_nodes=_most(size.rpartition("-")[2]), source="says flux",
        )


class GridEngineLimits:
    """Asks `qhost` for the nodes, and `qconf` for a queue that is named."""

    def ask(self, queue: str | None) -> list[Command]:
        return [Command(["qhost"]), *([Command(["qconf", "-sq", queue])] if queue else [])]

    def read(self, answers: Sequence[Answer], queue: str | None) -> Queue:
        head, *rows = (line.split() for line in _text(answers[0]).splitlines() if not line.startswith("---"))
        if not {"NCPU", "MEMTOT"} <= set(head):
            raise Unreadable(answers[0].out)
        kind = _usual(
            _Node(_number(its["NCPU"]), _bytes(its["MEMTOT"]), 1)
            for its in (dict(zip(head, row, strict=False)) for row in rows) if its.get("NCPU", "-").isdigit()
        )
        if queue is None:
            return Queue(cores=kind.cores, memory=kind.memory, nodes=kind.nodes or None, source="says qhost")
        its = dict(line.split(maxsplit=1) for line in _text(answers[1]).splitlines() if len(line.split()) > 1)
        if "h_rt" not in its:
            raise Unreadable(answers[1].out)
        return Queue(
            name=queue, cores=kind.cores, memory=kind.memory, nodes=kind.nodes or None,
            most_time=_time(its["h_rt"].split(",")[0]), source="say qhost and qconf",
        )


def _text(answer: Answer) -> str:
    if answer.exit or not answer.out.strip():
        raise Unreadable(answer.err or answer.out or "nothing")
    return answer.out


def _usual(nodes: Iterable[_Node]) -> _Node:
    """Give the kind of node that has most of the cores, with the number of nodes that are at least as large."""
    counts: Counter[tuple[int, int | None]] = Counter()
    for node in nodes:
        counts[node.cores, node.memory] += node.nodes
    if not counts:
        return _Node(0, None, 0)
    cores, memory = max(counts, key=lambda kind: (kind[0] * counts[kind], kind[0]))
    enough = sum(n for (its, room), n in counts.items() if its >= cores and (room or 0) >= (memory or 0))
    return _Node(cores, memory, enough)


def _number(text: str) -> int:
    found = re.match(r"\s*(\d+)", text)
    return int(found[1]) if found else 0


def _most(text: str) -> int | None:
    """Read a limit; what is no number (infinite, -, inf) is none."""
    return int(text) if text.strip().isdigit() else None


def _bytes(text: str) -> int | None:
    try:
        return parse_size(text)
    except UsageError:
        return None


def _time(text: str) -> float | None:
    """Read a limit of time: MM:SS, HH:MM:SS, D-HH:MM:SS, 30m; none if there is no limit."""
    text = text.strip()
    if re.fullmatch(r"\d+:\d\d", text):
        minutes, seconds = text.split(":")
        return int(minutes) * 60.0 + int(seconds)
    try:
        return parse_duration(text) or None
    except UsageError:
        return None


LIMITS: dict[str, Limits] = {
    "slurm": SlurmLimits(), "pbs": PbsLimits(), "lsf": LsfLimits(), "flux": FluxLimits(),
    "sge": GridEngineLimits(),
}
"""Who asks which scheduler; the local one has no queues."""
