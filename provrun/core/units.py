"""Durations and sizes as people write them."""

from __future__ import annotations

import math
import re

from provrun.errors import UsageError

_SECONDS: dict[str, float] = {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": 0.001}
_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_PART = re.compile(rf"\s*({_NUMBER})\s*(ms|[dhms])", re.IGNORECASE | re.ASCII)
_PLAIN = re.compile(rf"\s*({_NUMBER})\s*", re.ASCII)
_CLOCK = re.compile(r"\s*(?:(\d+)-)?(\d+):(\d{1,2}):(\d{1,2}(?:\.\d*)?)\s*", re.ASCII)
_SIZE = re.compile(rf"\s*({_NUMBER})\s*(?:([kmgtp]?)(?:i?b)?)\s*", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}

_DURATIONS = "write a duration as 90s, 1h30m, 2d, HH:MM:SS or a number of seconds"
_SIZES = "write a size as 4G, 512M, 100K (powers of 1024) or a number of bytes"


def parse_duration(duration: str | float) -> float:
    """Return the seconds of ``90s``, ``1h30m``, ``2d``, ``500ms``, ``HH:MM:SS``, ``D-HH:MM:SS`` or a plain number."""
    seconds = _duration(duration)
    if seconds is None:
        raise UsageError(f"{duration!r} is no duration", value=duration, next=_DURATIONS)
    return seconds


def parse_size(size: str | float) -> int:
    """Return the bytes of ``4G``, ``512M``, ``1.5T``, ``100KiB`` (all powers of 1024) or of a number of bytes."""
    found = _size(size)
    if found is None:
        raise UsageError(f"{size!r} is no size", value=size, next=_SIZES)
    return found


def format_duration(seconds: float) -> str:
    """Return ``seconds`` in the two largest units that matter: ``12ms``, ``4.25s``, ``1m30s``, ``2h05m``, ``3d04h``."""
    if seconds < 0.9995:
        return f"{round(seconds * 1000, 1 if seconds < 0.01 else 0):g}ms"
    if seconds < 59.95:
        return f"{seconds:.3g}s"
    whole = round(seconds)
    if whole < 3_600:
        return f"{whole // 60}m{whole % 60:02d}s"
    minutes = round(seconds / 60)
    if minutes < 1_440:
        return f"{minutes // 60}h{minutes % 60:02d}m"
    hours = round(seconds / 3_600)
    return f"{hours // 24}d{hours % 24:02d}h"


def format_size(size: float) -> str:
    """Return ``size`` bytes with three digits and the unit that fits: ``512B``, ``1.5K``, ``4G``."""
    amount, unit = float(size), "B"
    for larger in "KMGTP":
        if amount < 1023.5:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.3g}{unit}" if amount < 99.95 else f"{amount:.0f}{unit}"


def _duration(duration: object) -> float | None:
    if isinstance(duration, bool):
        return None
    if isinstance(duration, int | float):
        return float(duration) if math.isfinite(duration) and duration >= 0 else None
    if not isinstance(duration, str):
        return None
    if plain := _PLAIN.fullmatch(duration):
        return float(plain[1])
    if clock := _CLOCK.fullmatch(duration):
        days, hours, minutes, seconds = clock.groups(default="0")
        return int(days) * 86_400 + int(hours) * 3_600 + int(minutes) * 60 + float(seconds)
    return _parts(duration)


def _parts(duration: str) -> float | None:
    total, smallest, position = 0.0, math.inf, 0
    text = duration.rstrip()
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            return None
        unit = _SECONDS[part[2].lower()]
        if unit >= smallest:  # 1m1h, 1s1s
            return None
        total, smallest, position = total + float(part[1]) * unit, unit, part.end()
    return total if position else None


def _size(size: object) -> int | None:
    if isinstance(size, bool):
        return None
    if isinstance(size, int | float):
        return int(size) if math.isfinite(size) and size >= 0 and size == int(size) else None
    if not isinstance(size, str) or not (match := _SIZE.fullmatch(size)):
        return None
    amount, factor = match[1], 1 << 10 * _POWERS[match[2].lower()]
    return int(amount) * factor if amount.isdigit() else round(float(amount) * factor)
