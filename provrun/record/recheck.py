"""Tell cheaply whether code is still what was captured, without GitPython and without making a patch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from provrun.core.code import Code
from provrun.record.files import StatCache
from provrun.record.place import find
from provrun.record.source import KeptOut
from provrun.record.tree import Looking, look, read_head


def is_unchanged(code: Code, path: Path, *, exclude: Sequence[str] = (), known: StatCache | None = None) -> bool:
    """Tell whether a capture of the repository of ``path`` would give a version of code with the digest of ``code``.

    ``exclude`` and ``known`` as in `git.capture`, whose errors it raises.
    """
    place = find(path)
    if place is None or code.kind != "git":
        return False
    lying = look(place, Looking(read_head, KeptOut(exclude, path), patch=False, known=known or StatCache()))
    now = Code(kind="git", root=str(place.root), commit=lying.head.commit, tree=lying.tree, submodules=lying.submodules)
    return now.digest == code.digest
