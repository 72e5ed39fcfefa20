"""Checkouts of submitted trees, from which the tasks of maps with ``--code pin`` run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from provrun.core.code import CapturedCode, checkout_of
from provrun.core.records import MapRecord, MapSpec, Recipe
from provrun.core.states import State
from provrun.errors import Refused, StorageFailed
from provrun.project.project import Project

_INTERPRETERS = re.compile(r"(python|pypy|sh|bash|dash|zsh|ksh|perl|ruby|julia|Rscript|node|lua)[\d.]*")
_INLINE = frozenset(("-m", "-c", "-e", "--eval"))


def require_words(recipe: Recipe) -> None:
    """Raise `Refused` for a command that finds its code in other ways than by words that name files."""
    inline = recipe.kind == "command" and any(
        _INTERPRETERS.fullmatch(word.rpartition("/")[2]) and _INLINE & set(recipe.words) for word in recipe.words
    )
    if recipe.kind in ("shell", "line") or inline:
        raise Refused(
            "--code pin runs files of the submitted tree that words of a command name, and here they may be named"
            " inside a text or found by the folder",
            value=list(recipe.words), next="put it into a script and submit that: -- bash script.sh {x}",
        )


def pin(project: Project, map: MapSpec | MapRecord, captured: CapturedCode) -> None:
    """Make the checkout of a version of a map's code, unless it is there as it was made; `Refused` if it cannot be."""
    # Late: few maps are pinned, and every run asks.
    import shutil
    import tempfile

    from provrun.record.rebuilding import CannotRebuild, check_out, tree_of

    require_words(map.recipe)
    folder = project.root / map.workdir
    if captured.code.kind != "git":
        raise CannotRebuild(
            f"--code pin: {folder} lies in no git repository", value=str(folder),
            next="git init, or submit with --code record",
        )
    target = project.root / checkout_of(captured.code)
    if target.is_dir():
        if tree_of(target) == captured.code.tree:
            return
        raise Refused(
            f"somebody has changed the checkout {target}", value=str(target),
            next="remove it: the next run makes it again",
        )
    try:
        target.parent.mkdir(exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".", dir=target.parent))
        try:
            check_out(folder, captured, made / "tree")
            for file in made.rglob("*"):
                if file.is_file() and not file.is_symlink():
                    file.chmod(file.stat().st_mode & ~0o222)
            if not target.exists():
                (made / "tree").rename(target)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        if not target.is_dir():  # else somebody else has made it at this moment
            raise StorageFailed(f"cannot make {target}: {error.strerror}", value=str(target)) from error


def pin_again(project: Project, maps: Iterable[MapRecord]) -> None:
    """Make the checkouts that are missing of those of these maps that have tasks to run; `Refused` names the map."""
    for map in maps:
        if map.policy.code != "pin" or map.paused or not (map.counts[State.PENDING] or map.counts[State.WAITING]):
            continue
        try:
            pin(project, map, project.registry.submitted_code(map.id)[1])
        except Refused as error:
            way = "; ".join(filter(None, (error.next, f"provrun pause {map.name} lets others run")))
            raise Refused(f"{map.name}: {error.message}", value=error.value, next=way) from error
