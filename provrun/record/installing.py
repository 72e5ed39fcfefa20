"""Make a virtual environment of recorded packages, with the Python that is on this machine and pip as it is set up."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from provrun.errors import ProvrunError
from provrun.record.environment import ask_python, capture_environment

_GONE = re.compile(r"^ERROR: No matching distribution found for (.+?)\s*$", re.MULTILINE)
_UNREACHED = "WARNING: Retrying"
_ERROR = re.compile(r"^(?:ERROR|error): *(\S.*)", re.MULTILINE)
_FOREIGN = frozenset(("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"))


class CannotInstall(ProvrunError):
    """An environment cannot be made; the message has what the installer said."""

    code = "cannot-install"


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


def make_environment(folder: Path, python: str, requirements: Sequence[str], names: Iterable[str]) -> list[str]:
    """Make a virtual environment in ``folder`` of these requirements, and give those that cannot be had.

    ``requirements`` are lines as pip reads them, all there are: what they depend on is not looked for. What else the
    new environment has is removed but for ``names``, normalised names of packages. Where packages come from is said
    by pip's own settings. Raises `CannotInstall`.
    """
    pip = _pip(folder)
    bare = ["--without-pip"] if pip[0] == sys.executable else []
    made = _run([python, "-m", "venv", *bare, str(folder)])
    if made.returncode:
        raise CannotInstall(f"a virtual environment cannot be made: {_why(made)}", value=python)
    addresses = [line for line in requirements if " @ " in line]
    missing = _install(pip, folder / "requirements.txt", [line for line in requirements if line not in addresses])
    for line in addresses:
        done = _run([*pip, "install", "--no-deps", line])
        if done.returncode:
            missing.append(f"{line} ({_why(done)})")
    kept, there = set(names), capture_environment(python_of(folder), own_variables()).packages
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
    done = _run([python, "-c", text])
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
        gone = _GONE.search(done.stderr)
        if gone is None or gone[1] not in wanted or _UNREACHED in done.stderr:
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


def _run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            env=own_variables(),
        )
    except OSError as error:
        raise CannotInstall(f"{words[0]} does not run: {error.strerror}", value=words[0]) from None


def _why(done: subprocess.CompletedProcess[str]) -> str:
    said = f"{done.stdout}\n{done.stderr}"
    return (_ERROR.findall(said) or said.strip().splitlines() or ["it said nothing"])[-1]
