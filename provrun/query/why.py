"""Why something is as it is: a table of situations, of which the first that holds gives the answer."""

from __future__ import annotations

import msgspec

from provrun.core.states import Outcome
from provrun.errors import UsageError
from provrun.query.facts import Facts
from provrun.query.resolving import AttemptSubject, ContentSubject, JobSubject, MapSubject, Subject, TaskSubject
from provrun.query.rows import short
from provrun.query.situations import Answer, Situation, first
from provrun.query.view import View
from provrun.query.why_attempt import ATTEMPTS, AttemptFacts
from provrun.query.why_ended import (
    Accepted,
    Cancelled,
    ChangedMeanwhile,
    FailedException,
    FailedExit,
    FailedLauncher,
    FailedMemory,
    FailedOtherwise,
    FailedSignal,
    FailedTimeout,
    NoResult,
    Reused,
    StaleCode,
    StaleEnvironment,
    StaleInput,
    Succeeded,
)
from provrun.query.why_job import why_job
from provrun.query.why_map import MAPS, MapFacts
from provrun.query.why_waiting import (
    Behind,
    Next,
    NoJob,
    Orphaned,
    Paused,
    Queued,
    Running,
    TooWide,
    Waits,
    WaitsForFailed,
)

TASKS: tuple[Situation[Facts], ...] = (
    WaitsForFailed(), Waits(), Paused(), Queued(), NoJob(), TooWide(), Behind(), Next(), Orphaned(), Running(),
    FailedExit(), FailedSignal(), FailedException(), FailedTimeout(), FailedMemory(), FailedLauncher(),
    FailedOtherwise(), Cancelled(), StaleCode(), StaleInput(), StaleEnvironment(), Accepted(), Reused(),
    NoResult(), ChangedMeanwhile(), Succeeded(),
)


def why(view: View, subject: Subject) -> Answer:
    """Explain a task, attempt, map, job, or a file by the task that made it; every answer names the next command."""
    match subject:
        case MapSubject(map=map):
            return first(MAPS, MapFacts(view, map))
        case TaskSubject(map=map, shown=shown):
            return _why_task(Facts(view, map, shown))
        case AttemptSubject(map=map, shown=shown, attempt=attempt):
            task = shown.task
            stands = attempt is None or (
                shown.attempt is not None and shown.attempt.number == attempt.number
                and (attempt.number == task.accepted or attempt.outcome is not Outcome.SUCCEEDED)
            )
            if stands or attempt is None:
                return _why_task(Facts(view, map, shown))
            return first(ATTEMPTS, AttemptFacts(view, map, shown, attempt))
        case JobSubject(job=job):
            return why_job(view, job)
        case ContentSubject():
            return _why_content(view, subject)
        case _:
            raise UsageError(
                f"{subject.ref} is there, and there is nothing to explain", value=subject.ref,
                next=f"provrun show {subject.ref}",
            )


def _why_content(view: View, subject: ContentSubject) -> Answer:
    makers = [(found.map, found.index) for found in subject.artifacts if found.artifact.role != "input"]
    makers += [(map, index) for map, index, _ in subject.results]
    if not makers:
        readers = len(subject.artifacts) + len(subject.contexts)
        return Answer(
            subject.ref, "input", f"no attempt made it; it was read as input or code ({readers} records)", (),
            f"provrun trace {subject.ref} --down",
        )
    map = view.map_by_id(makers[0][0])
    shown = view.reads.shown(map.id, makers[0][1])
    assert shown is not None
    return _why_task(Facts(view, map, shown))


def _why_task(facts: Facts) -> Answer:
    answer = first(TASKS, facts)
    said = [f"it was submitted by {facts.submitter}"] if facts.submitter is not None else []
    if facts.drift is not None:
        submitted, ran = map(short, facts.drift)
        said.append(
            f"it ran code:{ran}, and was submitted with code:{submitted}: provrun diff code:{submitted} code:{ran}"
        )
    return msgspec.structs.replace(answer, details=(*answer.details, *said)) if said else answer
