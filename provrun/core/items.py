"""Values as people type them: JSON, else text."""

from __future__ import annotations

import json
import re

from provrun.core.canonical import NotJSON, Value, decode, encode

_JSON = json.JSONDecoder()
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?(e-?[0-9]{1,2})?", re.IGNORECASE)
_JSON_BEGINS = frozenset('"[{tfn-0123456789 \t\r\n')


def item_value(text: str) -> Value:
    """Return the value of one typed item: what its JSON says, else the text itself without white space around it.

    Raises ``NotAValue`` for JSON that is no value, such as 1e400 or an object with a key given twice.
    """
    try:
        return decode(text)
    except NotJSON:
        return text.strip()


def item_text(text: str) -> str:
    """Return the canonical text of ``item_value(text)``, quickly for ordinary numbers and words."""
    if number := _NUMBER.fullmatch(text):
        return repr(float(text)) if number.lastindex else repr(int(text))
    return encode(text.strip() if text[:1] not in _JSON_BEGINS else item_value(text))


def split_items(text: str) -> list[str]:
    """Split at the commas that are not inside a JSON value: ``a,[1,2],"b,c"`` gives three items."""
    items, start = [], 0
    while True:
        end = _end_of_item(text, start)
        items.append(text[start:end])
        if end == len(text):
            return items
        start = end + 1


def _end_of_item(text: str, start: int) -> int:
    first = _after_space(text, start)
    if text.startswith(('"', "[", "{"), first):
        try:
            end = _after_space(text, _JSON.raw_decode(text, first)[1])
        except (ValueError, RecursionError):
            end = first
        if end == len(text) or text[end] == ",":
            return end
    comma = text.find(",", start)
    return len(text) if comma < 0 else comma


def _after_space(text: str, start: int) -> int:
    end = start
    while end < len(text) and text[end].isspace():
        end += 1
    return end
