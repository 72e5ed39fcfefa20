"""The one canonical encoding of values, and the digests made from it.

A value is what JSON can say, with its types kept: 1, 1.0, true and "1" are four values. Equal values have equal
canonical text on every machine, so the text serves as identity. The rules: no spaces, keys sorted by code point and
never twice, only ``"``, ``\\`` and U+0000 to U+001F escaped, integers of any size, floats as Python's ``repr``, NaN and
the infinities as ``{"$float":"nan"|"inf"|"-inf"}``, and one more ``$`` before every key that begins with ``$``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from json.encoder import encode_basestring
from operator import itemgetter
from typing import NoReturn, TypeAlias, cast

import msgspec

from provrun.errors import UsageError

Value: TypeAlias = "bool | int | float | str | Sequence[Value] | Mapping[str, Value] | None"

_SCALARS = frozenset((str, int, float, bool, type(None)))
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_CONSTANTS = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
_TAG = re.compile(r"[a-z][a-z0-9-]*")


class Blob(dict[str, "Value"]):
    """What stands in a result for content kept elsewhere; its canonical text is ``{"$blob":{...}}``."""


class NotAValue(UsageError):
    """Something cannot be written as a value, or some text is no canonical value."""

    code = "invalid"


class NotJSON(NotAValue):
    """Some text is not JSON at all."""


def encode(value: object) -> str:
    """Return the canonical JSON text of ``value``.

    numpy scalars (anything with ``item()`` and the shape ``()``) count as the Python value they hold. Raises
    ``NotAValue``, naming the place and the type, for anything that is no value.
    """
    try:
        text = _write(value, "") if type(value) in _SCALARS or not _is_plain(value) else _encode_plain(value)
    except ValueError:  # not finite, or an int of more digits than Python turns into text
        text = _write(value, "")
    except RecursionError:
        raise NotAValue("the value is nested too deeply, or contains itself") from None
    if not text.isascii():
        _refuse_surrogates(text)
    return text


def decode(text: str | bytes) -> Value:
    """Return the value that ``text`` is the JSON of, undoing what ``encode`` does to ``$`` and to floats.

    White space and any order of keys are accepted. ``NotAValue`` is raised for a key given twice, for a key that begins
    with a single ``$`` (but ``$float`` and ``$blob``) and for numbers beyond the range of doubles, ``NotJSON`` for what
    is not JSON.
    """
    return _decode(text, _CANONICAL)


def decode_canonical(text: bytes) -> Value:
    """Return the value that ``text`` is the canonical JSON of; `NotAValue` where it is in another form, or none."""
    try:
        # Without a `$` before a key, what comes out as it went in is canonical: msgspec writes all but floats as
        # `encode` does, and of those none is read that stands otherwise.
        if b'"$' not in text:
            value = _EXACT.decode(text)
            if _SORTED.encode(value) == text:
                return cast("Value", value)
    except (ValueError, RecursionError):
        pass  # `decode` says what is wrong, if anything is
    read = decode(text)
    if encode(read).encode() != text:
        raise NotAValue("it is not in canonical form")
    return read


def read_json(text: str | bytes) -> Value:
    """Return the value of JSON text that some other program wrote.

    As ``decode``, but ``NaN``, ``Infinity`` and ``-Infinity`` are numbers, and keys that begin with ``$`` are taken as
    they are; only ``{"$float":"nan"}`` and its like stay floats.
    """
    return _decode(text, _FOREIGN)


def plain(value: object) -> object:
    """Return the Python value a numpy scalar holds, and anything else as it is."""
    if type(value) in _SCALARS or getattr(value, "shape", None) != ():
        return value
    item = cast("Callable[[], object]", getattr(value, "item", lambda: value))
    return item()


def digest(tag: str, value: object) -> bytes:
    """Return the 32 bytes of ``sha256(tag || 0x00 || canonical text of value)``."""
    return digest_text(tag, encode(value))


def digest_text(tag: str, canonical_text: str) -> bytes:
    """Return the digest of a value whose canonical text is at hand: ``digest(tag, value)`` without encoding again."""
    return sha256(_prefix(tag) + canonical_text.encode()).digest()


@lru_cache(maxsize=64)
def _prefix(tag: str) -> bytes:
    if not _TAG.fullmatch(tag):
        raise ValueError(f"a digest's tag is lower-case ASCII, not {tag!r}")
    return tag.encode("ascii") + b"\0"


# Writing. The C encoder agrees with `_write` on everything `_is_plain` lets through, and is ten times as fast.

_encode_plain = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode


def _is_plain(value: object) -> bool:
    kind = type(value)
    if kind is dict:
        for key, item in cast("dict[object, object]", value).items():
            if type(key) is not str or key[:1] == "$" or (type(item) not in _SCALARS and not _is_plain(item)):
                return False
        return True
    if kind is list or kind is tuple:
        return all(type(item) in _SCALARS or _is_plain(item) for item in cast("Sequence[object]", value))
    return kind in _SCALARS


def _write(value: object, path: str) -> str:
    value = plain(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, int):
        return _digits(value)
    if isinstance(value, float):
        return float.__repr__(value) if math.isfinite(value) else f'{{"$float":"{float.__repr__(value)}"}}'
    if isinstance(value, Blob):
        return '{"$blob":' + _write_object(value, path) + "}"
    if isinstance(value, dict):
        return _write_object(value, path)
    if isinstance(value, list | tuple):
        return "[" + ",".join([_write(item, f"{path}[{position}]") for position, item in enumerate(value)]) + "]"
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    raise NotAValue(
        f"{_place(path)} is of type {name}, which is no value",
        value=name,
        next="values are null, true, false, numbers, text, lists, and objects whose keys are text",
    )


def _write_object(value: Mapping[object, object] | Blob, path: str) -> str:
    members = []
    for key in value:
        if not isinstance(key, str):
            kind = type(key).__qualname__
            raise NotAValue(f"{_place(path)} has the key {key!r} of type {kind}; keys are text", value=key)
        name = str.__str__(key)
        members.append(("$" + name if name[:1] == "$" else name, value[key]))
    members.sort(key=itemgetter(0))
    written = [f"{encode_basestring(key)}:{_write(item, f'{path}.{key}')}" for key, item in members]
    return "{" + ",".join(written) + "}"


def _digits(number: int) -> str:
    try:
        return int.__repr__(number)
    except ValueError:  # beyond sys.get_int_max_str_digits(), a global that is not ours to change
        from decimal import Decimal

        return str(Decimal(int(number)))


def _place(path: str) -> str:
    return path.removeprefix(".") or "the value"


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = ascii(text[error.start])[1:-1]
        around = ascii(text[max(0, error.start - 20) : error.end + 20])
        message = f"text holds the lone surrogate {found}, which is no character, in {around}"
        raise NotAValue(message, value=found) from None


# Reading.


def _exact_float(number: str) -> float:
    value = float(number)
    if float.__repr__(value) != number:
        raise ValueError(number)
    return value


_EXACT = msgspec.json.Decoder(float_hook=_exact_float)
_SORTED = msgspec.json.Encoder(order="sorted")


def _float(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise NotAValue(f"{number} is beyond the range of a double", value=number)
    return value


def _int(digits: str) -> int:
    from decimal import Decimal

    return int(Decimal(digits))


def _object(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise NotAValue(f"the key {twice!a} stands twice in one object", value=twice)
    return value


def _special(value: dict[str, Value]) -> Value:
    if len(value) == 1 and isinstance(text := value.get("$float"), str):
        return _NOT_FINITE.get(text, value)
    return value


def _canonical_object(pairs: list[tuple[str, Value]]) -> Value:
    value = _object(pairs)
    for key in value:
        if key[:1] == "$":
            return _reserved_object(value)
    return value


def _reserved_object(value: dict[str, Value]) -> Value:
    if (special := _special(value)) is not value:
        return special
    if len(value) == 1 and isinstance(blob := value.get("$blob"), dict):
        return Blob(blob)
    for key in value:
        if key[:1] == "$" and key[:2] != "$$":
            raise NotAValue(f"the key {key!a} is reserved", value=key, next=f"write it {'$' + key!a}")
    return {key.removeprefix("$"): item for key, item in value.items()}


def _foreign_object(pairs: list[tuple[str, Value]]) -> Value:
    return _special(_object(pairs))


def _no_constant(name: str) -> NoReturn:
    raise NotJSON(f"{name} is not JSON", value=name, next=f'write {{"$float":"{_CONSTANTS[name]}"}}')


def _constant(name: str) -> float:
    return _NOT_FINITE[_CONSTANTS[name]]


class _Dialect:
    """The decoders of one dialect: a quick one, and one for integers of more digits than Python reads."""

    def __init__(self, objects: Callable[[list[tuple[str, Value]]], Value], constant: Callable[[str], float]) -> None:
        self.quick = json.JSONDecoder(object_pairs_hook=objects, parse_float=_float, parse_constant=constant)
        self.patient = json.JSONDecoder(
            object_pairs_hook=objects, parse_float=_float, parse_constant=constant, parse_int=_int
        )


_CANONICAL = _Dialect(_canonical_object, _no_constant)
_FOREIGN = _Dialect(_foreign_object, _constant)


def _decode(text: str | bytes, dialect: _Dialect) -> Value:
    if not isinstance(text, str):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise NotAValue(f"byte {error.start + 1} is not UTF-8", value=text[error.start : error.end]) from None
    try:
        value = _scan(text, dialect)
    except json.JSONDecodeError as error:
        raise NotJSON(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}", value=text) from None
    except RecursionError:
        raise NotAValue("the JSON is nested too deeply") from None
    if "\\u" in text or not text.isascii():
        encode(value)  # which refuses lone surrogates
    return value


def _scan(text: str, dialect: _Dialect) -> Value:
    try:
        value, end = dialect.quick.raw_decode(text)
        return cast("Value", value if end == len(text) else dialect.quick.decode(text))
    except json.JSONDecodeError:
        return cast("Value", dialect.quick.decode(text))  # which allows white space at the start
    except ValueError:  # a long integer
        return cast("Value", dialect.patient.decode(text))
