"""Fixtures of all rooms: real repositories, databases, MPI launchers and processes.

A real part that this machine lacks skips the test with a reason; where ``CI`` is set it fails instead.
"""

from __future__ import annotations

pytest_plugins = [
    "fixtures.agents",
    "fixtures.cli",
    "fixtures.home",
    "fixtures.repositories",
    "fixtures.processes",
    "fixtures.postgres",
    "fixtures.killed_figures",
    "fixtures.launchers",
    "fixtures.merged",
    "fixtures.mounts",
    "fixtures.runs",
    "fixtures.slurm",
    "fixtures.gridengine",
    "fixtures.stand_ins",
    "fixtures.witness",
    "fixtures.invariants",  # of runs and witness, which must come first
]
