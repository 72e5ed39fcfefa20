"""The launcher of MPI that fits the library mpi4py loads: others start ranks that know nothing of each other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import which
from typing import NamedTuple

from provrun.errors import MissingExtra, Unavailable
from provrun.run.processes import JOB_VARIABLE, LAUNCHED

_PROBE = "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; print(MPI.Get_library_version())"
_SECONDS = 30
# What names a launcher says of itself, and under which names it may be found; the first is the rarest.
_KINDS = {
    "mpich": (("HYDRA", "MPICH"), ("mpiexec.hydra", "mpiexec", "mpirun")),
    "openmpi": (("Open MPI", "OpenRTE", "PRTE", "prterun"), ("mpiexec", "mpirun", "prterun")),
    "impi": (("Intel",), ("mpiexec.hydra", "mpiexec", "mpirun")),
}
# How many ranks a launcher started, in the order of trust; a batch script itself has no SLURM_STEP_NUM_TASKS.
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PALS_SIZE", "SLURM_STEP_NUM_TASKS")
_RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PALS_RANKID", "SLURM_PROCID")
_LOCAL_SIZES = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "PALS_LOCAL_SIZE")
# How srun speaks to an MPI library, the surest first.
_PMI = {"mpich": ("pmi2", "pmix"), "impi": ("pmi2", "pmix"), "openmpi": ("pmix",)}
# What a rank on another host needs to be like one on this host.
_NEEDED = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "MPI4PY_LIBMPI", "MPI4PY_MPIABI", "OPAL_PREFIX")
# What launchers put into the environment of ranks: an MPI program among the tasks would take itself for a rank.
_TRACES = ("PMI_", "PMIX_", "OMPI_", "OPAL_", "PRTE_", "HYDI_", "HYDRA_", "MPI_LOCAL", "SLURM_STEP", "SLURM_SRUN_")
_SLURM_TRACES = ("PROCID", "LOCALID", "NODEID", "GTIDS", "TASK_PID", "LAUNCH_NODE_IPADDR", "MPI_TYPE", "DISTRIBUTION")


class Launcher(NamedTuple):
    """A launcher: its program and the kind of MPI it belongs to; ``pmi`` is what srun calls it."""

    program: str
    kind: str
    pmi: str = ""

    def command(self, ranks: int, *command: str) -> list[str]:
        """Give the argument list that starts a command on so many ranks of this host, bound to no core."""
        # Slots inherit a rank's affinity, hence no binding; more ranks than cores is a person's own choice.
        openmpi = ["--bind-to", "none", "--map-by", ":OVERSUBSCRIBE", *_passed()]
        free = openmpi if self.kind == "openmpi" else ["-bind-to", "none"]
        return [self.program, *free, "-n", str(ranks), *command]

    def across(self, hosts: Sequence[str], file: Path, *command: str) -> list[str]:
        """Give the argument list that starts a command on one rank of each host; their names are left in ``file``."""
        number = str(len(hosts))
        if self.pmi:
            # Killed at once when a rank dies (-K1), beside other steps (--overlap), on all cores of each node.
            free = [f"--mpi={self.pmi}", "-K1", "--overlap", "--cpu-bind=none", "--mem=0", "--quit-on-interrupt"]
            return [self.program, *free, "-N", number, "-n", number, "-w", ",".join(hosts), *command]
        slots = " slots=1" if self.kind == "openmpi" else ":1"
        file.write_text("".join(f"{host}{slots}\n" for host in hosts))
        if self.kind == "openmpi":
            free = ["--bind-to", "none", "--hostfile", str(file), "--map-by", "ppr:1:node:OVERSUBSCRIBE", *_passed()]
        else:
            free = ["-bind-to", "none", "-f", str(file), "-ppn", "1"]
        return [self.program, *free, "-n", number, *command]

    def environ(self, environ: Mapping[str, str], job: str = "") -> dict[str, str]:
        """Give the environment for the launcher itself; what it starts carries the mark of this job."""
        own = dict(environ)
        if job:
            own[JOB_VARIABLE] = f"{job}/{LAUNCHED}"
        if self.kind == "openmpi" and os.getuid() == 0:
            own |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        return own


def _passed() -> list[str]:
    # Open MPI takes along only what it is told to, and the ranks elsewhere must find the same Python and the same MPI.
    names = [JOB_VARIABLE, *(name for name in _NEEDED if name in os.environ)]
    return [word for name in names for word in ("-x", name)]


def find() -> Launcher:
    """Find the launcher of the MPI that mpi4py loads; raises `MissingExtra` without mpi4py, else `Unavailable`."""
    library = _library()
    return _of_library(library)


def find_all(environ: Mapping[str, str]) -> list[Launcher]:
    """Find all launchers that may span the nodes of an allocation, the surest first; raises as `find` does."""
    library = _library()
    found = _sruns(library) if "SLURM_JOB_ID" in environ else []
    try:
        found.append(_of_library(library))
    except Unavailable:
        if not found:
            raise
    return found


def kind_of(program: str) -> str | None:
    """Give the kind of MPI that a launcher belongs to, as it says itself; None if it does not."""
    answer = _run([program, "--version"]) or ""
    kinds = ("impi", "openmpi", "mpich")
    return next((kind for kind in kinds if any(word in answer for word in _KINDS[kind][0])), None)


def pmi_of(srun: str, kind: str) -> str | None:
    """Give what this srun calls the interface that an MPI of this kind speaks; None if it has none of these."""
    words = (_run([srun, "--mpi=list"]) or "").split()
    return next((pmi for pmi in _PMI[kind] if pmi in words), None)


def _sruns(library: str) -> list[Launcher]:
    kind = _kind(library)
    program = which("srun")
    known = _run([program, "--mpi=list"]) if program else None
    words = (known or "").split()
    return [Launcher(program, kind, pmi) for pmi in _PMI[kind] if program and pmi in words]


def _of_library(library: str) -> Launcher:
    kind = _kind(library)
    said, names = _KINDS[kind]
    seen = []
    for program in _candidates(names):
        answer = _run([program, "--version"])
        seen.append(program)
        if answer is not None and any(word in answer for word in said):
            return Launcher(program, kind)
    raise Unavailable(
        f"no launcher found for {library}; tried {', '.join(seen) or ', '.join(names)}",
        value=library,
        next="put the mpiexec of this MPI on PATH, or install the MPI that belongs to yours",
    )


def launched_size(environ: Mapping[str, str]) -> int:
    """Give the number of ranks that a launcher has started with this process among them; 1 without any."""
    return _first(environ, _SIZES) or 1


def launched_rank(environ: Mapping[str, str]) -> int | None:
    """Give this process's rank as its launcher says; None if it does not say."""
    return _first(environ, _RANKS)


def local_size(environ: Mapping[str, str]) -> int:
    """Give the number of ranks on this host, as far as the launcher says."""
    return _first(environ, _LOCAL_SIZES) or 1


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    return next((int(environ[name]) for name in names if environ.get(name, "").isdigit()), None)


def bound(slots: int) -> str | None:
    """Say what is wrong when a launcher has bound this rank to fewer cores than it is to run tasks on; else None."""
    usable = len(os.sched_getaffinity(0))
    if usable >= min(slots, os.cpu_count() or slots):
        return None
    cores = "core" if usable == 1 else "cores"
    return f"bound to {usable} {cores} but told to run {slots} tasks at once: let the launcher bind to none"


def without_launcher(environ: Mapping[str, str]) -> dict[str, str]:
    """Give an environment without what a launcher added to it."""
    slurm = tuple(f"SLURM_{name}" for name in _SLURM_TRACES)
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(_TRACES) and name not in slurm and not name.startswith("SLURM_CPU_BIND")
    }


def _library() -> str:
    # In a process of its own: loading MPI costs memory and opens devices, and this one only launches.
    answer = _run([sys.executable, "-P", "-c", _PROBE])
    if answer is None:
        raise MissingExtra("mpi", "run --mpi")
    return answer.strip("\0\n ").partition("\n")[0]


def _kind(library: str) -> str:
    if "Open MPI" in library:
        return "openmpi"
    return "impi" if "Intel" in library else "mpich"


def _candidates(names: tuple[str, ...]) -> list[str]:
    folders = [*os.environ.get("PATH", "").split(os.pathsep), str(Path(sys.executable).parent), f"{sys.prefix}/bin"]
    found = [f"{folder}/{name}" for name in names for folder in folders if os.access(f"{folder}/{name}", os.X_OK)]
    return list(dict.fromkeys(found))


def _run(command: list[str]) -> str | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout + done.stderr if done.returncode == 0 else None
