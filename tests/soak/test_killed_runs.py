"""Runs whose processes are killed at random, again and again, until their work is done.

A failure prints the seed, what was killed and when, and what registry and witness know of the tasks in doubt. To
repeat it: ``SEEDS=7-7 pytest -m soak -k sqlite-tree-seed7``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fixtures.episodes import Episode, Scenario
from fixtures.killed_figures import FIGURE
from fixtures.killed_study import KilledStudy
from fixtures.launchers import Launcher
from fixtures.parts import lacking
from fixtures.witness import Witness

# The first are for `make test`, all for `make soak`.
SCENARIOS = [
    Scenario("sqlite"),
    Scenario("postgres", ranks=2),
    Scenario("log", runs=2),
    Scenario("postgres", runs=3),
    Scenario("log", ranks=2),
    Scenario("sqlite", ranks=2, mpi="openmpi"),
    Scenario("log"),
    Scenario("sqlite", ranks=2),
    Scenario("postgres-log", runs=2),
    Scenario("log", runs=2, ranks=2),
    Scenario("postgres"),
    Scenario("sqlite", runs=2),
    Scenario("log", runs=3),
    Scenario("log", ranks=3, mpi="openmpi"),
]
KILLS = 12  # in an episode
QUICK = 5  # scenarios for `make test`
FIRST, LAST = map(int, os.environ.get("SEEDS", "1-3").split("-"))


def play(
    scenario: Scenario, seed: int, pace: float, root: Path, witness: Witness, request: pytest.FixtureRequest
) -> None:
    scratch = witness.path.with_name("scratch")
    scratch.mkdir()
    environ = dict(os.environ)
    if scenario.database.startswith("postgres"):
        environ["PROVRUN_URL"] = request.getfixturevalue("postgres_url")
    if scenario.database.endswith("log"):
        environ |= {"PROVRUN_LOG": "always", "PROVRUN_SCRATCH": str(scratch)}
    if scenario.ranks:
        launchers: dict[str, Launcher] = request.getfixturevalue("mpi_launchers")
        if scenario.mpi not in launchers:
            lacking(f"no {scenario.mpi}: pip install {scenario.mpi}")
        environ |= launchers[scenario.mpi].environ
    episode = Episode(KilledStudy(root, witness, environ), scenario, seed, KILLS, pace)
    figures = episode.play()
    for figure in episode.figures(figures).items():
        request.node.user_properties.append((FIGURE, figure))
    print(episode.report(figures))
    if episode.problems:
        pytest.fail("\n".join(episode.problems), pytrace=False)


@pytest.mark.parametrize("scenario", SCENARIOS[:QUICK], ids=str)
def test_whatever_is_killed_every_task_is_recorded_once(
    scenario: Scenario, project_dir: Path, witness: Witness, request: pytest.FixtureRequest
) -> None:
    play(scenario, 0, 0.5, project_dir, witness, request)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(FIRST, LAST + 1), ids=lambda seed: f"seed{seed}")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_whatever_is_killed_again_and_again_every_task_is_recorded_once(
    scenario: Scenario, seed: int, project_dir: Path, witness: Witness, request: pytest.FixtureRequest
) -> None:
    play(scenario, seed, 1.0, project_dir, witness, request)
