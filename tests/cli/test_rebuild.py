"""`reproduce --rebuild`: published tasks run again with the packages that they had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from fixtures.cli import Cli, Done
from fixtures.pythons import NEEDED, make_python, make_wheel, pack_installed
from fixtures.repositories import commit_all

STUDY = """
def scaled(x):
    import toy

    return x * toy.FACTOR


def plain(x):
    return x + 1
"""


PROJECT = """
[project]
name = "Own_Package"
version = "0.3"

[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = """
import os
from zipfile import ZipFile


def build_editable(folder, config_settings=None, metadata_directory=None):
    name, info = "own_package-0.3-py3-none-any.whl", "own_package-0.3.dist-info"
    with ZipFile(os.path.join(folder, name), "w") as file:
        file.writestr("own_package.pth", os.path.abspath("src"))
        file.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: own_package\\nVersion: 0.3\\n")
        file.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        file.writestr(info + "/RECORD", "")
    return name
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of a package on which results depend, and what provrun needs to run tasks."""
    folder = tmp_path_factory.mktemp("wheels")
    make_wheel(folder, "toy", "1.0", "FACTOR = 2\n")
    make_wheel(folder, "toy", "2.0", "FACTOR = 3\n")
    for name in NEEDED:
        pack_installed(folder, name)
    return folder


@pytest.fixture(scope="module")
def pythons(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A Python for each version of the package."""
    folder = tmp_path_factory.mktemp("pythons")
    return {version: make_python(folder / version, wheels, f"toy=={version}") for version in ("1.0", "2.0")}


@pytest.fixture
def author(git_repo: Path, pythons: dict[str, str]) -> Cli:
    """Somebody who has the first version."""
    (git_repo / "study.py").write_text(STUDY)
    commit_all(git_repo, "study")
    return Cli(git_repo, pythons["1.0"])


@pytest.fixture
def reader(tmp_path: Path, pythons: dict[str, str]) -> Cli:
    """Somebody else, who has the second version."""
    folder = tmp_path / "reader"
    folder.mkdir()
    return Cli(folder, pythons["2.0"])


def activated(cli: Cli) -> dict[str, str]:
    return {"PATH": f"{Path(cli.python).parent}{os.pathsep}{os.environ['PATH']}"}


def served(wheels: Path, *, scratch: Path | None = None) -> dict[str, str]:
    """Give the settings of pip with which packages come out of a folder."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)} | ({"TMPDIR": str(scratch)} if scratch else {})


def ran(cli: Cli, *words: str) -> None:
    done = cli("submit", *words, **activated(cli))
    assert done.exit == 0, done.err
    done = cli("run", **activated(cli))
    assert done.exit == 0, done.err


def published(cli: Cli, reader: Cli) -> list[str]:
    """Export a crate and give the words with which it is reproduced."""
    crate = reader.folder / "paper"
    done = cli("export", "--format", "crate", "-o", str(crate))
    assert done.exit == 0, done.err
    return ["reproduce", str(crate), "--repository", str(cli.folder), "--json"]


def verdicts(done: Done) -> dict[str, str]:
    return {one["task"]: one["verdict"] for one in done.json["tasks"]}


def test_tasks_come_out_as_recorded_with_the_packages_that_they_had(
    author: Cli, reader: Cli, wheels: Path, tmp_path: Path
) -> None:
    ran(author, "scaled", "--param", "x=1:4", "--function", "study.py:scaled")
    program = "import sys, toy; print(int(sys.argv[1]) * toy.FACTOR)"
    ran(author, "printed", "--param", "x=1:4", "--", "python", "-c", program, "{x}")
    words = published(author, reader)
    without = reader(*words, **activated(reader))
    assert without.exit == 6 and set(verdicts(without).values()) == {"differs"}
    assert "recorded, not here: toy==1.0" in without.json["environment"]
    assert [one["rebuilt"] for one in without.json["environments"]] == [False]

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = reader(*words, "--rebuild", **activated(reader), **served(wheels, scratch=scratch))
    assert done.exit == 0, done.out + done.err
    assert len(verdicts(done)) == 6 and set(verdicts(done).values()) == {"reproduced"}
    (used,) = done.json["environments"]
    assert (used["rebuilt"], used["differs"], used["lacking"]) == (True, [], [])
    assert [path.name for path in scratch.iterdir() if path.name.startswith("provrun-")] == []


def test_each_environment_is_made_for_its_own_tasks(author: Cli, reader: Cli, wheels: Path) -> None:
    ran(author, "scaled", "--param", "x=1:3", "--function", "study.py:scaled")
    later = Cli(author.folder, reader.python)
    ran(later, "scaled", "--param", "x=1:5", "--function", "study.py:scaled")
    words = published(author, reader)
    without = reader(*words)
    assert (without.exit, sorted(verdicts(without).values())) == (6, [*["differs"] * 2, *["reproduced"] * 2])
    done = reader(*words, "--rebuild", **served(wheels))
    assert done.exit == 0, done.out + done.err
    assert sorted(one["rebuilt"] for one in done.json["environments"]) == [False, True]
    assert "is the one that is here" in done.err


def test_variables_are_those_that_were_recorded(author: Cli, reader: Cli, wheels: Path) -> None:
    words = ["sh", "-c", "echo \\\"${OMP_SCHEDULE:-none} ${TZ:-none}\\\"", "--param", "x=0:2"]
    assert author("submit", "told", *words[3:], "--result", "stdout-json", "--", *words[:3]).exit == 0
    assert author("run", OMP_SCHEDULE="static").exit == 0
    again = published(author, reader)
    assert reader(*again, TZ="CET").exit == 6
    done = reader(*again, "--rebuild", TZ="CET", PYTHONPATH=str(reader.folder), **served(wheels))
    assert done.exit == 0, done.out + done.err


def test_what_no_index_has_is_named_and_blames_no_task(author: Cli, reader: Cli, wheels: Path, tmp_path: Path) -> None:
    ran(author, "scaled", "--param", "x=1:3", "--function", "study.py:scaled")
    ran(author, "plain", "--param", "x=1:3", "--function", "study.py:plain")
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    for one in wheels.iterdir():
        if one.name != "toy-1.0-py3-none-any.whl":
            (fewer / one.name).symlink_to(one)
    done = reader(*published(author, reader), "--rebuild", **served(fewer))
    assert done.exit == 1
    found = verdicts(done)
    assert {found[task] for task in found if task.startswith("plain")} == {"reproduced"}
    assert {found[task] for task in found if task.startswith("scaled")} == {"could not be run"}
    assert all("lacks toy==1.0" in one["why"] for one in done.json["tasks"] if one["task"].startswith("scaled"))
    (used,) = done.json["environments"]
    assert used["lacking"] == ["toy==1.0 (no index has it for this Python)"]
    assert used["differs"] == ["recorded, not here: toy==1.0"]


def test_an_installer_that_fails_is_quoted(author: Cli, reader: Cli, wheels: Path, tmp_path: Path) -> None:
    ran(author, "plain", "--param", "x=1:3", "--function", "study.py:plain")
    words = published(author, reader)
    broken, empty = tmp_path / "broken", tmp_path / "empty"
    broken.mkdir()
    empty.mkdir()
    for one in wheels.iterdir():
        (broken / one.name).write_bytes(b"no wheel" if one.name.startswith("toy-1") else one.read_bytes())
    for folder, why in ((broken, "pip failed: Wheel 'toy'"), (empty, "provrun cannot run in it")):
        done = reader(*words, "--rebuild", **served(folder))
        assert (done.exit, set(verdicts(done).values())) == (1, {"could not be run"})
        assert all(why in one["why"] for one in done.json["tasks"]), done.json["tasks"]
        assert "cannot be rebuilt" in done.err
    away = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
    done = reader(*words, "--rebuild", PIP_CONFIG_FILE=os.devnull, PIP_RETRIES="1", **away)
    assert (done.exit, set(verdicts(done).values())) == (1, {"could not be run"})
    assert all("cannot reach" in one["why"] and "127.0.0.1" in one["why"] for one in done.json["tasks"])


@pytest.mark.parametrize(
    ("added", "told"),
    [
        (b"evil @ https://127.0.0.1:9/evil.zip\n", "installing evil @ https://127.0.0.1:9/evil.zip"),
        (b"\xff\xfe", "cannot be had: \ufffd\ufffd"),
    ],
)
def test_what_a_strangers_list_says_is_told_before_it_is_done(
    author: Cli, reader: Cli, wheels: Path, added: bytes, told: str
) -> None:
    ran(author, "plain", "--param", "x=1:3", "--function", "study.py:plain")
    words = published(author, reader)
    crate = reader.folder / "paper"
    (listed,) = (crate / "environment").glob("*.requirements.txt")
    listed.write_bytes(listed.read_bytes() + added)
    metadata = json.loads((crate / "ro-crate-metadata.json").read_text())
    (file,) = [one for one in metadata["@graph"] if one["@id"] == f"environment/{listed.name}"]
    file["sha256"] = sha256(listed.read_bytes()).hexdigest()
    file["contentSize"] = str(listed.stat().st_size)
    (crate / "ro-crate-metadata.json").write_text(json.dumps(metadata))
    done = reader(*words, "--rebuild", **served(wheels), PIP_RETRIES="0")
    assert done.exit in (0, 1), done.out + done.err
    lines = done.err.splitlines()
    assert lines.index(told) < lines.index("running 2 tasks again")


def test_a_page_alone_has_no_list_of_packages(author: Cli, reader: Cli) -> None:
    ran(author, "plain", "--param", "x=1:3", "--function", "study.py:plain")
    page, leaves = str(reader.folder / "paper.ttl"), str(reader.folder / "leaves.jsonl")
    assert author("export", "-o", page, "--leaves", leaves).exit == 0
    words = ["reproduce", page, "--leaves", leaves, "--repository", str(author.folder), "--json"]
    assert reader(*words).exit == 0
    done = reader(*words, "--rebuild")
    assert (done.exit, set(verdicts(done).values())) == (1, {"could not be run"})
    assert all("give the crate" in one["why"] for one in done.json["tasks"])


def test_a_map_of_the_project_is_run_with_the_packages_in_the_registry(author: Cli, reader: Cli, wheels: Path) -> None:
    ran(author, "scaled", "--param", "x=1:4", "--function", "study.py:scaled")
    newer = Cli(author.folder, reader.python)
    assert newer("reproduce", "scaled").exit == 6
    done = newer("reproduce", "scaled", "--rebuild", "--json", **served(wheels))
    assert done.exit == 0, done.out + done.err
    assert newer("verify").exit == 0


def test_the_studys_own_package_is_installed_from_the_recorded_code(
    git_repo: Path, wheels: Path, tmp_path: Path
) -> None:
    source = git_repo / "src" / "own_package.py"
    source.parent.mkdir()
    source.write_text("def scaled(x):\n    return 2 * x\n")
    (git_repo / "pyproject.toml").write_text(PROJECT)
    (git_repo / "backend.py").write_text(BACKEND)
    commit_all(git_repo, "a package")
    cli = Cli(git_repo, make_python(tmp_path / "python", wheels))
    install = [sys.executable, "-m", "pip", "--python", cli.python, "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*install, "--editable", str(git_repo)], check=True)
    ran(cli, "scaled", "--param", "x=1:3", "--function", "own_package:scaled")
    source.write_text("def scaled(x):\n    return 3 * x\n")
    commit_all(git_repo, "another factor")
    ran(cli, "scaled", "--param", "x=1:5", "--function", "own_package:scaled")

    without = cli("reproduce", "scaled", "--json")
    assert (without.exit, sorted(verdicts(without).values())) == (6, [*["differs"] * 2, *["reproduced"] * 2])
    done = cli("reproduce", "scaled", "--rebuild", "--json", **served(wheels))
    assert done.exit == 0, done.out + done.err
    used = [(one["rebuilt"], one["differs"], one["lacking"]) for one in done.json["environments"]]
    assert used == [(True, [], [])] * 2
