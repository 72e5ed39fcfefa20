"""Conditions: what they mean, what is pushed down, and where they are wrong."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provrun.core.canonical import Value
from provrun.core.conditions import MISSING, ConditionError, Missing, parse

TASK: dict[str, Value] = {
    "x": 1,
    "param.x": 1,
    "y": 0.25,
    "kind": "gap",
    "state": "failed",
    "result.gap": 1.0,
    "result.deep.key": [1, "b"],
    "tag.my-tag": "v",
    "ok": True,
    "no": False,
    "nothing": None,
    "bad": math.nan,
    "list": [1, 2.0, "three"],
    "error": "Segmentation fault",
}


def look(name: str) -> Value | Missing:
    return TASK.get(name, MISSING)


@pytest.mark.parametrize(
    "text",
    [
        "x = 1",
        "x == 1.0",
        "x=1 and y<0.5",
        "param.x >= 1",
        "result.gap = 1",
        "result.deep.key = [1, 'b']",
        "tag.my-tag = 'v'",
        "kind = 'gap'",
        'kind = "gap"',
        "kind = gap",
        "state in (failed, lost)",
        "state not in [lost, 'cancelled']",
        "x in [3, 2, 1.0]",
        "2 in list and 'three' in list and 3 not in list",
        "'fault' in error",
        "ok and not no",
        "ok = true and no = false and nothing = null",
        "x = 2 or y = 0.25 and kind != 'energy'",
        "not (x = 2 or y = 1)",
        "not not ok",
        "1 = x and 0.3 > y",
        "x = result.gap",
        "x > -1 and x < +1.5e1 and y > .2",
        "bad = nan and bad != 1 and not bad < 1 and not bad > 1",
        "y < inf and y > -inf",
        "kind < 'h' and kind > 'a'",
        "x != '1' and ok != 1",
        "NOT no AND (X_missing = 1 OR ok)",
        "not missing = 1",
        "x not in []",
        "kind != \"it's\" and kind != 'a \\'quoted\\' \\d'",
    ],
)
def test_this_holds(text: str) -> None:
    assert parse(text).evaluate(look)


@pytest.mark.parametrize(
    "text",
    [
        "x = 2",
        "x = '1'",
        "x = true",
        "ok = 1",
        "x < 'a'",
        "nothing < 1",
        "no < ok",
        "missing = 1",
        "missing != 1",
        "missing in [1]",
        "missing not in [1]",
        "x in y",
        "x not in y",
        "list = [1, 2]",
        "no",
        "kind",
        "state = succeeded",
        "x = 1 and (y = 1 or no)",
        "kind in []",
    ],
)
def test_this_does_not_hold(text: str) -> None:
    assert not parse(text).evaluate(look)


@pytest.mark.parametrize(
    ("text", "column", "hint"),
    [
        ("", 1, "compare a name"),
        ("x =", 4, "compare a name"),
        ("x => 3", 3, "did you mean >=?"),
        ("x = 1 && y = 2", 7, "did you mean and?"),
        ("x = 1 || y = 2", 7, "did you mean or?"),
        ("! x", 1, "did you mean not?"),
        ("x <> 1", 3, "did you mean !=?"),
        ("x === 1", 3, "did you mean =?"),
        ("1 < x < 3", 7, "1 < x and x < 3"),
        ("x = 1 y = 2", 7, "join"),
        ("(x = 1", 7, ") is missing"),
        ("x = 1)", 6, "not expected"),
        ("kind = 'gap", 8, "close it with '"),
        ("x in [1 2]", 9, ", is missing"),
        ("x = $y", 5, "quotes"),
        ("5", 1, "x = 5"),
        ("'a'", 1, "compare it"),
        ("x = and", 5, "compare a name"),
        ("x not 1", 7, "in is missing"),
        ("x = 1abc", 5, "quotes"),
    ],
)
def test_a_mistake_is_shown_at_its_column_with_what_to_write(text: str, column: int, hint: str) -> None:
    with pytest.raises(ConditionError) as raised:
        parse(text)
    assert f"column {column} " in str(raised.value)
    assert hint in str(raised.value)
    assert str(raised.value).splitlines()[2] == " " * (column + 1) + "^"


def test_endless_nesting_is_an_error_for_users() -> None:
    with pytest.raises(ConditionError, match="nested too deeply"):
        parse("(" * 10_000)


def test_names_and_bare_words_are_told_apart() -> None:
    condition = parse("param.x = 1 and state = failed and y in [low, result.gap] and not y = z")
    assert condition.names() == ("param.x", "state", "y", "result.gap")
    assert condition.words() == ("failed", "low", "z")


def test_a_bare_word_that_names_something_is_looked_up() -> None:
    assert parse("kind = kind").evaluate(look)
    assert not parse("kind = state").evaluate(look)


@pytest.mark.parametrize(
    ("text", "equal"),
    [
        ("x = 1", {"x": 1}),
        ("x = 1 and kind = 'gap' and y > 2", {"x": 1, "kind": "gap"}),
        ("2 = x and (y = 1 or y = 2)", {"x": 2}),
        ("x = 1 or y = 2", {}),
        ("not x = 1", {}),
        ("x != 1", {}),
        ("stale", {"stale": True}),
        ("x = y", {}),
        ("state = failed", {}),
        ("x = 1 and x = 2", {}),
        ("x = 1 and x = 1.0", {"x": 1.0}),
    ],
)
def test_equalities_that_must_hold_are_known(text: str, equal: dict[str, Value]) -> None:
    assert parse(text).equalities() == equal


def test_equalities_take_bare_words_for_text_when_told_so() -> None:
    condition = parse("state = failed and x = y")
    assert condition.equalities(lambda word: word not in TASK) == {"state": "failed"}


SIGNS: dict[str, Callable[[object, object], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
NUMBERS = st.integers(-3, 3) | st.sampled_from([-1.5, 0.0, 0.5, 2.0, 1e300])
COMPARISONS = st.builds(
    lambda name, sign, number: (f"{name} {sign} {number!r}", f"{name} {sign if sign != '=' else '=='} {number!r}"),
    st.sampled_from("xyz"),
    st.sampled_from(sorted(SIGNS)),
    NUMBERS,
)
MEMBERSHIPS = st.builds(
    lambda name, sign, numbers: (f"{name} {sign} {numbers!r}",) * 2,
    st.sampled_from("xyz"),
    st.sampled_from(["in", "not in"]),
    st.lists(NUMBERS, max_size=3),
)
TERMS = st.recursive(
    COMPARISONS | MEMBERSHIPS,
    lambda inner: (
        st.builds(
            lambda a, w, b: (f"{a[0]} {w} {b[0]}", f"{a[1]} {w} {b[1]}"), inner, st.sampled_from(["and", "or"]), inner
        )
        | inner.map(lambda a: (f"not {a[0]}", f"not {a[1]}"))
        | inner.map(lambda a: (f"({a[0]})", f"({a[1]})"))
    ),
    max_leaves=8,
)


@given(TERMS, st.fixed_dictionaries({"x": NUMBERS, "y": NUMBERS, "z": NUMBERS}))
def test_conditions_on_numbers_mean_what_python_means(term: tuple[str, str], values: dict[str, float]) -> None:
    text, python = term
    assert parse(text).evaluate(values.__getitem__) == eval(python, {}, values)


@given(TERMS, st.fixed_dictionaries({"x": NUMBERS, "y": NUMBERS, "z": NUMBERS}))
def test_a_condition_that_holds_has_its_equalities(term: tuple[str, str], values: dict[str, float]) -> None:
    condition = parse(term[0])
    if condition.evaluate(values.__getitem__):
        assert all(values[name] == value for name, value in condition.equalities().items())
