"""A row: what a task and the attempt that stands for it look like to users, in JSON, tables, frames and reduces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Protocol, cast

import msgspec

from provrun.core.answers import ContextRecord, Shown
from provrun.core.canonical import Blob, decode, encode
from provrun.core.records import REUSED, Artifact, AttemptRecord, MapRecord
from provrun.core.states import Outcome, State

FIELDS = (
    "task", "map", "index", "params", "state", "stale", "attempt", "attempts", "outcome", "exit", "signal", "error",
    "result", "outputs", "started", "ended", "seconds", "cpu_seconds", "max_rss", "node", "job", "code", "environment",
    "defaults",
)
"""The keys of a row, in order."""

SHORT = 12  # hex digits by which a person knows a digest
_EPOCH = datetime(1970, 1, 1)
_STATES = {state: state.word for state in State}
_OUTCOMES = {outcome: outcome.word for outcome in Outcome}
_NO_ATTEMPT: dict[str, object] = dict.fromkeys(FIELDS[FIELDS.index("attempt") :])

Row = dict[str, object]
_AT_ONCE = 500


class Judge(Protocol):
    """Tells whether the result of a task is stale."""

    def is_stale(self, shown: Shown) -> bool: ...

    def prepare(self, tasks: Sequence[Shown]) -> None: ...


class Rows:
    """Makes the rows of one map.

    ``contexts`` gives the circumstances of attempts by id; ``judge`` is asked about tasks with an accepted result;
    ``read`` turns canonical JSON text into what shall stand in the row: `value` for Python, `raw` for JSON;
    ``whole`` gives the text of a result, also of one that is kept elsewhere because it is long.
    """

    def __init__(
        self, map: MapRecord, contexts: Mapping[int, ContextRecord], judge: Judge,
        read: Callable[[str], object] | None = None, whole: Callable[[Shown], str | None] | None = None,
    ) -> None:
        self._map = map
        self._contexts = contexts
        self._judge = judge
        self._read = read or value
        self._whole = whole or accepted_text
        self._runs_commands = map.recipe.kind != "function"
        self._shared: dict[int, Row] = {}

    def row(self, shown: Shown) -> Row:
        """Make the row of a task."""
        task, attempt = shown.task, shown.attempt
        row: Row = {
            "task": f"{self._map.name}/{task.index}",
            "map": self._map.name,
            "index": task.index,
            "params": self._read(task.params),
            "state": _STATES[task.state],
            "stale": False,
        }
        if attempt is None:
            return row | _NO_ATTEMPT | {"attempts": task.attempts, "outputs": {}}
        accepted = attempt.number == task.accepted
        if accepted:
            row["stale"] = self._judge.is_stale(shown)
        result = self._whole(shown) if accepted else None
        exit_code, signal = ended_by(attempt, self._runs_commands)
        return row | {
            "attempt": attempt.number if attempt.number != REUSED else None,
            "attempts": task.attempts,
            "outcome": _OUTCOMES[attempt.outcome],
            "exit": exit_code,
            "signal": signal,
            "error": attempt.error,
            "result": self._read(result) if result is not None else None,
            "outputs": outputs(shown.artifacts) if accepted and shown.artifacts else {},
        } | times(attempt) | self.shared(attempt.context)

    def rows(self, shown: Iterable[Shown]) -> Iterator[Row]:
        """Make the rows of tasks as they come."""
        tasks = iter(shown)
        while several := list(islice(tasks, _AT_ONCE)):
            self._judge.prepare(several)
            yield from map(self.row, several)

    def shared(self, id: int) -> Row:
        """Give what the rows of attempts under these circumstances have in common."""
        shared = self._shared.get(id)
        if shared is None:
            context = self._contexts[id]
            shared = self._shared[id] = {
                "node": context.node,
                "job": context.job,
                "code": short(context.code),
                "environment": short(context.environment),
                "defaults": self._read(encode(context.uses.defaults if context.uses is not None else {})),
            }
        return shared


def accepted_text(shown: Shown) -> str | None:
    """Give the canonical text of a task's result as it stands in the registry; None without an accepted attempt."""
    attempt = shown.attempt
    return attempt.result if attempt is not None and attempt.number == shown.task.accepted else None


def value(text: str) -> object:
    """Read canonical JSON text as Python values."""
    return decode(text) if '"$' in text else msgspec.json.decode(text)


def decode_json(text: str | None) -> object:
    """Read canonical JSON text as JSON that stands in a document as it is."""
    return msgspec.json.decode(text) if text is not None else None


def raw(text: str) -> object:
    """Keep canonical JSON text as it is, to be set into JSON by msgspec."""
    return msgspec.Raw(text.encode())


def line(row: Row) -> bytes:
    """Write a row whose values were read by `raw` as JSON, without a newline."""
    return msgspec.json.encode(row)


def ended_by(attempt: AttemptRecord, runs_commands: bool) -> tuple[int | None, int | None]:
    """Give the exit code and the signal an attempt ended with, as far as it had one."""
    if attempt.outcome is Outcome.SUCCEEDED:
        return (attempt.detail or 0, None) if runs_commands else (attempt.detail, None)
    if attempt.outcome in (Outcome.EXIT, Outcome.LAUNCHER):
        return attempt.detail, None
    return None, attempt.detail


def times(attempt: AttemptRecord) -> Row:
    """Give the measured part of a row: ISO 8601 times in UTC, seconds, bytes."""
    # A lost attempt left no word of when it started.
    started, wall, cpu = attempt.started or None, attempt.wall, attempt.cpu
    return {
        "started": moment(started),
        "ended": moment(started + wall) if started is not None and wall is not None else None,
        "seconds": wall / 1e6 if started is not None and wall is not None else None,
        "cpu_seconds": cpu / 1e6 if cpu is not None else None,
        "max_rss": attempt.max_rss * 1024 if attempt.max_rss is not None else None,
    }


def outputs(artifacts: Iterable[Artifact]) -> dict[str, object]:
    """Give the declared output files of an attempt by name; ``packed`` ones are kept in the job's pack."""
    return {
        made.name: {
            "path": made.path, "digest": made.digest.hex(), "size": made.size, "packed": made.place is not None
        }
        for made in artifacts
        if made.role == "output"
    }


def moment(at: int | None) -> str | None:
    """Write microseconds since the epoch as ISO 8601 in UTC."""
    if at is None:
        return None
    seconds, microseconds = divmod(at, 1_000_000)
    return f"{_second(seconds)}.{microseconds:06d}+00:00"


@lru_cache(maxsize=1000)  # of many short tasks several start in the same second
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()


def short(digest: str) -> str:
    """Shorten a digest in hex to what REFs take."""
    return digest[:SHORT]


def keys(result: object) -> dict[str, object] | None:
    """Give a result's keys if it is an object of values, else None."""
    if isinstance(result, dict) and not isinstance(result, Blob):
        return cast("dict[str, object]", result)
    return None


def counts(map: MapRecord) -> dict[str, int]:
    """Give the number of tasks in each state, by the state's word."""
    return {state.word: map.counts.get(state, 0) for state in State}
