"""Submit: check what was asked for, capture code and software, store the tasks that are new."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from provrun.core.canonical import Value, decode
from provrun.core.problems import Problems
from provrun.core.records import Added
from provrun.core.space import Space
from provrun.errors import Refused
from provrun.project.logs import requested
from provrun.project.pinning import pin
from provrun.project.project import Project
from provrun.project.submitter import patiently, submitter
from provrun.submit.maps import Built, build
from provrun.submit.policies import describe_changes, unheeded
from provrun.submit.preview import Preview, preview
from provrun.submit.request import Request
from provrun.submit.used import missing_program, missing_uses

if TYPE_CHECKING:
    from provrun.core.code import Code


@dataclass(frozen=True)
class Submitted:
    """What a submission did.

    ``changes`` says in words which policy of an existing map it changed, ``notes`` what the user should know.
    """

    name: str
    added: Added
    preview: Preview
    code: Code
    environment: str
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def next(self) -> str:
        """The command to go on with."""
        return f"provrun run {self.name}" if self.added.total else f"provrun tasks {self.name}"

    def document(self) -> dict[str, object]:
        """Give the JSON document that `submit` answers with."""
        added, code = self.added, self.code
        return {
            "map": self.name,
            "added": added.added,
            "existing": added.existing,
            "reused": added.reused,
            "stale": added.stale,
            "total": added.total,
            "code": {
                "commit": code.commit, "dirty": code.dirty, "tree": code.tree, "files": code.files_digest,
                "digest": code.digest,
            },
            "environment": self.environment,
            "grown": added.grown,
            "policy": list(self.changes),
            "next": self.next,
        }


def plan(
    project: Project | None, request: Request, space: Space | None, problems: Problems | None = None
) -> tuple[Built, Space, Preview]:
    """Check a request and say what it would do, storing nothing; without a project there are no maps to build on.

    ``space`` may be None when what is wrong with the parameters stands in ``problems``. Raises as `build` does.
    """
    problems = problems or Problems(f"map {request.name}")
    built = build(request, space, project.registry if project is not None else None, problems)
    assert space is not None  # else there were problems
    return built, space, preview(built, space, _first_upstream(project, built))


def submit(project: Project, request: Request, space: Space | None, problems: Problems | None = None) -> Submitted:
    """Store the tasks of a request that the map lacks, with the code and software that lie here now.

    Raises `InvalidInput` with all problems, `Refused` when another map has the name or ``--code clean`` meets a dirty
    tree; nothing is stored then.
    """
    return patiently(project, lambda: _submit(project, request, space, problems))


def _submit(project: Project, request: Request, space: Space | None, problems: Problems | None) -> Submitted:
    from provrun.project.capturing import capture

    built, space, shown = plan(project, request, space, problems)
    spec, registry = built.spec, project.registry
    at = time.time_ns() // 1000
    captured = capture(project, spec, at)
    if spec.policy.code == "clean" and (captured.code.dirty or captured.code.kind != "git"):
        what = "is no git repository" if captured.code.kind != "git" else "has changes that are not committed"
        raise Refused(
            f"--code clean: {captured.code.root} {what}", value=captured.code.root,
            next="commit first, or submit with --code record",
        )
    if spec.policy.code == "pin":
        pin(project, spec, captured.whole)
    added = registry.submit(
        spec, space.texts(), distinct=space.distinct, code=captured.code_id, environment=captured.environment_id, at=at,
        by=submitter(project),
    )
    changes = _change_policy(project, built)
    notes: list[str] = []
    if spec.policy.reuse:
        added = msgspec.structs.replace(added, reused=_reuse(project, spec.name, notes))
    if built.existing is not None:
        added = msgspec.structs.replace(added, stale=_stale(project, spec.name))
    missing = missing_program(spec.recipe, request.folder)
    notes += [*unheeded(spec.policy, spec.recipe.kind), *missing_uses(spec.policy, request.folder)]
    notes += [missing] if missing is not None else []
    notes += requested(project)
    return Submitted(
        spec.name, added, shown, captured.code, captured.environment.digest, tuple(changes), tuple(notes)
    )


def _reuse(project: Project, name: str, notes: list[str]) -> int:
    """Take over what other maps have of the tasks of a map; give how many results that are."""
    from provrun.project.reusing import reuse, tells

    map = project.map(name)
    told = tells(map.recipe)
    if told is not None:
        notes.append(f"nothing is reused for {name}: {told} tells its tasks which ones they are")
    return sum(reuse(project, [map]).values())


def _stale(project: Project, name: str) -> int:
    """Count results that the code and software that were just captured make doubtful."""
    from provrun.project.asking import status

    (found,) = status(project, [name])
    stale = found["stale"]
    assert isinstance(stale, int)
    return stale


def _change_policy(project: Project, built: Built) -> list[str]:
    """Give an existing map the policy that was asked for now, and say what changed."""
    spec, existing, registry = built.spec, built.existing, project.registry
    if existing is None:
        return []
    changes = describe_changes(existing.policy, spec.policy)
    if changes:
        registry.set_policy(existing.id, spec.policy)
    if spec.priority != existing.priority:
        registry.set_priority(existing.id, None, spec.priority)
        changes.append(f"priority: {existing.priority} -> {spec.priority}")
    if spec.tags != existing.tags:
        registry.set_tags(existing.id, spec.tags)
        changes += [f"tag {key}: {value}" for key, value in spec.tags.items() if existing.tags.get(key) != value]
    return changes


def _first_upstream(project: Project | None, built: Built) -> dict[str, Value]:
    """Give the parameters that the first task inherits, as far as there is an upstream task already."""
    upstream = next(iter((built.flow.each or built.flow.reduces).values()), None)
    task = project.registry.task(upstream.id, 0) if project is not None and upstream is not None else None
    params = decode(task.params) if task is not None else {}
    assert isinstance(params, dict)
    return {name: value for name, value in params.items() if name in built.flow.inherited}
