"""The record of one task as it is committed to: canonical text, its sums, and the group it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, cast

from provrun.core.canonical import NotAValue, decode_canonical, digest, encode
from provrun.core.cohorts import CohortKey, GroupKey
from provrun.core.merkle import BadSums, Sums
from provrun.core.records import Origin
from provrun.core.states import Outcome, State

VERSION = 1
MOST_LISTED = 16
MICROS = 1_000_000
_QUOTED = '"%s"'
_WORDS = tuple(outcome.word for outcome in Outcome)
_ATTEMPT = (
    "attempt", "code", "cpu_us", "detail", "ended", "environment", "inputs", "max_rss", "origin", "outcome", "outputs",
    "reads", "result", "started", "wall_us",
)
_FIELDS = frozenset((
    "v", "map", "index", "params", "defaults", "state", "level", "attempts", "history", "salt", *_ATTEMPT,
))
_NO_ATTEMPT = (
    '"attempt":null,"attempts":0,"code":null,"cpu_us":null,"defaults":null,"detail":null,"ended":null,'
    '"environment":null,"history":[]'
)
_NO_ORIGIN = '"max_rss":null,"origin":null,"outcome":null,"outputs":null'


def text(value: object) -> str:
    """Give the canonical text of a value."""
    return encode(value)


class BadRecord(ValueError):
    """A line that is no record of a task."""


class Read(NamedTuple):
    """What flowed in from one map: by its digest, listed (index, attempt, result) only where they are few."""

    map: str
    tasks: int
    digest: str
    listed: Sequence[tuple[int, int | None, str | None]] | None


class Ran(NamedTuple):
    """One ended attempt with all that its record says; ``code`` to ``shared`` are canonical texts."""

    number: int
    code: str
    environment: str
    shared: str
    outcome: Outcome
    detail: int | None
    started: int | None
    wall: int | None
    cpu: int | None
    max_rss: int | None
    result: str | None
    own: Sequence[str] = ()
    outputs: Mapping[str, tuple[str, int]] = {}
    reads: Sequence[Read] = ()
    origin: Origin | None = None


def read_of(map: str, listed: Sequence[tuple[int, int | None, str | None]]) -> Read:
    """Make the record of upstream attempts (index, attempt, result digest) that were read; None: a reused result."""
    in_order = sorted(listed)
    whole = digest("reads", [list(one) for one in in_order]).hex()
    return Read(map, len(in_order), whole, in_order if len(in_order) <= MOST_LISTED else None)


def salt(secret: bytes, map: str, index: int) -> str:
    """Give what keeps parameters of a task from being guessed."""
    import hmac

    return hmac.digest(secret, f"{map}\0{index}".encode(), "sha256").hex()


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def instant(micros: int) -> str:
    """Write an instant to the microsecond."""
    seconds, rest = divmod(micros, MICROS)
    return f"{_second(seconds)}.{rest:06}+00:00"


def _span(started: int, wall: int) -> tuple[str, str]:
    """Write when something began and ended, quoted; mostly that is the same second."""
    seconds, rest = divmod(started, MICROS)
    second, end = _second(seconds), rest + wall
    began = f'"{second}.{rest:06}+00:00"'
    return began, f'"{second}.{end:06}+00:00"' if end < MICROS else f'"{instant(started + wall)}"'


def micros_of(instant: str) -> int:
    """Read an instant that `instant` wrote."""
    from datetime import UTC, datetime, timedelta

    since = datetime.fromisoformat(instant) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1)


def write(
    map: str, index: int, params: str, state: str, level: int, shown: Ran | None, others: Sequence[Ran],
    defaults: str, salt: str,
) -> str:
    """Write the record of a task as canonical text, its keys in the order of their code points.

    ``map``, ``params``, ``defaults`` and ``salt`` are canonical texts.
    """
    if shown is None:
        return (
            f'{{{_NO_ATTEMPT},"index":{index},"inputs":null,"level":{level},"map":{map},{_NO_ORIGIN},"params":{params},'
            f'"reads":null,"result":null,"salt":{salt},"started":null,"state":"{state}","v":1,"wall_us":null}}'
        )
    if shown.origin is not None:
        return _reused(
            shown, shown.origin, map=map, index=index, params=params, level=level, defaults=defaults, salt=salt
        )
    if not (others or shown.own or shown.outputs or shown.reads):
        # Nearly all tasks are so, and ten million are written: one text at once.
        outcome, detail, started, wall, cpu, rss, result = shown[4:11]
        began, ended = ("null", "null") if started is None else _span(started, wall or 0)
        return (
            f'{{"attempt":{shown[0]},"attempts":1,"code":{shown[1]},"cpu_us":{"null" if cpu is None else cpu},'
            f'"defaults":{defaults},"detail":{"null" if detail is None else detail},"ended":{ended},'
            f'"environment":{shown[2]},"history":[],"index":{index},"inputs":{{"own":[],"shared":{shown[3]}}},"level":{level},"map":{map},'
            f'"max_rss":{"null" if rss is None else rss},"origin":null,"outcome":"{_WORDS[outcome]}","outputs":{{}},'
            f'"params":{params},"reads":[],"result":{"null" if result is None else _QUOTED % result},"salt":{salt},'
            f'"started":{began},"state":"{state}","v":1,"wall_us":{"null" if wall is None else wall}}}'
        )
    history = ",".join([_other(one) for one in others]) if others else ""
    head, middle, tail = _parts(shown)
    return (
        f'{{"attempt":{shown.number},"attempts":{1 + len(others)},{head},"defaults":{defaults},{middle},'
        f'"history":[{history}],"index":{index},{_inputs(shown)},"level":{level},"map":{map},{_outcome(shown)},'
        f'"params":{params},{tail},"salt":{salt},{_started(shown)},"state":"{state}","v":1,{_wall(shown)}}}'
    )


def _reused(
    made: Ran, origin: Origin, *, map: str, index: int, params: str, level: int, defaults: str, salt: str
) -> str:
    """Write the record of a task whose result an attempt of another map made: times and use are that one's."""
    *_, reads = _parts(made)
    by = encode({
        "attempt": origin.attempt, "index": origin.task, "map": origin.map, "registry": origin.registry,
    })
    return (
        f'{{"attempt":null,"attempts":0,"code":{made.code},"cpu_us":null,"defaults":{defaults},"detail":null,'
        f'"ended":null,"environment":{made.environment},"history":[],"index":{index},{_inputs(made)},"level":{level},'
        f'"map":{map},"max_rss":null,"origin":{by},"outcome":"{made.outcome.word}","outputs":{_outputs(made)},'
        f'"params":{params},{reads},"salt":{salt},"started":null,"state":"succeeded","v":1,"wall_us":null}}'
    )


def _other(one: Ran) -> str:
    head, middle, tail = _parts(one)
    return (
        f'{{"attempt":{one.number},{head},{middle},{_inputs(one)},{_outcome(one)},{tail},{_started(one)},{_wall(one)}}}'
    )


def _parts(one: Ran) -> tuple[str, str, str]:
    ended = "null" if one.started is None else f'"{instant(one.started + (one.wall or 0))}"'
    reads = encode([
        {"digest": r.digest, "list": None if r.listed is None else [list(each) for each in r.listed], "map": r.map,
         "tasks": r.tasks}
        for r in one.reads
    ]) if one.reads else "[]"
    return (
        f'"code":{one.code},"cpu_us":{_number(one.cpu)}',
        f'"detail":{_number(one.detail)},"ended":{ended},"environment":{one.environment}',
        f'"reads":{reads},"result":' + ("null" if one.result is None else f'"{one.result}"'),
    )


def _inputs(one: Ran) -> str:
    own = ",".join([f'"{sha}"' for sha in one.own]) if one.own else ""
    return f'"inputs":{{"own":[{own}],"shared":{one.shared}}}'


def _outcome(one: Ran) -> str:
    return f'"max_rss":{_number(one.max_rss)},"origin":null,"outcome":"{one.outcome.word}","outputs":{_outputs(one)}'


def _outputs(one: Ran) -> str:
    return encode({
        name: {"digest": sha, "size": size} for name, (sha, size) in one.outputs.items()
    }) if one.outputs else "{}"


def _started(one: Ran) -> str:
    return '"started":null' if one.started is None else f'"started":"{instant(one.started)}"'


def _wall(one: Ran) -> str:
    return f'"wall_us":{_number(one.wall)}'


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


class Record:
    """A record that was read: its text, and its fields as they stand in JSON."""

    def __init__(self, line: bytes) -> None:
        """Read a line without its end; `BadRecord` if it is not canonical or no record."""
        self.line = line
        try:
            value = decode_canonical(line)
        except NotAValue as error:
            raise BadRecord(error.message) from None
        if not isinstance(value, dict) or value.get("v") != VERSION or type(value["v"]) is not int:
            raise BadRecord(f"it is no record of version {VERSION}")
        if value.keys() != _FIELDS:
            raise BadRecord(f"fields are missing or unknown: {sorted(value.keys() ^ _FIELDS)}")
        self.fields = cast("dict[str, object]", value)
        self._require()

    def _require(self) -> None:
        fields = self.fields
        index, attempts, history, attempt = (fields[n] for n in ("index", "attempts", "history", "attempt"))
        if type(index) is not int or index < 0 or type(fields["map"]) is not str:
            raise BadRecord("it names no task")
        if fields["state"] not in {state.word for state in State}:
            raise BadRecord(f"there is no state {fields['state']!r}")
        if not isinstance(history, list) or attempts != len(history) + (attempt is not None):
            raise BadRecord(f"it counts {attempts} attempts and has {len(cast('list[object]', history or []))} others")
        for one in cast("list[dict[str, object]]", history):
            if not isinstance(one, dict) or one.keys() != set(_ATTEMPT):
                raise BadRecord("an attempt of its history lacks fields or has unknown ones")
        for one in self.attempts:
            if one["outcome"] not in {outcome.word for outcome in Outcome}:
                raise BadRecord(f"there is no outcome {one['outcome']!r}")
            started, ended, wall = one["started"], one["ended"], one["wall_us"]
            try:
                fits = started is None or ended == instant(
                    micros_of(cast("str", started)) + cast("int", wall or 0)
                )
            except (TypeError, ValueError):
                fits = False
            if not fits:
                raise BadRecord(f"it ends at {ended}, {wall} microseconds after {started}")

    @property
    def map(self) -> str:
        """The name of the task's map."""
        return cast("str", self.fields["map"])

    @property
    def index(self) -> int:
        """The index of the task."""
        return cast("int", self.fields["index"])

    @property
    def attempts(self) -> list[dict[str, object]]:
        """The shown attempt, where there is one, and all others."""
        others = cast("list[dict[str, object]]", self.fields["history"])
        return others if self.fields["outcome"] is None else [self.fields, *others]

    @property
    def cohort(self) -> CohortKey:
        """The key of the cohort of the shown attempt."""
        return cohort_of_fields(self.fields, cast("int", self.fields["level"]))

    @property
    def group(self) -> GroupKey:
        """The key of the group to which the record belongs where nothing is pooled."""
        fields = self.fields
        if fields["outcome"] is None:
            return GroupKey("unattempted")
        key = self.cohort.group
        origin = fields["origin"]
        if origin is None:
            return key
        made = cast("dict[str, str]", origin)
        return key._replace(kind="reused", level=None, origin=(made["registry"], made["map"]))

    def sums(self) -> Sums:
        """Compute the sums of the leaf; `BadSums` where the wall time is none."""
        return sums_of(self.fields)


def cohort_of_fields(fields: Mapping[str, object], level: int) -> CohortKey:
    """Give the key of an attempt's cohort from what a record says of it."""
    shared = cast("dict[str, list[str]]", fields["inputs"])["shared"]
    return CohortKey(
        cast("str", fields["code"]), cast("str", fields["environment"]), tuple(shared), level,
        Outcome[cast("str", fields["outcome"]).upper()],
    )


def sums_of(fields: Mapping[str, object]) -> Sums:
    """Compute the sums of one leaf from its record, never from elsewhere."""
    wall = fields["wall_us"] or 0
    if type(wall) is not int:
        raise BadSums(f"wall_us is {wall!r}")
    return counted(cast("str", fields["state"]), fields["origin"] is not None, wall)


def counted(state: str, reused: bool, wall: int) -> Sums:
    """Count one task: exactly one of the four is 1."""
    if state == State.SUCCEEDED.word:
        return Sums(1, int(not reused), int(reused), 0, 0, wall)
    failed = state == State.FAILED.word
    return Sums(1, 0, 0, int(failed), int(not failed), wall)
