"""The launcher line of MPI programs that are tasks: srun inside Slurm, else the mpiexec that their job finds."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from shutil import which

from provrun.core.records import Policy
from provrun.run.launcher import kind_of, pmi_of

_OWN = "PROVRUN_LAUNCHER"


class TaskLauncher:
    """Gives the words that start the ranks of a task of one map.

    ``$PROVRUN_LAUNCHER`` of the job has precedence: words in which {ranks}, {nodes} and {hosts} are filled. Without
    ``--ranks`` there is one rank for each node of the task, for templates that have ``{launcher}``.
    """

    def __init__(self, policy: Policy, environ: Mapping[str, str], node: str) -> None:
        self._node = node
        self._nodes = max(1, policy.task_nodes)
        self._ranks = policy.ranks or (policy.task_nodes if policy.task_nodes > 1 else 0)
        self._own = shlex.split(environ.get(_OWN, ""))
        self._scheduled = any(name in environ for name in ("SLURM_JOB_ID", "PBS_NODEFILE", "LSB_JOBID", "FLUX_URI"))
        self._program, self._kind, self._pmi = "mpiexec", "", ""
        if not self._ranks or self._own:
            return
        path = environ.get("PATH", os.defpath)
        found = next((program for name in ("mpiexec", "mpirun") if (program := which(name, path=path))), None)
        if found is not None:
            self._program, self._kind = found, kind_of(found) or ""
        # On one node mpiexec starts all ranks without asking anybody; each srun is a request to the whole site's Slurm.
        srun = which("srun", path=path) if "SLURM_JOB_ID" in environ and (self._nodes > 1 or not self._kind) else None
        if srun is not None:
            pmi = pmi_of(srun, self._kind or "mpich")
            if pmi is not None or found is None:
                self._program, self._kind, self._pmi = srun, "srun", pmi or ""

    @property
    def variables(self) -> dict[str, str]:
        """What the launcher wants in its environment."""
        if self._kind != "openmpi":
            return {}
        found: dict[str, str] = {}
        if os.getuid() == 0:
            found |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        if self._nodes == 1 and self._scheduled:
            # Not the nodes of the allocation, nor its scheduler's way to start something on them: this node alone.
            names = [f"{prefix}_MCA_{name}" for prefix in ("PRTE", "OMPI") for name in ("ras", "plm")]
            found |= dict.fromkeys(names, "^slurm,pbs,tm,lsf")
        return found

    def words(self, hosts: Sequence[str] = ()) -> list[str]:
        """Give the words for a task on these nodes (none: on its agent's own); none if its map has no ranks."""
        if not self._ranks:
            return []
        nodes = list(hosts) or [self._node]
        if self._own:
            known = {"{ranks}": str(self._ranks), "{nodes}": str(len(nodes)), "{hosts}": ",".join(nodes)}
            return [_filled(word, known) for word in self._own]
        number = str(self._ranks)
        each = -(-self._ranks // len(nodes))
        if self._kind == "srun":
            pmi = [f"--mpi={self._pmi}"] if self._pmi else []
            # Beside the step that this agent is (--overlap), over all at once when one rank dies (-K1).
            free = ["--overlap", "-K1", "--cpu-bind=none", "--mem=0", "-N", str(len(nodes)), "-w", ",".join(nodes)]
            return [self._program, *pmi, *free, "-n", number]
        if self._kind == "openmpi":
            # More ranks than cores are a person's own choice, and ranks inherit the cores that the task is pinned to.
            free = ["--bind-to", "none", "--map-by", ":OVERSUBSCRIBE"]
            listed = ["--host", ",".join(f"{host}:{each}" for host in nodes)] if hosts else []
            return [self._program, *free, *listed, "-n", number]
        if self._kind in ("mpich", "impi"):
            # Left to itself it would start the ranks of every task on the first node of the allocation.
            start = "-bootstrap" if self._kind == "impi" else "-launcher"
            listed = ["-hosts", ",".join(nodes), "-ppn", str(each)] if hosts else [start, "fork", "-hosts", "localhost"]
            return [self._program, "-bind-to", "none", *listed, "-n", number]
        return [self._program, "-n", number]


def _filled(word: str, known: Mapping[str, str]) -> str:
    for name, value in known.items():
        word = word.replace(name, value)
    return word
