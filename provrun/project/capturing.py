"""What lies here now: the version of the code and the software, captured and kept once each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from provrun.project.project import Project
from provrun.submit.used import named_files, output_patterns

if TYPE_CHECKING:
    from provrun.core.code import CapturedCode, Code
    from provrun.core.environment import Environment
    from provrun.core.records import MapRecord, MapSpec


class Captured(NamedTuple):
    """Code and environment, and the ids under which the registry keeps them."""

    code: Code
    code_id: int
    environment: Environment
    environment_id: int
    whole: CapturedCode


def capture(project: Project, spec: MapSpec, at: int) -> Captured:
    """Capture the code that a map runs, as it lies on disk, and the software; keep each once."""
    from provrun.record.environment import capture_environment

    registry = project.registry
    captured = capture_code(project, spec, [*registry.maps(), spec])
    environment = capture_environment()
    return Captured(
        captured.code, registry.intern_code(captured, at), environment, registry.intern_environment(environment, at),
        captured,
    )


def capture_code(
    project: Project, map: MapSpec | MapRecord, everything: Iterable[MapSpec | MapRecord]
) -> CapturedCode:
    """Return the version of a map's code as it lies on disk now; outputs of ``everything`` are no code."""
    from provrun.record import git
    from provrun.record.files import StatCache

    folder = project.root / map.workdir
    with StatCache(project.dir / "tmp" / "digests") as known:
        return git.capture(
            folder, exclude=written(project, everything), files=named_files(map.recipe, map.policy, folder),
            known=known,
        )


def written(project: Project, maps: Iterable[MapSpec | MapRecord]) -> list[str]:
    """Give the patterns of all files that tasks of these maps write: no code, whatever their names."""
    return sorted({pattern for map in maps for pattern in output_patterns(map.recipe, project.root / map.workdir)})
