"""Which files of a working tree are code."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

SOURCE_LIMIT = 1 << 20
"""Bytes: a larger untracked file is data, whatever its name."""

_EXTENSIONS = """
    py pyi pyx pxd pxi c h cc cpp cxx c++ hh hpp hxx h++ inc inl ipp tpp cu cuh cl hip ispc
    f for ftn f77 f90 f95 f03 f08 f18 pf fpp i jl r rmd qmd m mm java scala kt kts groovy clj cljs go rs swift zig nim
    hs lhs ml mli fs fsx fsi cs vb lisp lsp scm ss rkt el ex exs erl hrl pas pp ada adb ads cob cbl pro sas do ado
    sh bash zsh ksh csh tcsh fish awk sed pl pm raku tcl lua rb php js mjs cjs jsx ts tsx sql proto capnp idl
    cmake mk mak am ac m4 nf smk wdl cwl nix bzl sage gp gap maple mpl wl wls stan bug jags lean v thy
"""
_NAMES = """
    makefile gnumakefile dockerfile containerfile snakefile rakefile sconstruct sconscript cmakelists.txt meson.build
    justfile pyproject.toml setup.cfg requirements.txt environment.yml cargo.toml project.toml
"""
_SOURCE_EXTENSIONS = frozenset(_EXTENSIONS.split())
_SOURCE_NAMES = frozenset(_NAMES.split())
_WRITTEN = frozenset((".provrun", "__pycache__"))
_INSTALLED = frozenset((".ipynb_checkpoints", "site-packages", "node_modules"))


def is_source(path: str) -> bool:
    """Tell by its name whether an untracked file is source: extension or well-known name, and not installed."""
    *folders, name = path.lower().split("/")
    named = name in _SOURCE_NAMES or ("." in name and name.rpartition(".")[2] in _SOURCE_EXTENSIONS)
    return named and _INSTALLED.isdisjoint(folders)


def is_written(path: str) -> bool:
    """Tell whether a file, tracked or not, was written by provrun or is bytecode: never code."""
    return path.endswith((".pyc", ".pyo")) or not _WRITTEN.isdisjoint(path.split("/"))


class KeptOut:
    """Files that are no code because tasks or provrun write them.

    ``patterns`` are paths, absolute or relative to ``folder``; ``*`` and ``?`` stand for characters of one name, ``**``
    for any number of folders; a pattern that names a folder keeps out all beneath it.
    """

    def __init__(self, patterns: Iterable[str], folder: Path) -> None:
        self._absolute = [os.path.normpath(folder.resolve() / pattern) for pattern in patterns]

    def beneath(self, root: Path) -> Written:
        """Return the same for paths relative to ``root``."""
        return Written(self._beneath(root))

    def ignore_lines(self, root: Path) -> list[bytes]:
        """Return the patterns as lines of a ``.gitignore`` in ``root``, but those it could not hold."""
        plain = [pattern for pattern in self._beneath(root) if "\n" not in pattern and not pattern.endswith(" ")]
        return [b"/" + os.fsencode(re.sub(r"([\\\[\]])", r"\\\1", pattern)) for pattern in plain]

    def _beneath(self, root: Path) -> list[str]:
        start = f"{root}/".replace("//", "/")
        return [pattern.removeprefix(start) for pattern in self._absolute if pattern.startswith(start)]


class Written:
    """Tells which files of a working tree, by path in it, tasks or provrun write."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._match = _matcher(patterns)
        self._match_exactly = _matcher([pattern for pattern in patterns if not _WILD.search(pattern)])

    def __contains__(self, path: str) -> bool:
        return is_written(path) or self._match(path)

    def holds_tracked(self, path: str) -> bool:
        """Tell whether a tracked file is no code.

        Tracked source is code even where a pattern fits it, or an output called ``{name}.py`` would hide every edit.
        """
        return is_written(path) or (self._match_exactly if is_source(path) else self._match)(path)


_WILD = re.compile(r"(\*\*/|\*\*|\*|\?)")
_WILD_EXPRESSIONS = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def _matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    if not patterns:
        return lambda _: False
    matches = re.compile("|".join(_expression(pattern) for pattern in patterns)).match
    return lambda path: matches(path) is not None


def _expression(pattern: str) -> str:
    parts = _WILD.split(pattern)
    return "(?s:" + "".join(_WILD_EXPRESSIONS.get(part) or re.escape(part) for part in parts) + r")(?:/|\Z)"
