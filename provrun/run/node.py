"""What a node has for tasks: its name, cores that tasks can be pinned to, GPUs, memory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_NONE = ("", "-1", "NoDevFiles", "void", "none")
_VISIBLE = ("PROVRUN_GPUS", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
# A rank's place among those of its node, and their number, as launchers say it.
_LOCAL = (
    ("MPI_LOCALRANKID", "MPI_LOCALNRANKS"), ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("PALS_LOCAL_RANKID", "PALS_LOCAL_SIZE"), ("SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"),
)  # fmt: skip
_SYSTEM = "/sys/devices/system/cpu"


class Cpu(NamedTuple):
    """A logical CPU with the place it has in the machine."""

    package: int
    core: int
    number: int


def node_name() -> str:
    """Give the name under which launchers reach this node: Slurm's for it where there is one."""
    return os.environ.get("SLURMD_NODENAME") or os.uname().nodename


def node_memory(environ: Mapping[str, str], root: str = "") -> int:
    """Give the bytes of memory of this node, or of what this process may have of it where that is less.

    That is told by the control groups it is in, and by Slurm, which need not enforce it.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_group_limits(root)]
    mebibytes = environ.get("SLURM_MEM_PER_NODE", "")
    of_core, cores = environ.get("SLURM_MEM_PER_CPU", ""), environ.get("SLURM_CPUS_ON_NODE", "")
    if mebibytes.isdigit() and int(mebibytes):  # 0 stands for all
        limits.append(int(mebibytes) << 20)
    elif of_core.isdigit() and cores.isdigit() and int(of_core):
        limits.append((int(of_core) << 20) * int(cores))
    return min(limits)


def _group_limits(root: str) -> list[int]:
    """Read the limits of memory of the control groups around this process, of either version."""
    found = []
    for line in _lines(f"{root}/proc/self/cgroup"):
        _, kinds, place = line.split(":", 2)
        if kinds == "":
            folder, name = f"{root}/sys/fs/cgroup", "memory.max"
        elif "memory" in kinds.split(","):
            folder, name = f"{root}/sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        while True:
            found += [int(text) for text in _lines(f"{folder}{place}/{name}") if text.isdigit()]
            if place in ("", "/"):
                break
            place = place.rpartition("/")[0]
    return found


def _lines(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.read().splitlines()
    except OSError:
        return []


def find_gpus(environ: Mapping[str, str], devices: str = "/dev") -> tuple[str, ...]:
    """Give the ids of the GPUs that tasks may use: those a scheduler has left visible, else all of this node."""
    for name in _VISIBLE:
        if name in environ:
            ids = [word.strip() for word in environ[name].split(",")]
            return tuple(word for word in ids if word not in _NONE)
    try:
        names = os.listdir(devices)
    except OSError:
        return ()
    numbers = sorted(int(name[6:]) for name in names if re.fullmatch(r"nvidia\d+", name))
    return tuple(map(str, numbers))


def share(gpus: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Give the GPUs of this rank where its launcher has started several on one node."""
    for place, size in _LOCAL:
        number, count = environ.get(place, ""), environ.get(size, "").partition("(")[0]
        if number.isdigit() and count.isdigit() and int(number) < int(count):
            return tuple(gpus[int(number) :: int(count)])
    return tuple(gpus)


def units(slots: int, usable: Sequence[int], system: str = _SYSTEM) -> list[tuple[int, list[int]]]:
    """Give what a task of one core can be pinned to, in the order of the machine: (package, CPU numbers) each.

    These are whole cores with all their hardware threads where there are enough of them for all slots, else single
    CPUs. There are none when slots are more than CPUs: then no task has a core of its own.
    """
    if slots > len(usable):
        return []
    cpus = sorted(_place(number, system) for number in usable)
    cores: dict[tuple[int, int], list[int]] = {}
    for cpu in cpus:
        cores.setdefault((cpu.package, cpu.core), []).append(cpu.number)
    if slots <= len(cores):
        return [(package, numbers) for (package, _), numbers in cores.items()]
    return [(cpu.package, [cpu.number]) for cpu in cpus]


def _place(number: int, system: str) -> Cpu:
    try:
        folder = f"{system}/cpu{number}/topology"
        return Cpu(_read(f"{folder}/physical_package_id"), _read(f"{folder}/core_id"), number)
    except (OSError, ValueError):  # a kernel that does not tell: each CPU is a core
        return Cpu(0, number, number)


def _read(path: str) -> int:
    with open(path) as file:
        return int(file.read())


def lowest_run(packages: Sequence[int], free: Sequence[bool], wanted: int) -> list[int]:
    """Choose units for a task: neighbours within one package where there are as many, else the first free ones."""
    run: list[int] = []
    for place, is_free in enumerate(free):
        if not is_free or (run and packages[place] != packages[run[-1]]):
            run = []
        if is_free:
            run.append(place)
            if len(run) == wanted:
                return run
    return [place for place, is_free in enumerate(free) if is_free][:wanted]
