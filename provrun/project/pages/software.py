"""The software that published tasks ran with: compared with what is here, and made again where that is wanted."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

import provrun
from provrun.export.crate.software import Listed, lock, read_lock
from provrun.record.environment import VARIABLES, capture_environment
from provrun.record.installing import (
    CannotInstall,
    Own,
    check_import,
    find_own,
    find_python,
    make_environment,
    own_variables,
    python_of,
)
from provrun.run.agent import Python

if TYPE_CHECKING:
    from provrun.core.environment import Environment
    from provrun.project.pages.evidence import Evidence
    from provrun.project.pages.recorded import Recorded

_NEEDED = ("provrun.run.spawner", "provrun.run.commands", "provrun.run.functions")


class Used(NamedTuple):
    """The software that tasks run with again in place of a recorded one.

    ``python`` is None for that of this process, ``environ`` what tasks find as environment. ``differs`` says in words
    in what it is another one than the recorded one; ``lacking`` what of that is due to what cannot be had here.
    """

    digest: str
    version: str
    python: Python | None
    environ: Mapping[str, str]
    differs: list[str]
    lacking: list[str]


class Environments:
    """Gives the software to run tasks with: that which is here, or with ``rebuild`` the recorded one, in ``folder``."""

    def __init__(
        self, recorded: Recorded, evidence: Evidence, folder: Path, rebuild: bool, tell: Callable[[str], object]
    ) -> None:
        self._recorded = recorded
        self._evidence = evidence
        self._folder = folder
        self._rebuild = rebuild
        self._tell = tell
        self._here = capture_environment()
        self._made: dict[tuple[str, Path | None], Used | CannotInstall] = {}

    @property
    def used(self) -> list[Used]:
        """Those that were given, in the order in which they were first asked for."""
        return [one for one in self._made.values() if isinstance(one, Used)]

    def of(self, digest: str, tree: Path) -> Used:
        """Give the software for tasks that ran with a recorded one; `CannotInstall` if that cannot be made again.

        ``tree`` has their code: a package of the recorded ones that was installed from its folder is installed from
        there.
        """
        own = self._own(digest, tree) if self._rebuild else None
        key = digest, None if own is None else tree
        found = self._made.get(key)
        if found is None:
            try:
                found = self._find(digest, own)
            except CannotInstall as error:
                found = error
                self._tell(f"environment {digest[:12]} cannot be rebuilt: {error.message}")
            self._made[key] = found
        if isinstance(found, CannotInstall):
            raise found
        return found

    def _find(self, digest: str, own: Own | None) -> Used:
        if self._rebuild and (own is not None or digest != self._here.digest):
            used = self._build(digest, own)
        else:
            differs = self._differences(digest, self._here)
            used = Used(digest, self._here.python, None, os.environ, differs, [])
            if self._rebuild:
                self._tell(f"environment {digest[:12]} is the one that is here")
        for line in (*(f"cannot be had: {one}" for one in used.lacking), *used.differs):
            self._tell(line)
        return used

    def _differences(self, digest: str, here: Environment) -> list[str]:
        if digest == here.digest:
            return []
        listed = self._list(digest)
        if listed is not None:
            return _compare(listed, here)
        view = self._evidence.view
        node = next(one for one in view.typed("Environment") if view.text(one, "digest") == digest)
        recorded = f"Python {view.text(node, 'python')}, {view.text(node, 'packages')} packages"
        return [f"the software differs: recorded {recorded}, here Python {here.python}, {len(here.packages)} packages"]

    def _list(self, digest: str) -> str | None:
        return lock(self._here) if digest == self._here.digest else self._recorded.lock(digest)

    # Made again

    def _own(self, digest: str, tree: Path) -> Own | None:
        try:
            return find_own(self._read(digest).others.values(), tree)
        except CannotInstall:  # which is told when it is to be made
            return None

    def _read(self, digest: str) -> Listed:
        text = self._list(digest)
        if text is None:
            raise CannotInstall(
                "the list of its packages is not here", value=digest[:12],
                next="give the crate, which has it, instead of the page",
            )
        try:
            listed = read_lock(text)
        except ValueError as error:
            raise CannotInstall(f"the list of its packages cannot be read: {error}", value=digest[:12]) from None
        for names in (listed.requirements, listed.others):
            names.pop("provrun", None)  # the one that is here runs the tasks
        return listed

    def _build(self, digest: str, own: Own | None) -> Used:
        listed = self._read(digest)
        self._tell(
            f"rebuilding environment {digest[:12]}: {listed.implementation} {listed.python}, "
            f"{len(listed.requirements)} packages"
        )
        for line in listed.requirements.values():
            if " @ " in line:  # which comes from no index that this pip is set up for
                self._tell(f"installing {line}")
        program = find_python(listed.implementation, listed.python)
        lacking = [] if program else [f"{listed.implementation} {listed.python}"]
        lacking += sorted(text for name, text in listed.others.items() if own is None or name != own.name)
        target = self._folder / f"environment-{len(self._made)}"
        lacking += make_environment(target, program or sys.executable, listed.requirements, own)
        python = Python(python_of(target), self._package())
        check_import(python.program, python.package, _NEEDED)
        environ = _variables(target, listed)
        built = capture_environment(python.program, environ)
        ours = [one for one in self._here.packages if one.name == "provrun"]
        built = msgspec.structs.replace(built, packages=tuple(sorted((*built.packages, *ours))))
        return Used(digest, built.python, python, environ, self._differences(digest, built), lacking)

    def _package(self) -> str:
        """Give a folder from which the provrun that is here can be imported, and nothing else that lies beside it."""
        folder = self._folder / "here"
        folder.mkdir(exist_ok=True)
        link = folder / "provrun"
        if not link.is_symlink():
            link.symlink_to(Path(provrun.__file__).resolve().parent)
        return str(folder)


def _variables(target: Path, listed: Listed) -> dict[str, str]:
    """Give what tasks find as environment: this process's, with the recorded ones of those that are recorded."""
    environ = {name: value for name, value in own_variables().items() if name not in VARIABLES}
    environ |= {name: value for name, value in listed.variables.items() if name in VARIABLES}
    environ["VIRTUAL_ENV"] = str(target)
    environ["PATH"] = f"{target / 'bin'}{os.pathsep}{environ.get('PATH', os.defpath)}"
    return environ


def _compare(recorded: str, here: Environment) -> list[str]:
    there, own = set(recorded.splitlines()), set(lock(here).splitlines())
    return [
        *(f"recorded, not here: {line}" for line in sorted(there - own)),
        *(f"here, not recorded: {line}" for line in sorted(own - there)),
    ]
