"""Axes: points that are the doubles nearest the exact value, and draws that belong to their seed."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provrun.core.axes import Axis, Normal, Uniform, axis_of, lin, log, steps
from provrun.errors import UsageError

NUMBERS = st.floats(-1e6, 1e6).map(lambda x: round(x, 6))


def numbers(axis: Axis) -> list[float]:
    texts = list(axis.texts())
    assert texts == [axis.text(index) for index in range(axis.size)]
    return [float(text) for text in texts]


def test_steps_are_the_doubles_nearest_the_decimal_points() -> None:
    assert numbers(steps("0", "1", "0.1")) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert list(steps("0", "1", "0.1").texts())[3] == "0.3"
    assert numbers(steps(1, 0, -0.25)) == [1.0, 0.75, 0.5, 0.25]
    assert len(numbers(steps("0", "1", "0.01"))) == 100


@pytest.mark.parametrize(
    ("start", "stop", "step", "size"),
    [
        ("0", "0.3", "0.1", 3),  # 3 * 0.1 in doubles lies beyond 0.3
        ("0", "1", "1e-1", 10),
        ("0", "0.9999999999999999999", "0.1", 10),
        ("0", "1.00000000000000000001", "0.5", 2),  # the third point rounds to the stop
        ("0", "1e-5", "1e-6", 10),
        ("5", "5", "1", 0),
        ("5", "1", "1", 0),
        ("1e15", "1000000000000001", "0.25", 4),
    ],
)
def test_the_stop_is_never_reached_also_by_rounding(start: str, stop: str, step: str, size: int) -> None:
    axis = steps(start, stop, step)
    assert axis.size == size
    assert all(point < float(stop) for point in numbers(axis))


@given(NUMBERS, NUMBERS, st.integers(1, 300).map(lambda n: n / 100), st.booleans())
def test_steps_never_reach_the_stop_and_leave_no_point_out(start: float, stop: float, step: float, down: bool) -> None:
    start, stop = (max(start, stop), min(start, stop)) if down else (min(start, stop), max(start, stop))
    stop = start + (stop - start) % 50 if not down else start - (start - stop) % 50
    axis = steps(start, stop, -step if down else step)
    points = numbers(axis)
    exact = [Fraction(repr(start)) + i * Fraction(repr(-step if down else step)) for i in range(axis.size + 1)]
    assert points == [float(point) for point in exact[:-1]]
    assert all((point > stop) if down else (point < stop) for point in points)
    assert (float(exact[-1]) <= stop) if down else (float(exact[-1]) >= stop)


@given(NUMBERS, NUMBERS, st.integers(1, 200))
def test_linear_points_are_nearest_the_exact_ones_with_both_ends(start: float, stop: float, n: int) -> None:
    first, last = Fraction(repr(start)), Fraction(repr(stop))
    points = numbers(lin(start, stop, n))
    assert points == [float(first + (last - first) * i / max(1, n - 1)) for i in range(n)]
    assert points[0] == start
    assert n == 1 or points[-1] == stop


@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300), st.integers(1, 60))
def test_logarithmic_points_are_nearest_the_exact_ones_with_both_ends(start: float, stop: float, n: int) -> None:
    points = numbers(log(start, stop, n))
    assert points[0] == start
    assert n == 1 or points[-1] == stop
    with localcontext(prec=1_000):
        first, last = Decimal(repr(start)), Decimal(repr(stop))
        for index, point in enumerate(points[1:-1], 1):
            exact = first ** (n - 1 - index) * last**index
            below, above = Decimal(math.nextafter(point, 0.0)), Decimal(math.nextafter(point, math.inf))
            assert ((below + Decimal(point)) / 2) ** (n - 1) <= exact <= ((above + Decimal(point)) / 2) ** (n - 1)


def test_powers_of_ten_on_a_logarithmic_axis_are_exact() -> None:
    assert numbers(log("1e-3", 1, 4)) == [0.001, 0.01, 0.1, 1.0]
    assert list(log("1e-10", "1e10", 21).texts()) == [repr(float(f"1e{power}")) for power in range(-10, 11)]
    assert numbers(log(1, 1024, 11)) == [2.0**power for power in range(11)]
    assert numbers(log(100, 1, 3)) == [100.0, 10.0, 1.0]


def test_python_and_the_shell_agree_on_points() -> None:
    assert list(lin(0.1, 0.7, 13).texts()) == list(lin("0.1", "0.7", 13).texts())
    assert list(log(0.3, 7, 9).texts()) == list(log("0.3", "7", 9).texts())
    assert list(lin(np.float64(0.1), np.int64(2), 5).texts()) == list(lin("0.1", "2", 5).texts())


def test_points_of_a_long_logarithmic_axis_do_not_drift() -> None:
    axis = log("1e-3", 1, 100_001)
    assert [text for index, text in enumerate(axis.texts()) if index % 9_973 == 0] == [
        axis.text(index) for index in range(0, axis.size, 9_973)
    ]


@given(NUMBERS, NUMBERS, st.integers(1, 100))
def test_an_axis_that_says_it_is_distinct_repeats_nothing(start: float, stop: float, n: int) -> None:
    axes: list[Axis] = [lin(start, stop, n), lin(start, start + 1e-14, n)]
    if start > 0 and stop > 0:
        axes += [log(start, stop, n), log(start, math.nextafter(start, 2 * start), n)]
    for axis in axes:
        assert not axis.distinct or len(set(axis.texts())) == axis.size


def test_ordinary_axes_are_known_to_be_distinct() -> None:
    assert all(
        axis.distinct for axis in (lin(0, 1, 10**7), log("1e-9", 1e9, 10**7), steps(0, 1, "1e-7"), axis_of(range(9)))
    )
    assert axis_of([1, 1.0, True]).distinct
    assert not axis_of([1, 2, 1]).distinct


@pytest.mark.parametrize(
    "call",
    [
        lambda: steps(0, 1, 0),
        lambda: steps(1, 2, "1e-17"),
        lambda: steps(0, "inf", 1),
        lambda: steps(0, "nan", 1),
        lambda: steps("0x1", 2, 1),
        lambda: steps(0, "1e999999999", 1),
        lambda: lin(0, 10**400, 5),
        lambda: lin(0, 1, 0),
        lambda: lin(0, 1, 2.5),  # type: ignore[arg-type]
        lambda: log(0, 1, 3),
        lambda: log(-1, 1, 3),
        lambda: log(1, "1e-390", 3),
        lambda: Uniform(1, 1),
        lambda: Uniform(0, math.inf),
        lambda: Normal(0, 0),
        lambda: Normal(math.nan, 1),
        lambda: axis_of(range(10**30)),
    ],
)
def test_an_axis_that_means_nothing_is_refused(call: object) -> None:
    assert callable(call)
    with pytest.raises(UsageError):
        call()


# What a seed draws is part of what users publish: it never changes.
def test_draws_are_pinned() -> None:
    assert [Uniform(0, 1).draw(7, "x", index) for index in range(3)] == [
        "0.14400433379494004",
        "0.6841118417070298",
        "0.7380957235772962",
    ]
    assert [Normal(0, 1).draw(7, "x", index) for index in range(3)] == [
        "0.659736917855944",
        "0.8967581364928511",
        "0.7183768518075575",
    ]


@given(st.integers(), st.integers(0, 10**9), NUMBERS, NUMBERS)
def test_uniform_draws_lie_within(seed: int, index: int, low: float, high: float) -> None:
    assume(low < high)
    assert low <= float(Uniform(low, high).draw(seed, "x", index)) < high


def test_uniform_draws_spread_evenly() -> None:
    draws = [float(Uniform(2, 4).draw(1, "x", index)) for index in range(4_000)]
    assert all(350 < sum(2 + bin / 5 <= draw < 2.2 + bin / 5 for draw in draws) < 450 for bin in range(10))


def test_normal_draws_follow_the_bell_curve() -> None:
    draws = sorted(float(Normal(3, 0.5).draw(1, "x", index)) for index in range(4_000))
    curve = NormalDist(3, 0.5)
    assert max(abs(curve.cdf(draw) - rank / 4_000) for rank, draw in enumerate(draws)) < 0.03
