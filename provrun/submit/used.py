"""The files that a recipe itself names: what stands for the code where there is no repository."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from provrun.core.records import Policy, Recipe
from provrun.core.template import Field, Template
from provrun.errors import UsageError
from provrun.submit.source import Unfit, find_module


def named_files(recipe: Recipe, policy: Policy, folder: Path) -> list[Path]:
    """Give the files that a recipe and ``--uses`` name, as they lie beneath ``folder`` now; folders are walked."""
    found = set(_recipe_files(recipe, folder))
    for name in policy.uses:
        path = folder / name
        found |= {each for each in path.rglob("*") if each.is_file()} if path.is_dir() else {path}
    return sorted(path for path in found if path.is_file())


def _recipe_files(recipe: Recipe, folder: Path) -> Iterator[Path]:
    if recipe.function is not None:
        place = recipe.function.rpartition(":")[0]
        try:
            file = folder / place if place.endswith(".py") else find_module(place, folder)
        except Unfit:
            file = None
        if file is not None:
            yield file
        return
    if recipe.kind == "command":
        for word in Template.parse(recipe.words).pieces:
            if not any(isinstance(piece, Field) for piece in word):
                text = "".join(str(piece) for piece in word)
                yield folder / text


def missing_program(recipe: Recipe, folder: Path) -> str | None:
    """Say that the program of a command is not found here; it may still be where tasks run."""
    if recipe.kind != "command" or Template.parse(recipe.words[:1]).fields:
        return None
    program = recipe.words[0]
    found = os.access(folder / program, os.X_OK) if "/" in program else shutil.which(program) is not None
    return None if found else f"no program {program} is found here; tasks fail where they do not find it either"


def missing_uses(policy: Policy, folder: Path) -> list[str]:
    """Say which paths of ``--uses`` are not there: what is made later counts from then on, a slip never."""
    absent = [name for name in policy.uses if not (folder / name).exists()]
    return [f"--uses {name}: there is no such file or folder now" for name in absent]


def output_patterns(recipe: Recipe, folder: Path) -> list[str]:
    """Give the paths of a recipe's outputs with ``*`` for every placeholder: such files are no code."""
    patterns = []
    for path in recipe.outputs.values():
        try:
            pieces = Template.parse([path]).pieces[0]
        except UsageError:
            continue
        filled = "".join("*" if isinstance(piece, Field) else piece for piece in pieces)
        patterns.append(str(folder / filled))
    return patterns
