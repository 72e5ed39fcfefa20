"""Everything known of one thing, as a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import msgspec

from provrun.core.answers import AcceptanceRecord, FoundArtifact, Shown
from provrun.core.canonical import Value
from provrun.core.records import DROPPED, REUSED, Artifact, AttemptRecord, JobRecord, MapRecord, Origin
from provrun.query.labels import attempt_ref, origin_ref
from provrun.query.resolving import (
    AttemptSubject,
    CodeSubject,
    ContentSubject,
    EnvironmentSubject,
    JobSubject,
    MapSubject,
    Subject,
    TaskSubject,
)
from provrun.query.rows import counts, decode_json, ended_by, moment, outputs, short, times
from provrun.query.status import state_of
from provrun.query.view import View

if TYPE_CHECKING:
    from provrun.query.facts import Wait

Document = dict[str, object]
MOST = 100  # things of one kind that are listed


def show(view: View, subject: Subject) -> Document:
    """Give what is known of a map, task, attempt, version of code, environment, job or file."""
    match subject:
        case MapSubject(map=map):
            return {"ref": subject.ref, "kind": "map", **_map(view, map)}
        case TaskSubject(map=map, shown=shown):
            return {"ref": subject.ref, "kind": "task", **_task(view, map, shown)}
        case AttemptSubject(map=map, shown=shown, number=number, attempt=attempt):
            known = _attempt(view, map, shown, attempt) if attempt is not None else {"attempt": number}
            return {"ref": subject.ref, "kind": "attempt", "task": f"{map.name}/{shown.task.index}", **known}
        case CodeSubject(digest=digest):
            return {"ref": subject.ref, "kind": "code", **code(view, digest)}
        case EnvironmentSubject(digest=digest):
            return {"ref": subject.ref, "kind": "environment", **environment(view, digest)}
        case JobSubject(job=job):
            return {"ref": subject.ref, "kind": "job", **job_document(view, job), "ran": _ran(view, "job", job.id)}
        case ContentSubject():
            return {"ref": subject.ref, "kind": "content", **_content(view, subject)}


def code(view: View, digest: str) -> Document:
    """Tell a version of code: commit, tree, patch, when it was captured, which maps ran with it."""
    captured = view.reads.code(digest)
    known = next((one for one in view.reads.codes() if one.digest == digest), None)
    return {
        "digest": digest,
        **msgspec.to_builtins(captured.code),
        "captured": moment(known.captured) if known is not None else None,
        "patch": captured.patch.decode(errors="replace") if captured.patch is not None else None,
        "ran": _ran(view, "code", digest),
    }


def environment(view: View, digest: str) -> Document:
    """Tell an environment: Python, packages, variables, when it was captured, which maps ran in it."""
    found = view.reads.environment(digest)
    known = next((one for one in view.reads.environments() if one.digest == digest), None)
    return {
        "digest": digest,
        "python": found.python,
        "implementation": found.implementation,
        "container": found.container,
        "variables": found.variables,
        "packages": [
            {"name": one.name, "version": one.version, "direct_url": one.direct_url} for one in found.packages
        ],
        "captured": moment(known.captured) if known is not None else None,
        "ran": _ran(view, "environment", digest),
    }


def job_document(view: View, job: JobRecord) -> Document:
    """Tell a job; ``over`` is true for one that is over without having said so.

    ``slots`` is None for one that has not begun and takes whole nodes. ``scheduler_state`` is what its scheduler says
    of it as long as it has not ended.
    """
    unfinished = job.state in ("queued", "running")
    stage = view.judge.stage(job) if unfinished else None
    submitted = job.owner.get("submitted")
    return {
        "id": job.id, "uuid": job.uuid, "job_kind": job.kind, "state": job.state, "user": job.user, "node": job.node,
        "slots": job.slots or None, "ranks": job.ranks,
        "submitted": moment(submitted) if isinstance(submitted, int) else None,
        "started": moment(job.started) if job.node else None, "ended": moment(job.ended),
        "reason": job.reason, "over": unfinished and view.over(job),
        "scheduler": job.owner.get("scheduler"), "scheduler_id": job.owner.get("id"),
        "scheduler_state": None if stage is None else str(stage),
    }


def _map(view: View, map: MapRecord) -> Document:
    code, environment = view.reads.digest_of("code", map.code), view.reads.digest_of("environment", map.environment)
    downstream = view.reads.downstreams(map.id)
    return {
        "name": map.name,
        "state": state_of(map),
        "ntasks": counts(map),
        "total": map.total,
        "recipe": msgspec.to_builtins(map.recipe),
        "recipe_digest": map.recipe_digest.hex(),
        "parameters": list(map.own),
        "policy": msgspec.to_builtins(map.policy),
        "priority": map.priority,
        "tags": map.tags,
        "folder": view.folder(map),
        "builds_on": [msgspec.to_builtins(each) for each in map.dependencies],
        "read_by": list(dict.fromkeys(view.map_by_id(record.map).name for record in downstream)),
        "user": map.user,
        "created": moment(map.created),
        "code": short(code),
        "environment": short(environment),
        "acceptances": [_acceptance(each) for each in view.acceptances if each.map == map.id][-MOST:],
        "submissions": [
            {
                "at": moment(each.at), "user": each.user, "first": each.first, "added": each.added,
                "code": short(each.code), "environment": short(each.environment),
                "by": view.attempt_name(each.by),
            }
            for each in view.reads.submissions(map.id)[-MOST:]
        ],
    }


def _task(view: View, map: MapRecord, shown: Shown) -> Document:
    task = shown.task
    row = view.rows(map, decode_json).row(shown)
    own = task.limits
    policy = map.policy
    held = view.staleness(map).acceptance(shown)
    made = view.reads.brought(map.id, task.index)
    return {
        **row,
        "priority": task.priority,
        "fails": task.fails,
        "limits": {
            "cores": policy.cores,
            "time": own.time if own is not None and own.time is not None else policy.task_time,
            "memory": own.memory if own is not None and own.memory is not None else policy.task_memory,
        },
        "acceptance": None if held is None else _acceptance(held),
        "origin": _origin(view, shown.attempt),
        "submitted_by": view.submitter(map, task.index),
        "submitted": _submitted(view, map, task.index),
        "command": command(view, map, shown),
        "folder": view.folder(map),
        "reads": [_wait(wait, shown) for wait in _waits(view, map, shown)],
        "history": [
            _brief(view, map, attempt, made, accepted=attempt.number == task.accepted)
            for attempt in view.reads.attempts(map.id, task.index)[-MOST:]
            if attempt.number != REUSED
        ],
        **_used(view, shown.attempt, shown.artifacts),
    }


def _origin(view: View, attempt: AttemptRecord | None) -> Document | None:
    """Tell which attempt made a reused result, and whether it is there still."""
    origin = view.origin(attempt) if attempt is not None else None
    if attempt is None or origin is None:
        return None
    return {
        "registry": origin.registry, "map": origin.map, "index": origin.task, "attempt": origin.attempt,
        "ref": origin_ref(origin), "present": view.maker(attempt, origin) is not None,
    }


def _acceptance(acceptance: AcceptanceRecord) -> Document:
    return {
        "at": moment(acceptance.at), "user": acceptance.user, "because": acceptance.reason,
        "code": short(acceptance.code), "tasks": acceptance.tasks, "whole": acceptance.whole,
        "changed": [{"what": path, "now": now} for _, path, now in acceptance.covers],
    }


def _attempt(view: View, map: MapRecord, shown: Shown, attempt: AttemptRecord) -> Document:
    artifacts = tuple(view.reads.artifacts(attempt.map, attempt.index, attempt.number))
    context = view.contexts[attempt.context]
    made = view.reads.brought(map.id, attempt.index)
    return {
        **_brief(view, map, attempt, made, accepted=attempt.number == shown.task.accepted),
        "params": decode_json(shown.task.params),
        "result": decode_json(attempt.result),
        "outputs": outputs(artifacts),
        "code": short(context.code),
        "code_after": short(context.code_after) if context.code_after is not None else None,
        "environment": short(context.environment),
        "defaults": msgspec.to_builtins(context.uses.defaults) if context.uses is not None else {},
        "cpu_is_shared": attempt.rss_shared,
        "submitted": _submitted(view, map, attempt.index, attempt.number),
        **_used(view, attempt, artifacts),
    }


def _submitted(view: View, map: MapRecord, index: int, number: int | None = None) -> list[Document]:
    """Tell what a task, or one of its attempts, has submitted: how many tasks of which map, from which index on."""
    return [
        {
            "map": view.map_by_id(other).name, "first": each.first, "added": each.added, "at": moment(each.at),
            "attempt": each.by[2] if each.by is not None else None,
        }
        for other, each in view.reads.submitted_by(map.id, index, number)[-MOST:]
    ]


def _brief(
    view: View, map: MapRecord, attempt: AttemptRecord, made: Mapping[int, Origin], *, accepted: bool
) -> Document:
    """Tell how an attempt went; ``made`` says of those that another registry made what they are called there."""
    origin = made.get(attempt.number)
    exit_code, signal = ended_by(attempt, map.recipe.kind != "function")
    context = view.contexts[attempt.context]
    return {
        "attempt": attempt.number, "accepted": accepted, "outcome": attempt.outcome.word, "exit": exit_code,
        "signal": signal, "error": attempt.error, **times(attempt), "node": context.node, "job": context.job,
        "log": attempt.log not in (None, DROPPED),
        "made_as": None if origin is None else {
            "registry": origin.registry, "map": origin.map, "index": origin.task, "attempt": origin.attempt,
        },
    }


def _used(view: View, attempt: AttemptRecord | None, artifacts: tuple[Artifact, ...]) -> Document:
    """Tell what an attempt used: code files, program, host, inputs, results of other maps."""
    if attempt is None:
        return {"uses": None, "host": None, "inputs": [], "trail": []}
    context = view.contexts[attempt.context]
    inputs = [{"path": path, "digest": digest, "size": size} for path, digest, size in context.inputs]
    inputs += [
        {"path": read.path, "digest": read.digest.hex(), "size": read.size}
        for read in artifacts if read.role == "input"
    ]
    uses = context.uses
    return {
        "uses": {"files": uses.files, "tools": msgspec.to_builtins(uses.tools)} if uses is not None else None,
        "host": msgspec.to_builtins(view.reads.host(context.host)),
        "inputs": inputs,
        "trail": [_step(view, entry) for entry in (msgspec.json.decode(attempt.trail) if attempt.trail else ())],
    }


def _step(view: View, entry: list[int | str]) -> Document:
    name = view.map_by_id(int(entry[0])).name
    if isinstance(entry[2], str):
        return {"map": name, "count": entry[1], "digest": entry[2]}
    return {"map": name, "attempt": attempt_ref(name, int(entry[1]), entry[2])}


def _waits(view: View, map: MapRecord, shown: Shown) -> list[Wait]:
    from provrun.query.facts import Facts, Wait

    facts = Facts(view, map, shown)
    return [Wait(view, facts, record) for record in view.reads.upstreams(map.id)]


def _wait(wait: Wait, shown: Shown) -> Document:
    return {
        "map": wait.map.name, "kind": wait.dependency.kind, "by": list(wait.dependency.by),
        "tasks": wait.of, "missing": wait.missing, "skipped": wait.skipped(shown.attempt),
    }


def command(view: View, map: MapRecord, shown: Shown) -> list[str] | None:
    """Give a task's command with its parameters filled in; what only a run knows stays a placeholder."""
    from provrun.core.template import Field, Template, filled

    recipe = map.recipe
    params = cast("Mapping[str, Value]", decode_json(shown.task.params))
    if recipe.kind == "line":
        return [str(params["line"])]
    if recipe.kind == "function":
        return None
    known: dict[str, Value] = {
        "index": shown.task.index, "task": f"{map.name}/{shown.task.index}", "cores": map.policy.cores, **params
    }
    template = Template.parse(recipe.words, recipe.kind == "shell")
    return [
        "".join(
            [
                piece if isinstance(piece, str)
                else filled(piece, known[piece.name]) if isinstance(piece, Field) and piece.name in known
                else str(piece)
                for piece in word
            ]
        )
        for word in template.pieces
    ]


def _content(view: View, subject: ContentSubject) -> Document:
    made = [each for each in subject.artifacts if each.artifact.role != "input"]
    read = [each for each in subject.artifacts if each.artifact.role == "input"]
    return {
        "digest": subject.digest,
        "path": subject.path,
        "size": subject.artifacts[0].artifact.size if subject.artifacts else None,
        "made_by": [_found(view, each) for each in made[:MOST]],
        "read_by": [_found(view, each) for each in read[:MOST]],
        "result_of": [
            attempt_ref(view.map_by_id(map).name, index, number) for map, index, number in subject.results[:MOST]
        ],
        "used_in": [
            {"job": context.job, "node": context.node, "code": short(context.code)}
            for context in (view.contexts[id] for id in subject.contexts[:MOST])
        ],
    }


def _found(view: View, found: FoundArtifact) -> Document:
    name = view.map_by_id(found.map).name
    return {
        "attempt": attempt_ref(name, found.index, found.number), "role": found.artifact.role,
        "name": found.artifact.name, "path": found.artifact.path,
        "packed": found.artifact.place not in (None, DROPPED),
    }


def _ran(view: View, field: str, wanted: object) -> list[Document]:
    """Count the attempts of each map whose circumstances hold a value."""
    sums: Counter[int] = Counter()
    accepted: Counter[int] = Counter()
    tallies = view.reads.tallies()
    view.contexts.load({tally.context for tally in tallies})
    for tally in tallies:
        if getattr(view.contexts[tally.context], field) == wanted:
            sums[tally.map] += tally.attempts
            accepted[tally.map] += tally.accepted
    return [
        {"map": view.map_by_id(id).name, "attempts": n, "results": accepted[id]} for id, n in sorted(sums.items())
    ]
