"""Cohorts, groups, their keys and their order."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

from provrun.core.cohorts import UNATTEMPTED, CohortKey, Grouping, GroupKey, key_of, ordered, pooled, reused, tail
from provrun.core.history import Circumstances, History, Tried, shown_of
from provrun.core.states import Outcome, State


class Counted(NamedTuple):
    key: CohortKey
    first: int | None
    attempts: int


def key(code: str, outcome: Outcome = Outcome.SUCCEEDED) -> CohortKey:
    return CohortKey(code, "e", ("i",), 0, outcome)


def test_the_key_of_a_group_is_digested_from_its_canonical_text() -> None:
    text = '{"code":"c","environment":"e","inputs":["i"],"kind":"cohort","level":0,"origin":null,"outcome":"succeeded"}'
    assert key("c").canonical() == text
    assert key("c").group.digest() == sha256(b"group\0" + text.encode()).digest()
    assert UNATTEMPTED.canonical().count("null") == 6


def test_groups_stand_in_the_order_cohorts_tails_reused_unattempted() -> None:
    origin = reused("r", "m", "c", "e", ())
    cohorts = [([key("a")], False, True), ([key("b")], False, False), ([key("c"), key("d")], True, True)]
    grouping = Grouping(cohorts, reused=[origin], unattempted=True)
    assert grouping.groups == [key("a").group, tail(succeeded=True), origin, GroupKey("unattempted")]
    assert [grouping.position(key(name)) for name in "acd"] == [0, 1, 1]


def test_a_task_lies_in_the_group_of_its_accepted_attempt_else_of_its_last() -> None:
    around = Circumstances(job=1, code="a", code_after=None, environment="e", host="h", inputs=("i",))
    failed, fine = (Tried(n, 7, o, 1, 1, None, None, None) for n, o in ((1, Outcome.EXIT), (2, Outcome.SUCCEEDED)))
    grouping = Grouping([([key("a", Outcome.EXIT)], False, True), ([key("a")], False, True)], unattempted=True)
    histories = [
        History(0, "{}", State.PENDING, accepted, None, attempts, shown_of(attempts, accepted))
        for accepted, attempts in ((0, []), (0, [failed]), (2, [failed, fine]), (0, [fine, failed]))
    ]
    places = [grouping.position(key_of(history, lambda _: around, 0)) for history in histories]
    assert places == [2, 0, 1, 0]


def test_cohorts_are_ordered_by_first_start_then_by_key() -> None:
    some = [Counted(key("b"), 5, 1), Counted(key("a"), 5, 1), Counted(key("z"), None, 1), Counted(key("y"), 4, 1)]
    found = ordered(some, key=lambda c: c.key, first=lambda c: c.first)
    assert [c.key.code for c in found] == ["y", "a", "b", "z"]


def test_beyond_64_cohorts_the_62_largest_stay_and_two_tails_hold_the_rest() -> None:
    many = [
        Counted(key(f"{n:03}", Outcome.EXIT if n % 2 else Outcome.SUCCEEDED), n, 100 - n) for n in range(70)
    ]
    parts = pooled(many, key=lambda c: c.key, attempts=lambda c: c.attempts)
    assert [len(part) for part, _ in parts] == [1] * 62 + [4, 4]
    assert [is_tail for _, is_tail in parts] == [False] * 62 + [True, True]
    assert {c.key.outcome for c in parts[62][0]} == {Outcome.SUCCEEDED}
    assert len(pooled(many[:64], key=lambda c: c.key, attempts=lambda c: c.attempts)) == 64
