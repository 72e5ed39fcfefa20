"""`verify` and `prove` on the command line: what was published is checked without the project."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fixtures import stranger
from fixtures.cli import Cli


@pytest.fixture
def published(cli: Cli, tmp_path: Path) -> Path:
    """A folder outside the project, with a page and its records."""
    folder = tmp_path / "reader"
    folder.mkdir()
    assert cli("submit", "scan", "--param", "x=0:7", "--", "test", "{x}", "-ne", "5").exit == 0
    assert cli("run").exit == 3
    done = cli("export", "-o", str(folder / "paper.ttl"), "--leaves", str(folder / "leaves.jsonl.gz"), "--json")
    assert done.exit == 0, done.err
    (folder / "digest").write_text(done.json["digest"])
    return folder


def test_a_reader_checks_a_page_its_records_and_a_proof(cli: Cli, published: Path) -> None:
    digest = (published / "digest").read_text()
    proof = published / "proof.json"
    assert cli("prove", "scan/5", str(published / "paper.ttl"), "-o", str(proof)).exit == 0
    for options in (
        [], ["--digest", digest], ["--leaves", "leaves.jsonl.gz"], ["--member", "proof.json"],
        ["--digest", digest, "--leaves", "leaves.jsonl.gz", "--member", "proof.json"],
    ):
        done = cli("verify", "paper.ttl", *options, "--json", at=published)
        assert (done.exit, done.json["problems"]) == (0, []), options
        assert done.json["digest"] == digest
    assert stranger.member(published / "paper.ttl", proof)["state"] == "failed"
    stranger.check(published / "paper.ttl", published / "leaves.jsonl.gz")


def test_a_task_is_proved_from_the_records_when_the_registry_has_changed(cli: Cli, published: Path) -> None:
    page, leaves, proof = (published / name for name in ("paper.ttl", "leaves.jsonl.gz", "proof.json"))
    assert cli("prove", "scan/2", str(page), "--leaves", str(leaves), "-o", str(proof)).exit == 0
    from_leaves = proof.read_bytes()
    assert cli("prove", "scan/2", str(page), "-o", str(proof)).exit == 0
    assert proof.read_bytes() == from_leaves
    assert cli("rerun", "scan", "--force").exit == 0
    done = cli("prove", "scan/2", str(page), "-o", str(proof), "--json")
    assert done.exit == 1
    assert "--leaves" in done.error["next"]
    shutil.rmtree(cli.folder / ".provrun")
    assert cli("prove", "scan/2", "paper.ttl", "--leaves", leaves.name, "-o", "again.json", at=published).exit == 0
    assert (published / "again.json").read_bytes() == from_leaves
    assert cli("prove", "scan/7", "paper.ttl", "--leaves", leaves.name, "-o", "no.json", at=published).exit == 4


def test_what_is_wrong_ends_with_6_and_what_cannot_be_read_with_1(cli: Cli, published: Path) -> None:
    page = published / "paper.ttl"
    page.write_text(page.read_text().replace("pr:planned 7", "pr:planned 8"))
    done = cli("verify", str(page), at=published)
    assert done.exit == 6
    assert done.out.startswith("page-digest-holds: ")
    assert "counts-are-those-committed-to: " in done.out
    page.write_text("this is no page")
    assert cli("verify", str(page), at=published).exit == 1
    assert cli("verify", "nowhere.ttl", at=published).exit == 1
    assert cli("verify", "--digest", "00").exit == 2
    assert cli("verify").exit == 0


def test_every_format_is_verified_and_has_the_same_digest(cli: Cli, published: Path) -> None:
    digest = (published / "digest").read_text()
    for format, suffix in (
        ("nt", "nt"), ("jsonld", "jsonld"), ("trig", "trig"), ("provn", "provn"), ("provjson", "json"),
        ("provxml", "xml"),
    ):
        path = published / f"other.{suffix}"
        assert cli("export", "--format", format, "-o", str(path)).exit == 0
        done = cli("verify", path.name, "--digest", digest, "--json", at=published)
        assert (done.exit, done.json["problems"]) == (0, []), format


def test_salted_records_are_proved_with_the_salt(cli: Cli, published: Path) -> None:
    page, leaves = published / "salted.ttl", published / "salted.jsonl"
    assert cli("export", "-o", str(page), "--leaves", str(leaves), "--salt").exit == 0
    assert cli("prove", "scan/1", str(page), "-o", str(published / "salted.json")).exit == 0
    done = cli("verify", page.name, "--leaves", leaves.name, "--member", "salted.json", at=published)
    assert done.exit == 0, done.out
    record = json.loads(json.loads((published / "salted.json").read_text())["record"])
    assert len(record["salt"]) == 64


def test_a_crate_is_verified_by_its_folder(cli: Cli, published: Path) -> None:
    assert cli("verify", str(published)).exit == 4
    crate = published / "crate"
    assert cli("export", "--format", "crate", "-o", str(crate)).exit == 0
    done = cli("verify", "crate", "--json", at=published)
    assert (done.exit, done.json["problems"]) == (0, [])
    assert done.json["checked"] == ["crate/provenance.ttl", "7 records"]
    proof = str(published / "proof.json")
    assert cli("prove", "scan/3", str(crate), "-o", proof, at=published).exit == 0
    assert cli("verify", "crate", "--member", proof, at=published).exit == 0
    (crate / "README.md").write_text("another")
    done = cli("verify", "crate", at=published)
    assert (done.exit, done.out.splitlines()[0]) == (6, "crate-files-hold: README.md is not what the crate describes")
