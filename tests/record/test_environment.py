"""What software and which kind of machine there is."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from provrun.core.environment import Environment, Host, Package
from provrun.errors import ProvrunError
from provrun.record.environment import capture_environment, find_container
from provrun.record.host import capture_host
from provrun.record.packages import installed


def test_packages_are_those_that_importlib_finds() -> None:
    listed = {
        (re.sub(r"[-_.]+", "-", each.name).lower(), each.version) for each in importlib.metadata.distributions()
    }
    assert {(package.name, package.version) for package in capture_environment().packages} == listed


def test_python_is_the_one_that_runs() -> None:
    captured = capture_environment()
    assert captured.python == ".".join(map(str, sys.version_info[:3]))
    assert captured.implementation == "cpython"


def test_capturing_again_gives_the_same_digest() -> None:
    assert capture_environment().digest == capture_environment().digest


def test_a_hundred_packages_are_listed_in_thirty_milliseconds(tmp_path: Path) -> None:
    for number in range(100):
        place = tmp_path / f"package_{number}-{number}.0.dist-info"
        place.mkdir()
        (place / "direct_url.json").write_text(json.dumps({"url": "https://host/a.whl", "archive_info": {}}))
    best = min(_seconds(tmp_path) for _ in range(5))
    assert len(installed([str(tmp_path)], "")) == 100
    assert best < 0.030


def _seconds(folder: Path) -> float:
    start = time.perf_counter()
    installed([str(folder)], "")
    return time.perf_counter() - start


def test_another_python_tells_its_own_packages(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv/bin/python"
    site = next((tmp_path / "venv/lib").glob("python*/site-packages"))
    (site / "Some.Thing-2.0.dist-info").mkdir()
    captured = capture_environment(str(python))
    assert captured.packages == (Package("some-thing", "2.0"),)
    assert captured.digest != capture_environment().digest


def test_a_python_that_does_not_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProvrunError, match="does not say what is installed"):
        capture_environment(str(tmp_path / "nowhere"))


def test_metadata_of_every_age_is_understood(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first / "Zope.Thing-1.2.dist-info", first / "old-3-py3.11.egg-info", first / "~gone-1.dist-info"):
        folder.mkdir(parents=True)
    (first / "dev.egg-info").mkdir()
    (first / "dev.egg-info/PKG-INFO").write_text("Metadata-Version: 2.1\nName: Dev_Tool\nVersion: 0.1\n\nVersion: 9\n")
    (first / "single-4.egg-info").write_text("Name: single\nVersion: 4\n")
    (second / "zope.thing-9.dist-info").mkdir(parents=True)
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta/mkl-2024.1-h_12.json").write_text("{}")
    (tmp_path / "conda-meta/history").write_text("")
    path = [str(first), str(second), str(first), str(tmp_path / "absent"), str(tmp_path / "conda-meta/history")]
    found = {package.name: package.version for package in installed(path, str(tmp_path))}
    assert found == {
        "zope-thing": "1.2", "old": "3", "dev-tool": "0.1", "single": "4", "conda:mkl": "2024.1 h_12",
    }  # fmt: skip


def test_numbers_of_threads_make_nothing_stale() -> None:
    login = Environment(python="3.12.1", implementation="cpython", variables={"TZ": "UTC"})
    node = msgspec.structs.replace(login, variables={"TZ": "UTC", "OMP_NUM_THREADS": "4"})
    elsewhere = msgspec.structs.replace(login, variables={"TZ": "CET"})
    assert login.digest != node.digest
    assert login.software == node.software != elsewhere.software


@pytest.mark.parametrize(
    ("environ", "identity"),
    [
        ({}, None),
        ({"PROVRUN_CONTAINER": "sha256:" + "ab" * 32}, "sha256:" + "ab" * 32),
        ({"SHIFTER_IMAGE": "ab" * 32, "SHIFTER_IMAGEREQUEST": "ada/image:1"}, "sha256:" + "ab" * 32),
        ({"SHIFTER_IMAGEREQUEST": "ada/image:1"}, "shifter:ada/image:1"),
        ({"SINGULARITY_CONTAINER": "/home/ada/images/tools.sif"}, "apptainer:tools.sif"),
        ({"APPTAINER_CONTAINER": "docker://host/tools:2"}, "apptainer:docker://host/tools:2"),
        ({"PROVRUN_CONTAINER": "$(id)"}, "image"),
    ],
)
def test_containers_are_told_by_their_variables(environ: dict[str, str], identity: str | None, tmp_path: Path) -> None:
    assert find_container(environ, tmp_path) == identity


def test_containers_are_told_by_what_their_runtime_leaves(tmp_path: Path) -> None:
    (tmp_path / ".dockerenv").touch()
    assert find_container({}, tmp_path) == "docker"
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.containerenv").write_text(f'engine="podman-4"\nimage="host/i:1"\nimageid="{"cd" * 32}"\n')
    assert find_container({}, tmp_path) == "sha256:" + "cd" * 32


def test_an_apptainer_image_is_told_by_its_build(tmp_path: Path) -> None:
    identity = bytes(range(16))
    header = b"#!/usr/bin/env run-singularity\n".ljust(32, b"\0") + b"SIF_MAGIC\0" + b"01\0" + b"02\0" + identity
    (tmp_path / "tools.sif").write_bytes(header + bytes(100))
    assert find_container({"APPTAINER_CONTAINER": str(tmp_path / "tools.sif")}) == f"sif:{identity.hex()}"


def test_the_host_says_what_kind_of_machine_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOADEDMODULES", "gcc/12.2:openmpi/4.1")
    host = capture_host("Open MPI v5.0.1, package: somebody\n")
    assert host.cores == os.cpu_count()
    assert host.platform.startswith("Linux ")
    assert (host.cpu.strip() != "", host.memory >= 1) == (True, True)
    assert host.modules == ("gcc/12.2", "openmpi/4.1")
    assert os.uname().nodename not in msgspec.json.encode(host).decode()
    assert host.digest == capture_host("Open MPI v5.0.1, package: somebody").digest


def test_records_survive_being_stored() -> None:
    environment, host = capture_environment(), capture_host()
    assert msgspec.convert(msgspec.to_builtins(environment), Environment) == environment
    assert msgspec.json.decode(msgspec.json.encode(host), type=Host) == host
