"""Reads aligned in parts add up to what aligning them in one go gives."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fixtures.examples import Study
from fixtures.parts import lacking, program

pytestmark = pytest.mark.xdist_group("reads")

READS = Path("/usr/share/doc/bowtie2/examples/reads/reads_1.fq.gz")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    program("bowtie2", "bowtie2")
    if not READS.exists():
        lacking(f"no {READS}: apt-get install bowtie2-examples")
    return Study.of("reads", tmp_path_factory.mktemp("example"))


def test_the_parts_add_up_to_the_concordant_pairs_of_the_whole(study: Study) -> None:
    (row,) = study.ask("results", "total")["results"]
    assert row["result"] == {"pairs": 10_000, "concordant": 6_495}


def test_every_part_wrote_the_files_that_are_recorded(study: Study) -> None:
    rows = study.ask("results", "align")["results"]
    assert [row["params"]["part"] for row in rows] == list(range(10))
    for row in rows:
        (output,) = row["outputs"].values()
        content = (study.folder / "parts" / f"{row['params']['part']}.sam").read_bytes()
        assert output["digest"].removeprefix("sha256:") == hashlib.sha256(content).hexdigest()
        assert output["size"] == len(content)
