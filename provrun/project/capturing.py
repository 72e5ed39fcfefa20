"""What lies here now: the version of the code and the software, captured and kept once each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from provrun.project.project import Project
from provrun.submit.used import named_files, output_patterns

if TYPE_CHECKING:
    from provrun.core.code import Code
    from provrun.core.environment import Environment
    from provrun.core.records import MapRecord, MapSpec


class Captured(NamedTuple):
    """Code and environment, and the ids under which the registry keeps them."""

    code: Code
    code_id: int
    environment: Environment
    environment_id: int


def capture(project: Project, spec: MapSpec | MapRecord, at: int) -> Captured:
    """Capture the code that a map runs, as it lies on disk, and the software; keep each once."""
    from provrun.record import git
    from provrun.record.environment import capture_environment
    from provrun.record.files import StatCache

    folder = project.root / spec.workdir
    maps = [*project.registry.maps(), spec]
    with StatCache(project.dir / "tmp" / "digests") as known:
        captured = git.capture(
            folder, exclude=written(project, maps), files=named_files(spec.recipe, spec.policy, folder), known=known
        )
    environment = capture_environment()
    return Captured(
        captured.code, project.registry.intern_code(captured, at), environment,
        project.registry.intern_environment(environment, at),
    )


def written(project: Project, maps: Iterable[MapSpec | MapRecord]) -> list[str]:
    """Give the patterns of all files that tasks of these maps write: no code, whatever their names."""
    return sorted(
        {pattern for each in maps for pattern in output_patterns(each.recipe, Path(project.root / each.workdir))}
    )
