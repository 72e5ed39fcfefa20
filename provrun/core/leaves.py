"""The record of one task as it is committed to: canonical text, its sums, and the group it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, cast

from provrun.core.canonical import NotAValue, decode, decode_canonical, digest, encode
from provrun.core.cohorts import UNATTEMPTED, CohortKey, GroupKey
from provrun.core.merkle import BadSums, Sums
from provrun.core.states import Outcome, State

if TYPE_CHECKING:
    from provrun.core.history import History, Reused, Tried

VERSION = 1
MOST_LISTED = 16
MICROS = 1_000_000
_STATES = tuple(state.word for state in State)
_SUCCEEDED, _FAILED = State.SUCCEEDED.word, State.FAILED.word
_BY_WORD = {outcome.word: outcome for outcome in Outcome}
_OUTCOMES = tuple(_BY_WORD)
_OF_ATTEMPT = frozenset((
    "attempt", "code", "cpu_us", "detail", "ended", "environment", "inputs", "max_rss", "origin", "outcome", "outputs",
    "reads", "result", "started", "wall_us",
))
_FIELDS = _OF_ATTEMPT.union((
    "v", "map", "index", "params", "defaults", "state", "level", "attempts", "history", "salt",
))


class BadRecord(ValueError):
    """A line that is no record of a task."""


class Read(NamedTuple):
    """What flowed in from one map: by its digest, listed (index, attempt, result) only where they are few."""

    map: str
    tasks: int
    digest: str
    listed: Sequence[tuple[int, int | None, str | None]] | None


class Around(NamedTuple):
    """What the attempts of one context share, as canonical texts."""

    code: str
    environment: str
    shared: str
    defaults: str


class Flow(NamedTuple):
    """What flowed into an attempt and out of it, as canonical texts: the contents of its own inputs are a list."""

    own: str = "[]"
    outputs: str = "{}"
    reads: str = "[]"


_NO_FLOW = Flow()


def flow_of(own: Mapping[str, str], outputs: Mapping[str, tuple[str, int]], reads: Sequence[Read]) -> Flow:
    """Write what flowed: digests of the attempt's own inputs, digests and sizes of its outputs, by their names."""
    return Flow(
        encode([sha for _, sha in sorted(own.items())]),
        encode({name: {"digest": sha, "size": size} for name, (sha, size) in outputs.items()}),
        encode([{"digest": r.digest, "list": r.listed, "map": r.map, "tasks": r.tasks} for r in reads]),
    )


def read_of(map: str, listed: Sequence[tuple[int, int | None, str | None]]) -> Read:
    """Make the record of upstream attempts (index, attempt, result digest) that were read; None: a reused result."""
    in_order = sorted(listed)
    whole = digest("reads", [list(one) for one in in_order]).hex()
    return Read(map, len(in_order), whole, in_order if len(in_order) <= MOST_LISTED else None)


def salt_of(secret: bytes, map: str, index: int) -> str:
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


def _span(started: int | None, wall: int | None) -> tuple[str, str]:
    """Write when something began and ended; mostly that is the same second."""
    if started is None:
        return "null", "null"
    seconds, rest = divmod(started, MICROS)
    second, end = _second(seconds), rest + (wall or 0)
    # Slicing six digits is twice as quick as formatting them.
    began = f'"{second}.{str(MICROS + rest)[1:]}+00:00"'
    if end < MICROS:
        return began, f'"{second}.{str(MICROS + end)[1:]}+00:00"'
    return began, f'"{instant(seconds * MICROS + end)}"'


def micros_of(text: str) -> int:
    """Read an instant that `instant` wrote; ``ValueError`` where that writes it otherwise."""
    micros = _seconds_of(text[:19]) * MICROS + int(text[20:26])
    if instant(micros) != text:
        raise ValueError(text)
    return micros


@lru_cache(maxsize=4096)
def _seconds_of(text: str) -> int:
    from datetime import UTC, datetime

    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


class Writer:
    """Writes the records of the tasks of one map as canonical text, their keys in the order of their code points."""

    def __init__(
        self, map: str, around: Mapping[int, Around], *, own: frozenset[str] | None = None, secret: bytes | None = None
    ) -> None:
        """``own`` are the parameters to write, None for all; with a ``secret`` every record is salted."""
        self._name = map
        self._map = encode(map)
        self._around = around
        self._own = own
        self._secret = secret

    def write(self, history: History, level: int, flows: Mapping[tuple[int, int], Flow]) -> str:
        """Write the record of a task; ``flows`` are those of attempts, by task and number, that have any."""
        index, attempts, shown = history.task, history.attempts, history.shown
        params = history.params if self._own is None else _only(history.params, self._own)
        salt = "null" if self._secret is None else f'"{salt_of(self._secret, self._name, index)}"'
        if history.reused is not None:
            return self._reused(history.reused, index, level, params, salt, flows)
        if shown is None:
            return (
                '{"attempt":null,"attempts":0,"code":null,"cpu_us":null,"defaults":null,"detail":null,"ended":null,'
                f'"environment":null,"history":[],"index":{index},"inputs":null,"level":{level},"map":{self._map},'
                f'"max_rss":null,"origin":null,"outcome":null,"outputs":null,"params":{params},"reads":null,'
                f'"result":null,"salt":{salt},"started":null,"state":"{_STATES[history.state]}","v":1,"wall_us":null}}'
            )
        # Ten million are written: one text at once, of as few objects as can be.
        code, environment, shared, defaults = self._around[shown.context]
        own, outputs, reads = flows.get((index, shown.number), _NO_FLOW) if flows else _NO_FLOW
        cpu, detail, rss, result, wall = shown.cpu, shown.detail, shown.max_rss, shown.result_digest, shown.wall
        began, ended = _span(shown.started, wall)
        others = "" if len(attempts) == 1 else ",".join(
            [self._other(one, flows.get((index, one.number), _NO_FLOW)) for one in attempts if one is not shown]
        )
        return (
            f'{{"attempt":{shown.number},"attempts":{len(attempts)},"code":{code},'
            f'"cpu_us":{"null" if cpu is None else cpu},"defaults":{defaults},'
            f'"detail":{"null" if detail is None else detail},"ended":{ended},"environment":{environment},'
            f'"history":[{others}],"index":{index},"inputs":{{"own":{own},"shared":{shared}}},"level":{level},'
            f'"map":{self._map},"max_rss":{"null" if rss is None else rss * 1024},"origin":null,'
            f'"outcome":"{_OUTCOMES[shown.outcome]}","outputs":{outputs},"params":{params},"reads":{reads},'
            f'"result":{_hex(result)},"salt":{salt},"started":{began},'
            f'"state":"{_STATES[history.state]}","v":1,"wall_us":{"null" if wall is None else wall}}}'
        )

    def _other(self, one: Tried, flow: Flow) -> str:
        """Write an attempt that is not shown."""
        code, environment, shared, _ = self._around[one.context]
        began, ended = _span(one.started, one.wall)
        return (
            f'{{"attempt":{one.number},"code":{code},"cpu_us":{encode(one.cpu)},"detail":{encode(one.detail)},'
            f'"ended":{ended},"environment":{environment},"inputs":{{"own":{flow.own},"shared":{shared}}},'
            f'"max_rss":{encode(None if one.max_rss is None else one.max_rss * 1024)},"origin":null,'
            f'"outcome":"{one.outcome.word}","outputs":{flow.outputs},"reads":{flow.reads},'
            f'"result":{_hex(one.result_digest)},"started":{began},"wall_us":{encode(one.wall)}}}'
        )

    def _reused(
        self, reused: Reused, index: int, level: int, params: str, salt: str, flows: Mapping[tuple[int, int], Flow]
    ) -> str:
        """Write a task whose result an attempt of another map made: times and use are that one's."""
        made, origin = reused.made, reused.origin
        code, environment, shared, defaults = self._around[made.context]
        own, outputs, reads = flows.get((index, made.number), _NO_FLOW)
        by = encode({
            "attempt": origin.attempt, "index": origin.task, "map": origin.map, "registry": origin.registry,
        })
        return (
            f'{{"attempt":null,"attempts":0,"code":{code},"cpu_us":null,"defaults":{defaults},"detail":null,'
            f'"ended":null,"environment":{environment},"history":[],"index":{index},'
            f'"inputs":{{"own":{own},"shared":{shared}}},"level":{level},"map":{self._map},"max_rss":null,'
            f'"origin":{by},"outcome":"{made.outcome.word}","outputs":{outputs},"params":{params},"reads":{reads},'
            f'"result":{_hex(made.result_digest)},"salt":{salt},"started":null,"state":"succeeded","v":1,'
            f'"wall_us":null}}'
        )


def _hex(digest: bytes | None) -> str:
    return "null" if digest is None else f'"{digest.hex()}"'


def _only(params: str, own: frozenset[str]) -> str:
    """Keep the parameters that are the map's own."""
    values = decode(params)
    assert isinstance(values, dict), params
    return encode({name: value for name, value in values.items() if name in own})


class Record:
    """A record that was read: its text, and its fields as they stand in JSON.

    ``attempts`` are the shown one, where there is one, and all others, ``cohorts`` the keys of their cohorts.
    """

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
        self.attempts = self._attempts()
        self.cohorts = [cohort_of_fields(one, cast("int", self.fields["level"])) for one in self.attempts]

    def _attempts(self) -> list[dict[str, object]]:
        fields = self.fields
        index, attempts, history, attempt = (fields[n] for n in ("index", "attempts", "history", "attempt"))
        if type(index) is not int or index < 0 or type(fields["map"]) is not str:
            raise BadRecord("it names no task")
        if type(fields["level"]) is not int:
            raise BadRecord(f"its level is {fields['level']!r}")
        if fields["state"] not in _STATES:
            raise BadRecord(f"there is no state {fields['state']!r}")
        origin = fields["origin"]
        if origin is not None and not (
            isinstance(origin, dict) and all(type(origin.get(name)) is str for name in ("registry", "map"))
        ):
            raise BadRecord(f"its origin is {origin!r}")
        if not isinstance(history, list) or attempts != len(history) + (attempt is not None):
            raise BadRecord(f"it counts {attempts} attempts and has {len(cast('list[object]', history or []))} others")
        others = cast("list[dict[str, object]]", history)
        for one in others:
            if not isinstance(one, dict) or one.keys() != _OF_ATTEMPT:
                raise BadRecord("an attempt of its history lacks fields or has unknown ones")
        found = others if fields["outcome"] is None else [fields, *others]
        for one in found:
            if one["outcome"] not in _OUTCOMES:
                raise BadRecord(f"there is no outcome {one['outcome']!r}")
            started, ended, wall = one["started"], one["ended"], one["wall_us"]
            try:
                fits = started is None or ended == instant(
                    micros_of(cast("str", started)) + cast("int", wall or 0)
                )
            except (TypeError, ValueError, OverflowError):
                fits = False
            if not fits:
                raise BadRecord(f"it ends at {ended}, {wall} microseconds after {started}")
        return found

    @property
    def map(self) -> str:
        """The name of the task's map."""
        return cast("str", self.fields["map"])

    @property
    def index(self) -> int:
        """The index of the task."""
        return cast("int", self.fields["index"])

    @property
    def key(self) -> CohortKey | GroupKey:
        """The key of what the task stands in: the cohort of its shown attempt, or the group of its reused result."""
        if self.fields["outcome"] is None:
            return UNATTEMPTED
        key, origin = self.cohorts[0], self.fields["origin"]
        if origin is None:
            return key
        made = cast("dict[str, str]", origin)
        return key.group._replace(kind="reused", level=None, origin=(made["registry"], made["map"]))

    @property
    def group(self) -> GroupKey:
        """The key of the group to which the record belongs where nothing is pooled."""
        key = self.key
        return key.group if isinstance(key, CohortKey) else key

    def sums(self) -> Sums:
        """Compute the sums of the leaf; `BadSums` where the wall time is none."""
        return sums_of(self.fields)


def cohort_of_fields(fields: Mapping[str, object], level: int) -> CohortKey:
    """Give the key of an attempt's cohort from what a record says of it; `BadRecord` where that is no key."""
    code, environment, inputs = fields["code"], fields["environment"], fields["inputs"]
    shared = inputs.get("shared") if isinstance(inputs, dict) else None
    if not isinstance(shared, list) or any(type(one) is not str for one in (code, environment, *shared)):
        raise BadRecord("it does not say under which code, environment and inputs an attempt ran")
    return CohortKey(
        cast("str", code), cast("str", environment), tuple(shared), level, _BY_WORD[cast("str", fields["outcome"])]
    )


def sums_of(fields: Mapping[str, object]) -> Sums:
    """Compute the sums of one leaf from its record, never from elsewhere."""
    wall = fields["wall_us"] or 0
    if type(wall) is not int:
        raise BadSums(f"wall_us is {wall!r}")
    return counted(cast("str", fields["state"]), fields["origin"] is not None, wall)


def counted(state: str, reused: bool, wall: int) -> Sums:
    """Count one task: exactly one of the four is 1."""
    if state == _SUCCEEDED:
        return Sums(1, int(not reused), int(reused), 0, 0, wall)
    failed = state == _FAILED
    return Sums(1, 0, 0, int(failed), int(not failed), wall)
