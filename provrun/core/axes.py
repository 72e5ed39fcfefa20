"""Axes: the values one parameter takes, as canonical texts, computed one by one and never all at once.

Points between two ends are the doubles nearest the exact value, so they do not depend on the machine, on how many
points there are before them, or on whether they were asked for in a shell or in Python.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Context, Decimal, InvalidOperation
from fractions import Fraction
from itertools import count
from json.encoder import encode_basestring
from struct import unpack
from typing import Protocol, TypeAlias, cast

from provrun.core.canonical import digest_text, encode, plain
from provrun.errors import UsageError

Number: TypeAlias = "int | float | str | Fraction"

_DIGITS = Context(prec=100)
"""Enough digits that ten million multiplications by a rounded ratio leave far more right than a double has."""
_SNAP = Context(prec=70)
"""Fewer than `_DIGITS`: brings a point with a short exact value, such as 0.01, back to that value."""
_LOG2 = 0.6931471805599453


class Axis(Protocol):
    """The values of one parameter: how many, whether surely no two are equal, and their canonical texts."""

    @property
    def size(self) -> int: ...

    @property
    def distinct(self) -> bool: ...

    def texts(self) -> Iterator[str]: ...

    def text(self, index: int) -> str: ...


class Single:
    """One value, also where a list would be swept: ``Single([1, 2])``."""

    def __init__(self, value: object) -> None:
        self.value = value


class Values:
    """The values of a list, in its order."""

    def __init__(self, values: Sequence[object]) -> None:
        self._texts = tuple(map(encode, values))
        self.size = len(self._texts)
        self.distinct = len(set(self._texts)) == self.size

    def texts(self) -> Iterator[str]:
        return iter(self._texts)

    def text(self, index: int) -> str:
        return self._texts[index]


class Integers:
    """The integers of Python's ``range``."""

    distinct = True

    def __init__(self, integers: range) -> None:
        self._integers = integers
        try:
            self.size = len(integers)
        except OverflowError:
            raise UsageError(f"{integers} has more than 2**63 points", value=str(integers)) from None

    def texts(self) -> Iterator[str]:
        return map(repr, self._integers)

    def text(self, index: int) -> str:
        return repr(self._integers[index])


class Even:
    """Evenly spaced doubles: point i is the double nearest ``start + i * step``, both exact fractions."""

    def __init__(self, start: Fraction, step: Fraction, size: int) -> None:
        # Over one denominator a point is a quotient of two integers, which Python rounds correctly and quickly.
        self._below = start.denominator * step.denominator
        self._first = start.numerator * step.denominator
        self._step = step.numerator * start.denominator
        self.size = size
        last = start + step * (size - 1)
        self.distinct = size < 2 or abs(step) > math.ulp(max(abs(_double(start)), abs(_double(last))))

    def texts(self) -> Iterator[str]:
        first, step, below = self._first, self._step, self._below
        return (repr((first + position * step) / below) for position in range(self.size))

    def text(self, index: int) -> str:
        return repr((self._first + range(self.size)[index] * self._step) / self._below)


class Geometric:
    """Doubles that grow by one ratio from ``start`` to ``stop``, both included and both positive."""

    def __init__(self, start: Fraction, stop: Fraction, size: int) -> None:
        self._start, self._stop = _decimal(start), _decimal(stop)
        self.size = size
        quotient = _DIGITS.divide(self._stop, self._start)
        self._growth = _DIGITS.divide(_DIGITS.ln(quotient), Decimal(max(1, size - 1)))
        normal = min(self._start, self._stop) > Decimal("1e-300")
        self.distinct = size < 2 or (normal and abs(self._growth) > Decimal("1e-15"))

    def texts(self) -> Iterator[str]:
        if self.size:
            ratio, point = _DIGITS.exp(self._growth), self._start
            for _ in range(self.size - 1):
                yield repr(float(_SNAP.plus(point)))
                point = _DIGITS.multiply(point, ratio)
            yield self.text(self.size - 1)

    def text(self, index: int) -> str:
        position = range(self.size)[index]
        if position and position == self.size - 1:
            return repr(float(self._stop))
        growth = _DIGITS.exp(_DIGITS.multiply(self._growth, Decimal(position)))
        return repr(float(_SNAP.plus(_DIGITS.multiply(self._start, growth))))


class Uniform:
    """A distribution to sample: every double in [low, high) equally likely by measure."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = float(low), float(high)
        if not (math.isfinite(self.high - self.low) and self.low < self.high):
            raise UsageError(f"uniform from {low} to {high}: the second must be larger, and both finite")

    def draw(self, seed: int, name: str, index: int) -> str:
        point = self.low + (self.high - self.low) * (random_words(seed, name, index)[0] >> 11) * 2.0**-53
        return repr(point if point < self.high else math.nextafter(self.high, self.low))


class Normal:
    """A distribution to sample: the bell curve around ``mean`` of standard deviation ``deviation``."""

    def __init__(self, mean: float, deviation: float) -> None:
        self.mean, self.deviation = float(mean), float(deviation)
        if not (math.isfinite(self.mean) and math.isfinite(self.deviation) and self.deviation > 0):
            raise UsageError(f"normal around {mean} with deviation {deviation}: the deviation must be positive")

    def draw(self, seed: int, name: str, index: int) -> str:
        for across, up in _points_of_square(seed, name, index):
            square = across * across + up * up
            if 0.0 < square < 1.0:  # the polar method of Marsaglia
                return repr(self.mean + self.deviation * (across * math.sqrt(-2.0 * _log(square) / square)))
        raise AssertionError("unreachable: the points never end")


Distribution: TypeAlias = "Uniform | Normal"


def random_words(seed: int, name: str, *index: int) -> tuple[int, int, int, int]:
    """Return the four random integers in [0, 2**64) that belong to these arguments, the same everywhere and always."""
    text = f"[{seed},{encode_basestring(name)},{','.join(map(repr, index))}]"
    return unpack(">4Q", digest_text("sample", text))


def _points_of_square(seed: int, name: str, index: int) -> Iterator[tuple[float, float]]:
    for attempt in count():
        words = random_words(seed, name, index, attempt)
        first, second, third, fourth = (word * 2.0**-63 - 1.0 for word in words)
        yield first, second
        yield third, fourth


def _log(x: float) -> float:
    # Sums and products alone, which are the same on every machine; the last bits of a C library's logarithm are not.
    mantissa, exponent = math.frexp(x)
    if mantissa < math.sqrt(0.5):
        mantissa, exponent = 2.0 * mantissa, exponent - 1
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    total = 0.0
    for odd in range(23, 0, -2):
        total = total * ratio * ratio + 1.0 / odd
    return 2.0 * ratio * total + exponent * _LOG2


def steps(start: Number, stop: Number, step: Number = 1) -> Even:
    """Return the doubles ``start``, ``start + step``, ... before ``stop``, which is never reached, also by rounding."""
    first, end, by = _exact(start), _exact(stop), _exact(step)
    if by == 0:
        raise UsageError("the step is 0")
    if abs(by) <= math.ulp(max(abs(_double(first)), abs(_double(end)))):
        raise UsageError(f"the step {step} is smaller than the distance between neighbouring doubles")
    size = max(0, math.ceil((end - first) / by))
    if size and _double(first + by * (size - 1)) == _double(end):
        size -= 1
    return Even(first, by, size)


def lin(start: Number, stop: Number, n: int) -> Even:
    """Return ``n`` evenly spaced doubles from ``start`` to ``stop``, both included."""
    first, last, count = _exact(start), _exact(stop), _count(n)
    _double(last)
    return Even(first, (last - first) / max(1, count - 1), count)


def log(start: Number, stop: Number, n: int) -> Geometric:
    """Return ``n`` doubles from ``start`` to ``stop``, both included and positive, each by one factor from the last."""
    first, last = _exact(start), _exact(stop)
    if first <= 0 or last <= 0 or _double(first) == 0.0 or _double(last) == 0.0:
        raise UsageError(f"log from {start} to {stop}: both ends must be positive", next="lin takes any ends")
    return Geometric(first, last, _count(n))


def axis_of(value: object) -> Axis:
    """Return the axis of what Python hands over as a parameter.

    An axis is itself; a range, list, tuple or one-dimensional array is swept; text, a dict, a scalar and a ``Single``
    are one value. Raises ``UsageError`` or ``NotAValue`` for anything else.
    """
    value = plain(value)
    if isinstance(value, Values | Integers | Even | Geometric):
        return value
    if isinstance(value, range):
        return Integers(value)
    if isinstance(value, list | tuple):
        return Values(value)
    if isinstance(value, Single):
        return Values([value.value])
    tolist = getattr(value, "tolist", None) or getattr(value, "to_list", None)
    if not callable(tolist):
        return Values([value])
    shape = getattr(value, "shape", (0,))
    if len(shape) != 1:
        raise UsageError(f"an array of shape {shape} cannot be swept", next="flatten it, or give rows")
    return Values(tolist())


def _exact(number: Number) -> Fraction:
    number = cast("Number", plain(number))
    if isinstance(number, float):
        number = repr(number)
    try:
        exact = Fraction(_short(number) if isinstance(number, str) else number)
        _double(exact)
    except (ValueError, TypeError, OverflowError, InvalidOperation):
        raise UsageError(f"{number!r} is no finite number", value=str(number)) from None
    return exact


def _short(text: str) -> Decimal:
    decimal = Decimal(text)
    if decimal and abs(decimal.adjusted()) > 400:  # no double, and its fraction could fill the memory
        raise OverflowError
    return decimal


def _double(exact: Fraction) -> float:
    return exact.numerator / exact.denominator


def _decimal(exact: Fraction) -> Decimal:
    return _DIGITS.divide(Decimal(exact.numerator), Decimal(exact.denominator))


def _count(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise UsageError(f"{n!r} is no number of points", value=n, next="give a whole number from 1 up")
    return n
