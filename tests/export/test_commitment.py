"""A page commits to every task: a stranger's verifier agrees, whatever happened in the registry."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec
import pyoxigraph
import pytest

from fixtures import stranger
from fixtures.study import AT, Study, ended, grid
from fixtures.told import tell
from provrun.core.canonical import digest
from provrun.core.code import CapturedCode, Code
from provrun.core.records import Dependency
from provrun.core.states import Outcome, State
from provrun.project.pages.committing import Changed
from provrun.project.pages.leaf_files import LeavesFile
from provrun.project.pages.publishing import export, summarised
from provrun.project.project import Project

PR = "https://w3id.org/provrun/ns#"


def test_a_stranger_recomputes_the_page_from_the_leaves(project: Project, study: Study, tmp_path: Path) -> None:
    tell(study)
    export(project, path=tmp_path / "page.ttl", leaves=tmp_path / "leaves.jsonl")
    stranger.check(tmp_path / "page.ttl", tmp_path / "leaves.jsonl")
    records = [json.loads(line) for line in (tmp_path / "leaves.jsonl").read_bytes().splitlines()]
    assert len(records) == 41 + 82 + 2 + 2


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_leaves_are_the_same_and_the_same_bytes_each_time(
    project: Project, study: Study, tmp_path: Path, suffix: str
) -> None:
    tell(study)
    plain, first, second = (tmp_path / name for name in ("a.jsonl", f"b.jsonl{suffix}", f"c.jsonl{suffix}"))
    for path in (plain, first, second):
        export(project, path=tmp_path / "page.ttl", leaves=path)
    assert first.read_bytes() == second.read_bytes()
    if suffix == ".gz":
        assert gzip.decompress(first.read_bytes()) == plain.read_bytes()
    assert len(first.read_bytes()) < len(plain.read_bytes()) / 3


def test_the_page_digest_is_that_of_the_triples_as_another_library_writes_them(
    project: Project, study: Study, tmp_path: Path
) -> None:
    study.submit("odd", [{"a b": "\x01\ufffe\"<&>", "c": "\u2028\t\n\\"}, {"a b": "x", "c": "ü𝄞"}])
    study.run(study.job(), "odd")
    done = export(project, path=tmp_path / "page.ttl")
    data = pyoxigraph.Dataset(
        pyoxigraph.Quad(q.subject, q.predicate, q.object)
        for q in pyoxigraph.parse(path=tmp_path / "page.ttl")
        if q.predicate.value != f"{PR}pageDigest"
    )
    data.canonicalize(pyoxigraph.CanonicalizationAlgorithm.RDFC_1_0)
    lines = sorted(f"{quad.subject} {quad.predicate} {quad.object} .\n" for quad in data)
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == done.digest
    assert stranger.Page(tmp_path / "page.ttl").digest() == done.digest


def test_records_say_what_was_read_and_nothing_inherited(project: Project, study: Study, tmp_path: Path) -> None:
    tell(study)
    leaves = tmp_path / "leaves.jsonl"
    export(project, path=tmp_path / "page.ttl", leaves=leaves)
    records = [json.loads(line) for line in leaves.read_bytes().splitlines()]
    scan = {r["index"]: r for r in records if r["map"] == "scan"}
    obs = [r for r in records if r["map"] == "obs"]
    assert {tuple(r["params"]) for r in obs} == {("kind",)}
    (read,) = obs[0]["reads"]
    ((index, attempt, result),) = read["list"]
    made = [scan[index], *scan[index]["history"]]
    assert [one["result"] for one in made if one["attempt"] == attempt] == [result]
    assert read["digest"] == digest("reads", [[index, attempt, result]]).hex()


def test_what_many_tasks_gave_stands_as_a_number_and_a_digest(
    project: Project, study: Study, tmp_path: Path
) -> None:
    study.submit("scan", grid(x=40))
    study.submit("mean", [{}], on=[Dependency(upstream="scan", kind="all")])
    job = study.job()
    study.run(job, "scan")
    study.run(job, "mean")
    export(project, path=tmp_path / "page.ttl", leaves=tmp_path / "leaves.jsonl")
    records = [json.loads(line) for line in (tmp_path / "leaves.jsonl").read_bytes().splitlines()]
    (read,) = records[-1]["reads"]
    whole = digest("reads", [[r["index"], r["attempt"], r["result"]] for r in records[:-1]]).hex()
    assert read == {"digest": whole, "list": None, "map": "scan", "tasks": 40}


def test_salted_records_differ_only_in_their_salt_and_keep_it(project: Project, study: Study, tmp_path: Path) -> None:
    study.submit("scan", grid(x=3))
    study.run(study.job(), "scan")
    paths = [tmp_path / name for name in ("plain.jsonl", "salted.jsonl", "again.jsonl")]
    for path, salt in zip(paths, (False, True, True), strict=True):
        export(project, path=tmp_path / "page.ttl", leaves=path, salt=salt)
    plain, salted, again = ([json.loads(line) for line in path.read_bytes().splitlines()] for path in paths)
    assert salted == again
    assert len({record["salt"] for record in salted}) == 3
    assert [record | {"salt": None} for record in salted] == plain
    assert (project.dir / "secret").stat().st_mode & 0o077 == 0


def test_a_map_without_tasks_is_committed_to(project: Project, study: Study, tmp_path: Path) -> None:
    study.submit("none", [])
    export(project, path=tmp_path / "page.ttl", leaves=tmp_path / "leaves.jsonl")
    stranger.check(tmp_path / "page.ttl", tmp_path / "leaves.jsonl")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_records_of_a_group_that_is_not_the_first_move_to_their_place(
    project: Project, study: Study, tmp_path: Path, suffix: str
) -> None:
    plain, path = tmp_path / "leaves.jsonl", tmp_path / f"again.jsonl{suffix}"
    old, job = study.code, study.job()
    new = study.registry.intern_code(CapturedCode(Code(kind="git", root="/study", commit="e" * 40, tree="d" * 40)), 1)
    for name in ("scan", "more"):
        study.submit(name, grid(x=5))
        first, *others = study.claim(job, name, limit=5)
        for study.code, some, later in ((old, others, 0), (new, [first], 60_000_000)):
            context = study.context(job)
            done = [ended(one, context, Outcome.SUCCEEDED, State.SUCCEEDED) for one in some]
            study.registry.record(job, [msgspec.structs.replace(one, started=AT + later) for one in done])
    export(project, path=tmp_path / "page.ttl", leaves=plain)
    export(project, path=tmp_path / "page.ttl", leaves=path)
    stranger.check(tmp_path / "page.ttl", plain)
    records = [json.loads(line) for line in plain.read_bytes().splitlines()]
    assert [one["index"] for one in records] == [1, 2, 3, 4, 0] * 2
    assert (gzip.decompress(path.read_bytes()) if suffix else path.read_bytes()) == plain.read_bytes()
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(
        [".provrun", "page.ttl", "leaves.jsonl", f"again.jsonl{suffix}"]
    )


def test_beyond_64_cohorts_tails_are_committed_to(project: Project, study: Study, tmp_path: Path) -> None:
    study.submit("scan", grid(x=150))
    job = study.job()
    for n in range(70):
        code = Code(kind="git", root="/study", commit=f"{n:040x}", tree="d" * 40)
        study.code = study.registry.intern_code(CapturedCode(code), 1_700_000_000_000_000 + n)
        study.succeed(job, study.claim(job, "scan", limit=1 + (n < 62)))
        study.fail(job, study.claim(job, "scan", limit=n >= 65))
    export(project, path=tmp_path / "alone.ttl")
    export(project, path=tmp_path / "page.ttl", leaves=tmp_path / "leaves.jsonl")
    assert (tmp_path / "alone.ttl").read_bytes() == (tmp_path / "page.ttl").read_bytes()
    stranger.check(tmp_path / "page.ttl", tmp_path / "leaves.jsonl")
    page = stranger.Page(tmp_path / "page.ttl")
    (groups,) = (groups for _, _, groups in page.maps())
    kinds = [page.one(group, "kind") for group in groups]
    assert (kinds.count("tail"), kinds[-1]) == (2, "unattempted")


class Interrupted(LeavesFile):
    """Does something before the first record is written."""

    def __init__(self, out: IO[bytes], folder: Path, do: Callable[[], object]) -> None:
        super().__init__(out, folder)
        self._do: Callable[[], object] | None = do

    def write(self, tree: int, line: bytes) -> None:
        if self._do is not None:
            self._do()
            self._do = None
        super().write(tree, line)


def test_circumstances_that_come_while_a_page_is_made_are_told(project: Project, study: Study, tmp_path: Path) -> None:
    study.submit("a", grid(x=2))
    study.run(study.job(), "a")
    study.submit("b", grid(x=2))
    with (tmp_path / "leaves").open("w+b") as out, pytest.raises(Changed, match="b changed while it was read"):
        summarised(project, records=Interrupted(out, tmp_path, lambda: study.run(study.job(), "b")))
