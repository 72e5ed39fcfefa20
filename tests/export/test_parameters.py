"""What a page says of the values of parameters does not depend on the order in which they come."""

from __future__ import annotations

import math
import random

from provrun.core.canonical import encode
from provrun.export.parameters import Parameter

VALUES = [1, 1.0, 0, -0.0, 0.0, True, "1", None, math.nan, -math.inf, [1], {"a": 1.0}, 1.5]


def told(values: list[object]) -> tuple[object, ...]:
    found = Parameter()
    for value in values:
        found.add(value)
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
