"""What a page says of the values of parameters does not depend on the order in which they come."""

from __future__ import annotations

import math
import random

from provrun.core.canonical import encode
from provrun.export.parameters import Parameter

VALUES = [1, 1.0, 0, -0.0, 0.0, True, "1", None, math.nan, -math.inf, [1], {"a": 1.0}, 1.5]


def counted(values: list[object], most: int = 100) -> Parameter:
    found = Parameter(most)
    for value in values:
        found.add(value)
    return found


def told(values: list[object]) -> tuple[object, ...]:
    return said(counted(values))


def said(found: Parameter) -> tuple[object, ...]:
    return (
        found.count, found.distinct, found.kinds, encode(found.minimum), encode(found.maximum), found.non_finite,
        found.values(),
    )


def test_one_and_one_point_zero_and_both_zeros_are_values_of_their_own() -> None:
    assert told([1.0, 1]) == (2, 2, {"integer", "number"}, "1", "1", 0, ["1", "1.0"])
    assert told([0.0, -0.0, 0]) == (3, 3, {"integer", "number"}, "-0.0", "-0.0", 0, ["-0.0", "0", "0.0"])


def test_statistics_are_the_same_in_any_order() -> None:
    shuffled: list[object] = [*VALUES, *VALUES]
    first = told(shuffled)
    assert first[1] == len(VALUES)
    for seed in range(200):
        random.Random(seed).shuffle(shuffled)
        assert told(shuffled) == first


def test_statistics_of_parts_make_those_of_the_whole() -> None:
    values: list[object] = [*VALUES, *VALUES]
    for seed in range(200):
        random.Random(seed).shuffle(values)
        place, most = seed % len(values), 3 + seed % 12
        both = counted(values[:place], most)
        both.include(counted(values[place:], most))
        whole = counted(values, most)
        assert (said(both)[:-1], both.full) == (said(whole)[:-1], whole.full)
        assert whole.full or both.values() == whole.values()
