"""REFs and typed items: what they point at, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provrun.core.canonical import NotAValue, Value
from provrun.core.items import item_value, split_items
from provrun.core.refs import (
    AttemptRef,
    CodeRef,
    DigestRef,
    EnvironmentRef,
    FileRef,
    JobRef,
    MapRef,
    ParamsRef,
    Ref,
    TaskRef,
    parse_ref,
    valid_map_name,
)
from provrun.errors import UsageError


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("scan", MapRef("scan")),
        ("_a-B9", MapRef("_a-B9")),
        ("scan/42", TaskRef("scan", 42)),
        ("scan/0#1", AttemptRef("scan", 0, 1)),
        ("scan[x=1,y=2.0]", ParamsRef("scan", {"x": 1, "y": 2.0})),
        (
            'scan[kind=gap, l=[1,2], s="a,b",t=true]',
            ParamsRef("scan", {"kind": "gap", "l": [1, 2], "s": "a,b", "t": True}),
        ),
        ("scan[]", ParamsRef("scan", {})),
        ("code:3F2A9c", CodeRef("3f2a9c")),
        ("env:91bc", EnvironmentRef("91bc")),
        ("job:7", JobRef("7")),
        ("job:slurm-12_3", JobRef("slurm-12_3")),
        ("sha256:" + "ab" * 32, DigestRef("ab" * 32)),
        ("./out.txt", FileRef("./out.txt")),
        ("../data/7.npy", FileRef("../data/7.npy")),
        ("/scratch/7", FileRef("/scratch/7")),
        ("data/7.npy", FileRef("data/7.npy")),
    ],
)
def test_a_ref_points_at_this(text: str, ref: Ref) -> None:
    assert parse_ref(text) == ref


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "MAP/INDEX"),
        ("-", "MAP/INDEX"),
        ("two words", "MAP/INDEX"),
        ("scan/", "MAP/INDEX"),
        ("scan/1#0", "counted from 1"),
        ("scan/" + "9" * 30, "too large"),
        ("scan[x]", "not name=value"),
        ("scan[x=1,x=2]", "x is given twice"),
        ("scan[x=1,foo]", "'foo' is not name=value"),
        ("code:xyz", "hex digits"),
        ("code:12", "hex digits"),
        ("cod:12ab", "did you mean code:12ab?"),
        ("job:", "MAP/INDEX"),
        ("out.txt", "./out.txt"),
        ("٣can", "MAP/INDEX"),
    ],
)
def test_what_is_no_ref_is_refused_with_the_forms(text: str, hint: str) -> None:
    with pytest.raises(UsageError, match="is no REF") as raised:
        parse_ref(text)
    assert hint in str(raised.value)


@pytest.mark.parametrize("name", ["", "1a", "-a", "a b", "a.b", "a/b", "é", "a\n"])
def test_these_are_no_map_names(name: str) -> None:
    assert not valid_map_name(name)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("a,b", ["a", "b"]),
        ("", [""]),
        (",", ["", ""]),
        ('a,[1,2],"b,c"', ["a", "[1,2]", '"b,c"']),
        ('{"a":1,"b":2},3', ['{"a":1,"b":2}', "3"]),
        (" [1, 2] , 3", [" [1, 2] ", " 3"]),
        ("[1,2", ["[1", "2"]),
        ('"x"y,z', ['"x"y', "z"]),
    ],
)
def test_items_are_split_at_the_commas_outside_json(text: str, items: list[str]) -> None:
    assert split_items(text) == items


@given(st.lists(st.text() | st.integers() | st.lists(st.text(), max_size=3), min_size=1))
def test_json_items_joined_by_commas_are_split_again(values: list[object]) -> None:
    items = [json.dumps(value, ensure_ascii=False) for value in values]
    assert split_items(",".join(items)) == items


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        (" 1.0", 1.0),
        ("1e5", 1e5),
        ("true", True),
        ("null", None),
        ('"1"', "1"),
        ("007", "007"),
        ("+5", "+5"),
        ("NaN", "NaN"),
        (" gap ", "gap"),
        ("a=b", "a=b"),
    ],
)
def test_an_item_is_its_json_else_text(text: str, value: Value) -> None:
    found = item_value(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["1e400", '{"a":1,"a":2}', '{"$x":1}'])
def test_json_that_is_no_value_is_not_taken_for_text(text: str) -> None:
    with pytest.raises(NotAValue):
        item_value(text)
