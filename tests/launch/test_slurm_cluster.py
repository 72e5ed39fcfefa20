"""The cluster of the tests is a real one."""

from __future__ import annotations

from pathlib import Path

from fixtures.slurm import NODES, Slurm


def test_a_job_runs_on_all_nodes(slurm: Slurm, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    out = tmp_path / "out"
    directives = f"#SBATCH --nodes={NODES} --ntasks-per-node=1 --output={out}"
    script.write_text(f"#!/bin/bash\n{directives}\nsrun printenv SLURMD_NODENAME\n")
    id = slurm("sbatch", "--parsable", script).strip()
    assert slurm.ended(id) == "COMPLETED"
    assert sorted(out.read_text().split()) == ["n1", "n2", "n3", "n4"]


def test_a_killed_node_is_up_again_for_the_next_test(slurm: Slurm) -> None:
    slurm.kill_node("n4")
    slurm.clear()
    assert slurm("srun", "--nodelist=n4", "echo", "here") == "here\n"
