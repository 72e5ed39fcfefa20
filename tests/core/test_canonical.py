"""The canonical encoding: pinned digests, round trips, order, and what is refused."""

from __future__ import annotations

import enum
import json
import math
import sys
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provrun.core.canonical import Blob, NotAValue, NotJSON, decode, digest, digest_text, encode, read_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = TEXT | st.sampled_from(["$", "$float", "$$", "$blob", "$x"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=12)

TEXTS = [
    (None, "null"),
    (True, "true"),
    (1, "1"),
    (1.0, "1.0"),
    ("1", '"1"'),
    (-0.0, "-0.0"),
    (1e16, "1e+16"),
    (1e-5, "1e-05"),
    (5e-324, "5e-324"),
    (0.1 + 0.2, "0.30000000000000004"),
    (2**200, "1606938044258990275541962092341162602522202993782792835301376"),
    (math.nan, '{"$float":"nan"}'),
    (math.inf, '{"$float":"inf"}'),
    (-math.inf, '{"$float":"-inf"}'),
    ('\x00\b\t\n\f\r\x1f\x7f"\\/é\u2028😀', '"\\u0000\\b\\t\\n\\f\\r\\u001f\x7f\\"\\\\/é\u2028😀"'),
    ((1, [2.0, ()]), "[1,[2.0,[]]]"),
    ({"b": 1, "a": {"z": None, "y": False}}, '{"a":{"y":false,"z":null},"b":1}'),
    ({"\uffff": 1, "😀": 2, "é": 3, "z": 4, "": 5}, '{"":5,"z":4,"é":3,"\uffff":1,"😀":2}'),
    ({"$float": "nan"}, '{"$$float":"nan"}'),
    ({"$": 1, "$$a": 2, "a$": 3, "#": 4}, '{"#":4,"$$":1,"$$$a":2,"a$":3}'),
    ({"inner": [{"$x": math.inf}]}, '{"inner":[{"$$x":{"$float":"inf"}}]}'),
    (Blob({"size": 3, "digest": "ab"}), '{"$blob":{"digest":"ab","size":3}}'),
]

# What is pinned here is in every registry and in every published export: it never changes.
DIGESTS = [
    ("task", None, "995ec5ff2031a22c1932365916584b9fd4e698cce5c791b0678ae9c93442860a"),
    ("params", {}, "551aaf23462459f89832244f6dfd177462edd227db066bc64caf950c324ffed4"),
    ("params", {"x": 1, "y": 0.25, "kind": "gap"}, "eb524440200a01e98329ad925688c967fc8e91796b274ee8fbd0f86bf4e30a19"),
    ("result", [1, 1.0, True, "1", None], "27612e9163b88a34a232621300162bf2219532f1112e7e5618acee26e55b0cc4"),
    (
        "result",
        {"e": -0.0, "n": math.nan, "big": 2**70, "$k": "é😀\n"},
        "252e741249bf128a3cef7b9d2bd5eb0a9c40ae804bdbe6c68ab049e736ae7e62",
    ),
    ("environment", {"python": "3.11.7"}, "94bbcb7069a6befe81057b03b643673b04b5f6ec92395387f4a0e351299e7ef3"),
    ("code", [1e16, 1e-05, 0.1], "8d23ce362d49e4ca0b0e206cde7c3f7c2bc7fb4b04f21608cc1fa1b5d6288852"),
]


@pytest.mark.parametrize(("value", "text"), TEXTS)
def test_a_value_has_exactly_this_canonical_text_and_is_read_back_from_it(value: object, text: str) -> None:
    assert encode(value) == text
    assert encode(decode(text)) == text
    assert encode(decode(text.encode())) == text


@pytest.mark.parametrize(("tag", "value", "pinned"), DIGESTS)
def test_digests_are_pinned(tag: str, value: object, pinned: str) -> None:
    assert digest(tag, value).hex() == pinned
    assert digest_text(tag, encode(value)).hex() == pinned


def test_a_digest_is_sha256_of_the_tag_a_zero_byte_and_the_canonical_bytes() -> None:
    assert digest("params", {"é": 1.0}) == sha256(b'params\0{"\xc3\xa9":1.0}').digest()


@pytest.mark.parametrize("tag", ["", "Task", "tâche", "a\0", "two words", "1st"])
def test_a_tag_that_is_not_lower_case_ascii_is_refused(tag: str) -> None:
    with pytest.raises(ValueError, match="tag"):
        digest(tag, 1)


def test_numbers_truth_and_text_that_look_alike_have_four_digests() -> None:
    assert len({digest("value", value) for value in (1, 1.0, True, "1")}) == 4


@given(VALUES)
def test_every_value_comes_back_with_its_types(value: object) -> None:
    text = encode(value)
    back = decode(text)
    assert repr(back) == repr(_sorted(value))
    assert encode(back) == text


@given(VALUES)
def test_canonical_text_is_json_without_spaces_whose_keys_are_sorted(value: object) -> None:
    text = encode(value)
    loaded = json.loads(text)
    assert json.dumps(loaded, ensure_ascii=False, separators=(",", ":"), sort_keys=True) == text


@given(st.dictionaries(KEYS, SCALARS))
def test_the_order_in_which_keys_were_set_does_not_matter(value: dict[str, object]) -> None:
    assert encode(value) == encode(dict(reversed(value.items())))


@given(st.lists(st.integers() | st.floats(allow_nan=False) | TEXT | st.booleans(), min_size=2, max_size=2))
def test_values_of_different_type_or_size_never_share_a_text(pair: list[object]) -> None:
    one, other = pair
    same = type(one) is type(other) and repr(one) == repr(other)
    assert (encode(one) == encode(other)) == same


def test_integers_beyond_pythons_digit_limit_are_written_and_read() -> None:
    number = 7 ** (2 * sys.get_int_max_str_digits())
    text = encode({"n": -number, "m": 1})
    assert decode(text) == {"n": -number, "m": 1}
    assert len(text) > sys.get_int_max_str_digits()


@pytest.mark.parametrize(
    ("scalar", "text"),
    [
        (np.int64(3), "3"),
        (np.float64(0.1), "0.1"),
        (np.float32(0.5), "0.5"),
        (np.bool_(True), "true"),
        (np.str_("s"), '"s"'),
        (np.float64("nan"), '{"$float":"nan"}'),
        (np.array(7), "7"),
        ({"a": [np.uint8(255), np.float16(1)]}, '{"a":[255,1.0]}'),
    ],
)
def test_numpy_scalars_become_python_values(scalar: object, text: str) -> None:
    assert encode(scalar) == text


def test_subclasses_of_text_and_numbers_are_their_plain_values() -> None:
    class Kind(enum.StrEnum):
        GAP = "gap"

    class Shouting(str):
        __slots__ = ()

        def __str__(self) -> str:
            return self.upper()

    class Level(enum.IntEnum):
        HIGH = 3

    assert encode({Shouting("$old"): [Kind.GAP, Level.HIGH, Shouting("$old")]}) == '{"$$old":["gap",3,"$old"]}'


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": {"b": [1, {2}]}}, r"a\.b\[1\] is of type set"),
        (b"bytes", "the value is of type bytes"),
        ([1j], r"\[0\] is of type complex"),
        (np.array([1, 2]), r"numpy\.ndarray"),
        (np.complex128(1), "complex"),
        (np.datetime64("2026-01-01"), "datetime"),
        (np.longdouble(1), "longdouble"),
        ({"a": {1: 2}}, "a has the key 1 of type int"),
        ({None: 2}, "the key None"),
        (object(), "of type object"),
        ("\ud800", "lone surrogate"),
        ({"a\udcff": 1}, "lone surrogate"),
    ],
)
def test_what_is_no_value_is_refused_by_place_and_type(value: object, message: str) -> None:
    with pytest.raises(NotAValue, match=message):
        encode(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(NotAValue, match="contains itself"):
        encode(loop)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a":1,"b":2,"a":1}', "'a' stands twice"),
        ('[{"$x":1}]', r"'\$x' is reserved"),
        ('{"$float":"NaN"}', r"'\$float' is reserved"),
        ('{"$float":"nan","a":1}', r"'\$float' is reserved"),
        ('{"\\u0024x":1}', r"'\$x' is reserved"),
        ("1e400", "beyond the range"),
        ('"\\ud800"', "lone surrogate"),
        ("[" * 100_000, "nested too deeply"),
        (b'"\xff"', "not UTF-8"),
    ],
)
def test_json_that_is_no_value_is_not_read(text: str | bytes, message: str) -> None:
    with pytest.raises(NotAValue, match=message) as raised:
        decode(text)
    assert not isinstance(raised.value, NotJSON)


@pytest.mark.parametrize("text", ["", "NaN", "-Infinity", "[1,]", "{'a':1}", "1 2", "nul"])
def test_what_is_not_json_is_told_apart(text: str) -> None:
    with pytest.raises(NotJSON):
        decode(text)


def test_white_space_around_json_is_allowed() -> None:
    assert decode(' {"b" : [1, 2.0] ,\n "a": null}\n') == {"b": [1, 2.0], "a": None}


def test_json_of_other_programs_keeps_its_dollar_keys_and_its_nan() -> None:
    text = '{"$schema": "s", "$$b": -Infinity, "c": {"$float": "inf"}, "d": [NaN], "$blob": {"a": 1}}'
    value = read_json(text)
    assert encode(value) == (
        '{"$$$b":{"$float":"-inf"},"$$blob":{"a":1},"$$schema":"s","c":{"$float":"inf"},"d":[{"$float":"nan"}]}'
    )


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
