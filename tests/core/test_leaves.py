"""Records are written in parts and read as a whole: both must agree."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provrun.core.canonical import NotAValue, decode_canonical, encode
from provrun.core.leaves import BadRecord, Ran, Read, Record, micros_of, read_of, write
from provrun.core.records import Origin
from provrun.core.states import Outcome

numbers = st.none() | st.integers(0, 2**62)
digests = st.none() | st.just("ab" * 32)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
reads = st.builds(
    read_of, st.sampled_from(["a", "b"]),
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3), digests), max_size=20, unique_by=lambda one: one[:2]),
) | st.just(Read("c", 40, "cd" * 32, None))
tested = st.builds(
    Ran, st.integers(1, 9), st.just('"c0"'), st.just('"e0"'), st.sampled_from(["[]", '["aa","bb"]']),
    st.sampled_from(list(Outcome)), numbers, st.none() | st.integers(0, 4 * 10**15), st.none() | st.integers(0, 10**12),
    numbers, numbers, digests, st.lists(st.just("ff" * 32), max_size=2),
    st.dictionaries(names, st.tuples(st.just("0f" * 32), st.integers(0, 9)), max_size=2), st.lists(reads, max_size=2),
    origin=st.none(),
)


@given(
    st.dictionaries(names, values, max_size=3), tested, st.lists(tested, max_size=2), st.sampled_from(["null", '"s"']),
    st.sampled_from(["succeeded", "failed", "pending"]),
)
def test_what_is_written_is_canonical_and_reads_as_a_record(
    params: dict[str, Any], shown: Ran, others: list[Ran], salt: str, state: str
) -> None:
    text = write(
        map=encode("scan"), index=3, params=encode(params), state=state, level=1, shown=shown, others=others,
        defaults="null", salt=salt,
    )
    record = Record(text.encode())
    assert encode(record.fields["params"]) == encode(params)
    assert record.fields["attempts"] == 1 + len(others)
    assert [one["attempt"] for one in record.attempts] == [shown.number, *(one.number for one in others)]
    for one, written in zip([shown, *others], record.attempts, strict=True):
        assert (written["outcome"], written["wall_us"], written["cpu_us"]) == (one.outcome.word, one.wall, one.cpu)
        assert (written["max_rss"], written["detail"], written["result"]) == (one.max_rss, one.detail, one.result)
        assert one.started is None or micros_of(str(written["started"])) == one.started
        assert written["inputs"] == {"own": list(one.own), "shared": json.loads(one.shared)}
        assert written["outputs"] == {name: {"digest": d, "size": s} for name, (d, s) in one.outputs.items()}
        assert written["reads"] == [
            {"map": r.map, "tasks": r.tasks, "digest": r.digest,
             "list": None if r.listed is None else [list(each) for each in r.listed]}
            for r in one.reads
        ]


@given(tested, st.sampled_from(["null", '"s"']), names, st.integers(0, 9), st.integers(1, 9))
def test_a_reused_result_is_written_as_what_another_map_made(
    made: Ran, salt: str, name: str, index: int, attempt: int
) -> None:
    origin = Origin("11111111-0000-0000-0000-000000000000", name, index, attempt)
    text = write(
        map=encode("scan"), index=3, params="{}", state="succeeded", level=1,
        shown=made._replace(origin=origin, outcome=Outcome.SUCCEEDED), others=(), defaults="null", salt=salt,
    )
    record = Record(text.encode())
    assert record.fields["origin"] == {
        "registry": origin.registry, "map": name, "index": index, "attempt": attempt
    }
    assert (record.fields["attempt"], record.fields["attempts"], record.fields["history"]) == (None, 0, [])
    assert (record.group.kind, record.group.origin) == ("reused", (origin.registry, name))
    assert record.sums() == (1, 0, 1, 0, 0, 0)
    assert (record.fields["result"], record.fields["started"], record.fields["wall_us"]) == (made.result, None, None)


def test_a_task_without_an_attempt_says_so() -> None:
    text = write(
        map='"m"', index=0, params="{}", state="waiting", level=0, shown=None, others=(), defaults="null", salt="null"
    )
    record = Record(text.encode())
    assert record.group.kind == "unattempted"
    assert record.sums() == (1, 0, 0, 0, 1, 0)
    assert record.attempts == []


@given(values)
def test_only_canonical_text_is_taken_for_canonical(value: Any) -> None:
    text = encode(value).encode()
    assert encode(decode_canonical(text)).encode() == text
    other = json.dumps(json.loads(text), indent=1).encode()
    if other != text:
        with pytest.raises(NotAValue):
            decode_canonical(other)


@pytest.mark.parametrize(
    "text", [b'{"b":1,"a":1}', b'{"a":1,"a":1}', b"1e5", b"1.50", b'"\\u0041"', b"NaN", b" 1", b"01", b"-0", b'"\xff"',
             b'"\\ud800"', b'{"$x":1}', b"", b'"\\/"', b"[1, 2]"],
)
def test_other_text_is_refused(text: bytes) -> None:
    with pytest.raises(NotAValue):
        decode_canonical(text)


def test_a_line_that_is_no_record_is_refused() -> None:
    for line in (b"1", b"{}", b'{"v":2}', b'{"v":1}'):
        with pytest.raises(BadRecord):
            Record(line)
