"""Parameter texts cut into members and put together again, without decoding a value: 1 stays 1 and 1.0 stays 1.0."""

from __future__ import annotations

from collections.abc import Sequence
from json.encoder import encode_basestring

import msgspec

from provrun.errors import InvalidInput

Members = dict[str, str]
"""Of a canonical object, the text of each member by its name."""

_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def members(text: str) -> Members:
    """Cut the canonical text of an object into its members."""
    return {name: f"{encode_basestring(name)}:{bytes(value).decode()}" for name, value in _decoder.decode(text).items()}


def merged(inherited: Members, own: Members) -> str:
    """Put the members of two objects into one canonical text; a name that stands in both is refused."""
    twice = sorted(inherited.keys() & own.keys())
    if twice:
        raise InvalidInput("parameters", [f"{name} is a parameter of the map it builds on already" for name in twice])
    both = inherited | own
    return "{" + ",".join([both[name] for name in sorted(both)]) + "}"


def chosen(text: str, names: Sequence[str]) -> str:
    """Give the canonical text of an object reduced to some of its members."""
    found = _decoder.decode(text)
    missing = [name for name in names if name not in found]
    if missing:
        raise InvalidInput("groups", [f"the task with parameters {text} has no parameter {name}" for name in missing])
    return "{" + ",".join([f"{encode_basestring(name)}:{bytes(found[name]).decode()}" for name in sorted(names)]) + "}"
