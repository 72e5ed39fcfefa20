"""Records are written in parts and read as a whole: both must agree."""

from __future__ import annotations

import json
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provrun.core.canonical import NotAValue, decode_canonical, encode
from provrun.core.history import History, Reused, Tried
from provrun.core.leaves import (
    Around,
    BadRecord,
    Read,
    Record,
    Writer,
    flow_of,
    micros_of,
    read_of,
    salt_of,
)
from provrun.core.records import REUSED, Origin
from provrun.core.states import Outcome, State

numbers = st.none() | st.integers(0, 2**62)
digests = st.none() | st.just("ab" * 32)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
contexts = {
    1: Around('"c1"', '"e1"', "[]", "null"), 2: Around('"c2"', '"e2"', '["aa","bb"]', '{"n":1}'),
}
reads = st.builds(
    read_of, st.sampled_from(["a", "b"]),
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3), digests), max_size=20, unique_by=lambda one: one[:2]),
) | st.just(Read("c", 40, "cd" * 32, None))
flowed = st.tuples(
    st.dictionaries(names, st.just("ff" * 32), max_size=2),
    st.dictionaries(names, st.tuples(st.just("0f" * 32), st.integers(0, 9)), max_size=2), st.lists(reads, max_size=2),
)
tried = st.builds(
    Tried, st.integers(1, 99), st.sampled_from(list(contexts)), st.sampled_from(list(Outcome)),
    st.none() | st.integers(0, 4 * 10**15), st.none() | st.integers(0, 10**12), numbers,
    st.none() | st.just(b"\xab" * 32), st.none(), numbers, numbers,
)


@given(
    st.dictionaries(names, values, max_size=3), st.lists(tried, min_size=1, max_size=3, unique_by=lambda t: t.number),
    st.data(), st.booleans(), st.sampled_from(list(State)),
)
def test_what_is_written_is_canonical_and_reads_as_a_record(
    params: dict[str, Any], attempts: list[Tried], data: st.DataObject, salted: bool, state: State
) -> None:
    shown = data.draw(st.sampled_from(attempts))
    flows = {(3, one.number): data.draw(flowed) for one in attempts if data.draw(st.booleans())}
    writer = Writer("scan", contexts, secret=b"s" if salted else None)
    text = writer.write(
        History(3, encode(params), state, shown.number, None, attempts, shown), 1,
        {key: flow_of(*one) for key, one in flows.items()},
    )
    record = Record(text.encode())
    assert encode(record.fields["params"]) == encode(params)
    assert (record.map, record.index, record.fields["level"]) == ("scan", 3, 1)
    assert record.fields["salt"] == (salt_of(b"s", "scan", 3) if salted else None)
    assert record.fields["state"] == state.word
    assert encode(record.fields["defaults"]) == contexts[shown.context].defaults
    assert record.fields["attempts"] == len(attempts)
    in_order = [shown, *(one for one in attempts if one is not shown)]
    for one, written in zip(in_order, record.attempts, strict=True):
        around, (own, outputs, read) = contexts[one.context], flows.get((3, one.number), ({}, {}, []))
        assert (written["attempt"], written["outcome"], written["wall_us"]) == (one.number, one.outcome.word, one.wall)
        assert (written["cpu_us"], written["detail"], written["origin"]) == (one.cpu, one.detail, None)
        assert written["max_rss"] == (None if one.max_rss is None else 1024 * one.max_rss)
        assert written["result"] == (None if one.result_digest is None else one.result_digest.hex())
        assert [encode(written[name]) for name in ("code", "environment")] == [around.code, around.environment]
        assert one.started is None or micros_of(str(written["started"])) == one.started
        assert written["inputs"] == {"own": [own[name] for name in sorted(own)], "shared": json.loads(around.shared)}
        assert written["outputs"] == {name: {"digest": d, "size": s} for name, (d, s) in outputs.items()}
        assert written["reads"] == [
            {"map": r.map, "tasks": r.tasks, "digest": r.digest,
             "list": None if r.listed is None else [list(each) for each in r.listed]}
            for r in read
        ]


@given(tried, flowed, st.booleans(), names, st.integers(0, 9), st.integers(1, 9))
def test_a_reused_result_is_written_as_what_another_map_made(
    made: Tried, flow: tuple[Any, Any, Any], salted: bool, name: str, index: int, attempt: int
) -> None:
    origin = Origin("11111111-0000-0000-0000-000000000000", name, index, attempt)
    made = msgspec.structs.replace(made, number=REUSED, outcome=Outcome.SUCCEEDED)
    history = History(3, "{}", State.SUCCEEDED, REUSED, None, [], None, Reused(made, origin))
    writer = Writer("scan", contexts, secret=b"s" if salted else None)
    record = Record(writer.write(history, 1, {(3, REUSED): flow_of(*flow)}).encode())
    assert record.fields["origin"] == {
        "registry": origin.registry, "map": name, "index": index, "attempt": attempt
    }
    assert (record.fields["attempt"], record.fields["attempts"], record.fields["history"]) == (None, 0, [])
    assert (record.group.kind, record.group.origin) == ("reused", (origin.registry, name))
    assert record.sums() == (1, 0, 1, 0, 0, 0)
    assert record.fields["result"] == (None if made.result_digest is None else made.result_digest.hex())
    assert (record.fields["started"], record.fields["wall_us"]) == (None, None)
    assert set(cast("dict[str, object]", record.fields["outputs"])) == set(flow[1])


def test_a_task_without_an_attempt_says_so() -> None:
    history = History(0, "{}", State.WAITING, 0, None, [], None)
    record = Record(Writer("m", contexts).write(history, 0, {}).encode())
    assert (record.group.kind, record.fields["state"]) == ("unattempted", "waiting")
    assert record.sums() == (1, 0, 0, 0, 1, 0)
    assert record.attempts == []


def test_only_the_parameters_of_the_map_itself_are_written() -> None:
    history = History(0, '{"$$a":1,"b":2,"c":{"$float":"nan"}}', State.PENDING, 0, None, [], None)
    writer = Writer("m", contexts, own=frozenset(("$a", "c")))
    record = Record(writer.write(history, 0, {}).encode())
    assert encode(record.fields["params"]) == '{"$$a":1,"c":{"$float":"nan"}}'


@given(values)
def test_only_canonical_text_is_taken_for_canonical(value: Any) -> None:
    text = encode(value).encode()
    assert encode(decode_canonical(text)).encode() == text
    read = json.loads(text)
    for other in (json.dumps(read, indent=1).encode(), json.dumps(read).encode(), msgspec.json.encode(read)):
        if other != text:
            with pytest.raises(NotAValue):
                decode_canonical(other)


@pytest.mark.parametrize(
    "text", [b'{"b":1,"a":1}', b'{"a":1,"a":1}', b"1e5", b"1.50", b'"\\u0041"', b"NaN", b" 1", b"01", b"-0", b'"\xff"',
             b'"\\ud800"', b'{"$x":1}', b"", b'"\\/"', b"[1, 2]", b"1e16", b"1e-7", b"0.00001", b"[1e400]",
             b'"\\u001F"', b'{"a":{"c":1,"b":2}}'],
)
def test_other_text_is_refused(text: bytes) -> None:
    with pytest.raises(NotAValue):
        decode_canonical(text)


def test_a_line_that_is_no_record_is_refused() -> None:
    for line in (b"1", b"{}", b'{"v":2}', b'{"v":1}'):
        with pytest.raises(BadRecord):
            Record(line)
