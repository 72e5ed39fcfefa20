"""A program from outside the project, from a run to the page: what is asked about it, and what is published."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest
from rdflib import RDF, Graph, Namespace

from fixtures.cli import Cli, Done

PR = Namespace("https://w3id.org/provrun/ns#")
PROV = Namespace("http://www.w3.org/ns/prov#")


class Lab:
    """A repository beside a program that is replaced now and then."""

    def __init__(self, cli: Cli, place: Path) -> None:
        self.place = place
        self.program = place / "solve"
        self._cli = cli

    def __call__(self, *words: str) -> Done:
        return self._cli(*words, PATH=f"{self.place}:{os.environ['PATH']}")

    def build(self, version: str) -> str:
        """Install a version and give its digest."""
        text = f'#!/bin/sh\ntest "$1" = --version && echo solve {version} && exit\necho "$1"\n'
        self.program.write_text(text)
        self.program.chmod(0o755)
        return sha256(text.encode()).hexdigest()

    def page(self) -> tuple[str, Graph]:
        done = self("export", "scan")
        assert done.exit == 0, done.err
        return done.out, Graph().parse(data=done.out, format="turtle")


@pytest.fixture
def lab(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Two tasks by the first version of a program, and two more by the second."""
    environment = tmp_path_factory.mktemp("environment")
    (environment / "conda-meta").mkdir()
    (environment / "bin").mkdir()
    made = Lab(cli, environment / "bin")
    made.build("1.0")
    assert made("submit", "scan", "--param", "x=0:2", "--shell", "--", "echo {x} | sort | solve {x}").exit == 0
    assert made("run").exit == 0
    made.build("2.0")
    assert made("submit", "scan", "--param", "x=0:4", "--shell", "--", "echo {x} | sort | solve {x}").exit == 0
    assert made("run").exit == 0
    return made


def test_another_version_of_a_program_is_told_and_makes_results_stale(lab: Lab) -> None:
    states = lab("status", "scan", "--json").json["maps"][0]
    assert (states["ntasks"]["succeeded"], states["stale"]) == (4, 2)
    why = lab("why", "scan/0")
    assert why.exit == 0 and str(lab.program) in why.out
    differences = lab("diff", "scan/0", "scan/2").out
    assert "solve 1.0" in differences and "solve 2.0" in differences
    assert "used program" in (drawn := lab("trace", "scan/3").out) and "solve 2.0" in drawn
    tools = lab("show", "scan/3#1", "--json").json["uses"]["tools"]
    assert {Path(tool["path"]).name: tool["sha256"] for tool in tools}["solve"] == lab.build("2.0")
    assert lab("rerun", "scan", "--stale", "--force", "--json").json["changed"] == 2


def test_a_page_names_the_programs_that_a_cohort_ran_and_no_folder_of_theirs(lab: Lab) -> None:
    text, page = lab.page()
    (cohort,) = page.subjects(RDF.type, PR.Cohort)
    used = {node for node in page.objects(cohort, PROV.used) if (node, RDF.type, PR.Tool) in page}
    told = sorted((str(page.value(node, PR.name)), str(page.value(node, PR.version))) for node in used)
    assert [one for one in told if one[0] == "solve"] == [("solve", "solve 1.0"), ("solve", "solve 2.0")]
    assert {"bash", "sort"} < {name for name, _ in told}
    digests = {str(page.value(node, PR.sha256)) for node in used}
    assert lab.build("1.0") in digests and lab.build("2.0") in digests
    assert str(lab.place) not in text
    # A program is no input: nothing is derived from it, and no file is claimed.
    assert not set(page.objects(None, PROV.wasDerivedFrom)) & used
    assert not set(page.subjects(RDF.type, PR.InputFile))


def test_a_page_with_programs_can_be_verified_and_is_the_same_again(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "scan.ttl"
    assert lab("export", "scan", "-o", str(file), "--leaves", str(tmp_path / "l.jsonl")).exit == 0
    assert lab("verify", str(file), "--leaves", str(tmp_path / "l.jsonl")).exit == 0
    assert file.read_text() == lab.page()[0]
