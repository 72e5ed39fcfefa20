"""Importing the modules of functions, and knowing which files of the project came with them."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType

from provrun.run import current
from provrun.run.files import Files, Seen
from provrun.run.pinned import Pinned
from provrun.run.script import execute

Function = Callable[..., object]


class Loader:
    """Imports from one place: a module as ``python -m`` would find it from a folder, or a file as a script."""

    def __init__(self, place: str, workdir: str, project: str, pinned: Pinned) -> None:
        self._place = place
        self._workdir = workdir
        self._project = project
        self._pinned = pinned
        self._module: ModuleType | None = None
        self._problem: BaseException | None = None
        self._known: set[str] = set()
        self._digests = Files()
        provrun = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        libraries = [
            os.path.join(prefix, folder)
            for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix}
            for folder in ("lib", "lib64")
        ]
        self._excluded = tuple(folder + os.sep for folder in (provrun, *libraries))

    @property
    def is_file(self) -> bool:
        """Tell whether functions are found in a file, not by the name of a module."""
        return self._place.endswith(".py") or "/" in self._place

    def enter(self) -> None:
        """Make this process one that imports from here: folder, ``sys.path``."""
        os.chdir(self._workdir)
        if self._pinned.on:
            sys.path[:] = self._pinned.search(sys.path)
        code = self._pinned.folder(self._workdir)
        sys.path.insert(0, os.path.dirname(self._file()) if self.is_file else code)
        sys.argv = [self._place]
        sys.modules.pop("typing_extensions", None)

    def function(self, name: str) -> Function:
        """Give a function of the module, imported on first use; raises whatever its import raised."""
        module = self.module()
        found: object = module
        for part in name.split("."):
            found = getattr(found, part)
        if not callable(found):
            raise TypeError(f"{self._place}:{name} is no function")
        return found

    def module(self) -> ModuleType:
        """Import the module, once, also when that fails."""
        if self._problem is not None:
            raise self._problem
        if self._module is None:
            current.importing = True
            try:
                self._module = self._import()
                self._require_pinned()
            except BaseException as problem:  # whatever a module raises is what its tasks have for an error
                self._problem = problem
                raise
            finally:
                current.importing = False
        return self._module

    def files(self) -> dict[str, Seen]:
        """Give the project's files among the imported modules that were not given before, by path.

        Paths beneath the project are relative to it. The module's own file is there even if its import failed.
        """
        found = {}
        paths = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        if self.is_file:
            paths.append(self._file())
        for path in paths:
            if isinstance(path, str) and path not in self._known:
                self._known.add(path)
                whole = os.path.abspath(path)
                place = self._pinned.named(whole)
                if self._is_ours(place):
                    with suppress(OSError):
                        name = os.path.relpath(place, self._project) if self._beneath(place) else place
                        found[name] = self._digests.look(whole)
        return found

    def prepare_randomness(self, files: dict[str, Seen]) -> None:
        """Import the random generators that the files name, so that they are seeded for the first task that asks."""
        text = b""
        for path in files:
            with open(self._pinned.there(os.path.join(self._project, path)), "rb") as file:
                text += file.read()
        if b"random" in text:
            importlib.import_module("random")
        if b"numpy" in text and importlib.util.find_spec("numpy"):
            importlib.import_module("numpy.random")

    def _import(self) -> ModuleType:
        if not self.is_file:
            importlib.invalidate_caches()
            return importlib.import_module(self._place)
        path = self._file()
        name = os.path.splitext(os.path.basename(path))[0]
        if not name.isidentifier() or name in sys.modules or name in sys.builtin_module_names:
            name = f"_provrun_{abs(hash(path))}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{self._place} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        current.scripts[name] = self._place
        try:
            execute(module, path)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        return module

    def _file(self) -> str:
        return self._pinned.there(os.path.abspath(os.path.join(self._workdir, self._place)))

    def _require_pinned(self) -> None:
        """Raise ``ImportError`` if something was imported from the working tree in spite of a pin."""
        for name, module in list(sys.modules.items()) if self._pinned.on else ():
            path = getattr(module, "__file__", None)
            if not isinstance(path, str) or self._pinned.holds(path):
                continue
            if self._is_ours(path) and self._pinned.is_beneath(path):
                raise ImportError(f"{name} is not in the tree that was submitted (--code pin): {path}")

    def _is_ours(self, path: str) -> bool:
        if path.startswith(self._excluded) or "/site-packages/" in path or "/dist-packages/" in path:
            return False
        return self._beneath(path) or path.startswith(self._workdir.rstrip("/") + "/")

    def _beneath(self, path: str) -> bool:
        return path.startswith(self._project.rstrip("/") + "/")
