"""Durations and sizes: what is read, what is shown, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provrun.core.units import format_duration, format_size, parse_duration, parse_size
from provrun.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("2d", 172_800.0),
        ("1.5h", 5400.0),
        ("500ms", 0.5),
        ("1d2h3m4s", 93_784.0),
        ("00:10:00", 600.0),
        ("100:00:01", 360_001.0),
        ("1-00:00:30", 86_430.0),
        ("0:0:1.5", 1.5),
        ("45", 45.0),
        ("0.25", 0.25),
        (7200, 7200.0),
        (0.5, 0.5),
    ],
)
def test_a_duration_is_read_in_seconds(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "s", "5x", "1m1h", "1s1s", "-5", "1:30", "1:2:3:4", "nan", "inf", "1e3", "5 5", "٣s", True, -1, float("inf")],
)
def test_what_is_no_duration_is_refused_with_the_accepted_forms(text: str | float) -> None:
    with pytest.raises(UsageError, match="no duration") as raised:
        parse_duration(text)
    assert raised.value.value is text
    assert "HH:MM:SS" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4G", 4 * 2**30),
        ("512M", 512 * 2**20),
        ("100K", 102_400),
        ("1.5T", 3 * 2**39),
        ("2g", 2 * 2**30),
        ("4GiB", 4 * 2**30),
        ("4GB", 4 * 2**30),
        ("17", 17),
        ("17B", 17),
        ("9007199254740993", 9_007_199_254_740_993),
        (1024, 1024),
        (2e9, 2_000_000_000),
    ],
)
def test_a_size_is_read_in_bytes_by_powers_of_1024(text: str | float, size: int) -> None:
    found = parse_size(text)
    assert found == size
    assert type(found) is int


@pytest.mark.parametrize("text", ["", "G", "4X", "-1", "4 4", "1e9", "nan", True, -1, 0.5, float("nan")])
def test_what_is_no_size_is_refused_with_the_accepted_forms(text: str | float) -> None:
    with pytest.raises(UsageError, match="no size") as raised:
        parse_size(text)
    assert "512M" in str(raised.value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0001, "0.1ms"),
        (0.0123, "12ms"),
        (0.9999, "1s"),
        (4.256, "4.26s"),
        (59.96, "1m00s"),
        (90, "1m30s"),
        (3_599.6, "1h00m"),
        (7_500, "2h05m"),
        (86_399, "1d00h"),
        (273_600, "3d04h"),
    ],
)
def test_a_duration_is_shown_in_the_units_that_matter(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1023, "1023B"), (1024, "1K"), (1536, "1.5K"), (10**6, "977K"), (2**32, "4G"), (2**70, "1048576P")],
)
def test_a_size_is_shown_in_the_unit_that_fits(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.floats(0.001, 1e8))
def test_a_shown_duration_reads_back_within_its_precision(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=0.05)


@given(st.integers(0, 2**60))
def test_a_shown_size_reads_back_within_its_precision(size: int) -> None:
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.01)
