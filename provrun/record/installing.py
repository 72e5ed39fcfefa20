"""Make a virtual environment of recorded packages, with the Python that is on this machine and pip as it is set up."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from provrun.errors import ProvrunError
from provrun.record.environment import ask_python, capture_environment

_GONE = re.compile(r"^ERROR: No matching distribution found for (.+?)\s*$", re.MULTILINE)
_UNREACHED = re.compile(r"^WARNING: Retrying .*? after connection broken by (.*)", re.MULTILINE)
_ERROR = re.compile(r"^(?:ERROR|error): *(\S.*)", re.MULTILINE)
_FOLDER = re.compile(r"(\S+) (\S+) \(from (editable )?folder\)")
_SEPARATORS = re.compile(r"[-_.]+")
_FOREIGN = frozenset(("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"))


class CannotInstall(ProvrunError):
    """An environment cannot be made; the message has what the installer said."""

    code = "cannot-install"


class Own(NamedTuple):
    """A package whose source is the folder of a study itself, as it was installed: in place if ``editable``."""

    name: str
    version: str
    editable: bool
    folder: Path


def find_own(listed: Iterable[str], folder: Path) -> Own | None:
    """Return which of some packages (``name version (from folder)``) is that of the pyproject.toml in a folder."""
    try:
        with (folder / "pyproject.toml").open("rb") as file:
            project = tomllib.load(file).get("project")
    except (OSError, ValueError):
        return None
    name = project.get("name") if isinstance(project, dict) else None
    for one in listed:
        found = _FOLDER.fullmatch(one)
        if found is not None and found[1] == _SEPARATORS.sub("-", str(name)).lower():
            return Own(found[1], found[2], found[3] is not None, folder)
    return None


def find_python(implementation: str, version: str) -> str | None:
    """Return the program of a Python on this machine of this kind and version, else of the same minor version.

    Looks at this process's own and at ``PATH``.
    """
    minor = ".".join(version.split(".")[:2])
    kinds = ("python",) if implementation == "cpython" else (implementation, "python")
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    candidates = [f"{folder}/{kind}{minor}" for folder in folders for kind in kinds]
    near = None
    for program in [sys.executable, *(path for path in candidates if os.access(path, os.X_OK))]:
        with suppress(ProvrunError):
            found, kind = ask_python(program)[:2]
            if kind == implementation and found == version:
                return program
            if kind == implementation and found.startswith(f"{minor}."):
                near = near or program
    return near


def make_environment(
    folder: Path, python: str, requirements: Mapping[str, str], own: Own | None = None
) -> list[str]:
    """Make a virtual environment in ``folder`` of these requirements, and give those that cannot be had.

    ``requirements`` are lines as pip reads them by normalised names, all there are: what they depend on is not looked
    for, and what else the new environment has is removed. Where packages come from is said by pip's own settings.
    Raises `CannotInstall`.
    """
    pip = _pip(folder)
    bare = ["--without-pip"] if pip[0] == sys.executable else []
    # Isolated: in the folder where this is called a module may lie that is called like one of Python's.
    made = _run([python, "-I", "-m", "venv", *bare, str(folder)])
    if made.returncode:
        raise CannotInstall(f"a virtual environment cannot be made: {_why(made)}", value=python)
    addresses = [line for line in requirements.values() if " @ " in line]
    plain = [line for line in requirements.values() if line not in addresses]
    missing = _install(pip, folder / "requirements.txt", plain)
    for line in addresses:
        done = _run([*pip, "install", "--no-deps", line])
        if done.returncode:
            missing.append(f"{line} ({_why(done)})")
    if own is not None:
        place = ["--editable", str(own.folder)] if own.editable else [str(own.folder)]
        # Its version may be that of a tag of its repository, which is not here.
        done = _run([*pip, "install", "--no-deps", *place], {"SETUPTOOLS_SCM_PRETEND_VERSION": own.version})
        if done.returncode:
            missing.append(f"{own.name} {own.version} ({_why(done)})")
    there = capture_environment(python_of(folder), own_variables()).packages
    kept = {*requirements, own.name} if own else set(requirements)
    surplus = [one.name for one in there if one.name not in kept]
    if surplus:
        _run([*pip, "uninstall", "--yes", *surplus])  # what stays is told with all that differs
    return missing


def python_of(folder: Path) -> str:
    """Return the program of the Python of a virtual environment."""
    return str(folder / "bin" / "python")


def own_variables() -> dict[str, str]:
    """Return this process's variables but for those that would let another installation in."""
    return {name: value for name, value in os.environ.items() if name not in _FOREIGN}


def check_import(python: str, package: str, modules: Sequence[str]) -> None:
    """Raise `CannotInstall` unless a Python can import modules, with ``package`` as the last folder it looks in."""
    text = f"import sys; sys.path.append({package!r}); import {', '.join(modules)}"
    done = _run([python, "-I", "-c", text])
    if done.returncode:
        raise CannotInstall(f"{modules[0].partition('.')[0]} cannot run in it: {_why(done)}", value=python)


def _install(pip: Sequence[str], listed: Path, requirements: Sequence[str]) -> list[str]:
    """Install what can be had, and give what cannot: pip installs all or nothing, and names the first that is gone."""
    wanted, missing = list(requirements), list[str]()
    while wanted:
        listed.write_text("".join(f"{line}\n" for line in wanted))
        done = _run([*pip, "install", "--no-deps", "--requirement", str(listed)])
        if not done.returncode:
            break
        gone, unreached = _GONE.search(done.stderr), _UNREACHED.search(done.stderr)
        if unreached is not None:
            raise CannotInstall(f"pip cannot reach where packages are: {unreached[1]}", value=pip[0])
        if gone is None or gone[1] not in wanted:
            raise CannotInstall(f"pip failed: {_why(done)}", value=pip[0])
        wanted.remove(gone[1])
        missing.append(f"{gone[1]} (no index has it for this Python)")
    return missing


def _pip(folder: Path) -> list[str]:
    """Give the words that run pip for an environment: that of this Python, else one that the environment brings."""
    program = python_of(folder)
    # Isolated from what Python's variables show; its own settings, pip's, count.
    own = [sys.executable, "-I", "-m", "pip", "--python", program]
    words = own if find_spec("pip") else [program, "-I", "-m", "pip"]
    return [*words, "--disable-pip-version-check", "--no-input"]


def _run(words: Sequence[str], variables: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            env={**own_variables(), **(variables or {})},
        )
    except OSError as error:
        raise CannotInstall(f"{words[0]} does not run: {error.strerror}", value=words[0]) from None


def _why(done: subprocess.CompletedProcess[str]) -> str:
    said = f"{done.stdout}\n{done.stderr}"
    return (_ERROR.findall(said) or said.strip().splitlines() or ["it said nothing"])[-1]
