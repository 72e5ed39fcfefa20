"""Declared files: digested, verified, kept."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from fixtures.agents import Driver
from provrun.core.states import Outcome
from provrun.run.packs import pack_path, read, records


def test_inputs_and_outputs_of_a_command_are_digested(driver: Driver, workplace: Path) -> None:
    (workplace / "in-1.txt").write_text("one")
    (workplace / "common.txt").write_text("all")
    (result,) = driver.command(
        "sh", "-c", "mkdir -p out; cat {input.0} {input.1} > {output.sum}", params=[{"x": 1}],
        recipe={"inputs": ("in-{x}.txt", "common.txt"), "outputs": {"sum": "out/{x}.txt"}},
    )  # fmt: skip
    assert result.outcome == Outcome.SUCCEEDED
    found = {(artifact.role, artifact.name, artifact.path): artifact for artifact in result.artifacts or ()}
    assert set(found) == {("input", "", "in-1.txt"), ("output", "sum", "out/1.txt")}
    output = found["output", "sum", "out/1.txt"]
    assert (output.digest, output.size, output.place) == (hashlib.sha256(b"oneall").digest(), 6, None)
    assert driver.loaded()[0].shared_inputs == [("common.txt", hashlib.sha256(b"all").hexdigest(), 3)]


def test_an_input_that_is_not_there_keeps_its_task_from_starting(driver: Driver, workplace: Path) -> None:
    recipe = {"inputs": ("in-{x}.txt",)}
    (workplace / "in-1.txt").mkdir()
    results = driver.command("touch", "started", params=[{"x": 0}, {"x": 1}], recipe=recipe)
    assert [result.outcome for result in results] == [Outcome.LAUNCHER] * 2
    assert [result.error for result in results] == [
        "input in-0.txt: No such file or directory",
        "input in-1.txt: is no regular file",
    ]
    (shared,) = driver.command("touch", "started", recipe={"inputs": ("none.txt",)})
    assert (shared.outcome, shared.error) == (Outcome.LAUNCHER, "input none.txt is missing or cannot be read")
    assert not (workplace / "started").exists()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("out.txt", "output out.txt: No such file or directory"),
        ("../out.txt", "output data: ../out.txt is not beneath the working folder"),
        ("link/out.txt", "output data: link/out.txt is not beneath the working folder"),
        ("folder", "output folder: is no regular file"),
    ],
)
def test_an_output_that_is_not_made_or_lies_elsewhere_fails_the_attempt(
    driver: Driver, workplace: Path, path: str, error: str
) -> None:
    (workplace / "link").symlink_to(workplace.parent)
    (result,) = driver.command("sh", "-c", "mkdir folder; echo [1]", recipe={"outputs": {"data": path}})
    assert (result.outcome, result.detail, result.error) == (Outcome.EXIT, 0, error)
    assert result.result is None


def test_a_packed_output_is_in_the_pack_and_no_longer_in_the_folder(driver: Driver, workplace: Path) -> None:
    script = "head -c 300000 /dev/urandom > {output.data}; cp {output.data} copy"
    (result,) = driver.command("sh", "-c", script, recipe={"outputs": {"data": "data.bin"}, "pack": True})
    (artifact,) = result.artifacts or ()
    assert artifact.place is not None
    content = read(pack_path(workplace, driver.job, 0), artifact.place)
    assert content == (workplace / "copy").read_bytes()
    assert artifact.digest == hashlib.sha256(content).digest()
    assert not (workplace / "data.bin").exists()


def test_a_large_input_is_digested_while_other_tasks_run(driver: Driver, workplace: Path) -> None:
    size = 400 << 20
    with (workplace / "large").open("wb") as file:
        file.truncate(size)
    (workplace / "small").write_text("x")
    params = [{"x": "large"}, *({"x": "small"},) * 5]
    results = driver.command("date", "+%s%N", params=params, recipe={"inputs": ("{x}",)})
    digest = hashlib.sha256()
    for _ in range(size >> 20):
        digest.update(bytes(1 << 20))
    (artifact,) = results[0].artifacts or ()
    assert (artifact.digest, artifact.size) == (digest.digest(), size)
    large, *small = driver.values(results)
    assert all(moment < large for moment in small)


def test_a_file_that_changes_is_digested_again(driver: Driver, workplace: Path) -> None:
    path = workplace / "data"
    digests = []
    for content in (b"one", b"two"):
        path.write_bytes(content)
        os.utime(path, ns=(1, len(digests)))
        (result,) = driver.command("true", params=[{"x": "data"}], recipe={"inputs": ("{x}",)})
        digests += [artifact.digest for artifact in result.artifacts or ()]
    assert digests == [hashlib.sha256(content).digest() for content in (b"one", b"two")]


def test_a_large_packed_output_is_copied_aside_and_read_like_any_other(driver: Driver, workplace: Path) -> None:
    script = "head -c 20000000 /dev/urandom > {output.data}; cp {output.data} copy; echo small > {output.note}"
    outputs = {"data": "data.bin", "note": "note.txt"}
    (result,) = driver.command("sh", "-c", script, recipe={"outputs": outputs, "pack": True})
    found = {artifact.name: artifact for artifact in result.artifacts or ()}
    path = pack_path(workplace, driver.job, 0)
    for name, content in (("data", (workplace / "copy").read_bytes()), ("note", b"small\n")):
        place = found[name].place
        assert place is not None
        assert read(path, place) == content
        assert not (workplace / outputs[name]).exists()
    assert {record.place for record in records(path, 0)} == {found["data"].place, found["note"].place}
