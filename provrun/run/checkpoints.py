"""Checkpoints: a private folder of a task that its next attempt finds as the last one left it.

A folder's name ends in the number of the attempt it belongs to, and changes when the next one begins: an attempt that
was given up as lost and lives on writes nowhere that counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from provrun.run.declared import CannotStart
from provrun.run.folder import remove as remove_folder

_FOLDER = "checkpoints"


def take(project: str, name: str, index: int, key: bytes, number: int) -> str:
    """Give the folder of an attempt: that of the task's last one, renamed, or a new one; raise `CannotStart`.

    ``name`` is that of the map and ``key`` the task's: a map made anew under an old name finds nothing of the old one.
    """
    folder = _folder(project)
    stem = f"{name}.{index}.{key.hex()[:16]}."
    own = f"{folder}/{stem}{number}"
    try:
        os.makedirs(folder, exist_ok=True)
        found = sorted((int(entry[len(stem) :]), entry) for entry in os.listdir(folder) if entry.startswith(stem))
        if found and found[-1][0] != number:
            os.rename(f"{folder}/{found[-1][1]}", own)
        elif not found:
            os.mkdir(own, 0o700)
    except OSError as error:
        raise CannotStart(f"cannot make the checkpoint folder {own}: {error.strerror}", value=own) from None
    for _, entry in found[:-1]:
        remove_folder(f"{folder}/{entry}")
    return own


def remove(project: str, wanted: Callable[[str, int, int], bool]) -> None:
    """Remove the folders of attempts that, by map name, index and number, are not wanted any more."""
    folder = _folder(project)
    with suppress(FileNotFoundError):
        for entry in os.listdir(folder):
            name, index, _, number = entry.split(".")
            if not wanted(name, int(index), int(number)):
                remove_folder(f"{folder}/{entry}")


def kept(project: str) -> bool:
    """Tell whether there are any."""
    try:
        return bool(os.listdir(_folder(project)))
    except FileNotFoundError:
        return False


def _folder(project: str) -> str:
    return os.path.join(project, ".provrun", _FOLDER)
