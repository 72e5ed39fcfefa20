"""Sieves as conditions of SQL, over ``task t`` and its shown ``attempt a``."""

from __future__ import annotations

import math

from provrun.core.sieves import All, Among, Any, Holds, Is, Number, Sieve, Within

_PLACES: dict[Within, str] = {"params": "t.params", "result": "a.result"}
_COLUMNS = {
    "state": "t.state + 0",  # the partial indices of states are in no order of index
    "index": "t.idx", "attempts": "t.attempts", "number": "a.number", "outcome": "a.outcome",
    "context": "a.context_id", "detail": "coalesce(a.detail, 0)", "wall": "a.wall", "cpu": "a.cpu",
    "max_rss": "a.max_rss",
}
_SIGNS = {"=": "=", "!=": "<>", "<=": "<=", ">=": ">="}
_NUL = "\\u0000"  # what PostgreSQL does not take in JSON
_LONGEST = 2_000  # characters that databases take as JSON: a thousand levels, the most SQLite reads, need more


def condition(sieve: Sieve, dialect: str) -> tuple[str, list[object]]:
    """Write a sieve in a dialect: the condition and the values of its marks."""
    match sieve:
        case Holds(within, texts):
            terms = [f"{_position(dialect)}({_PLACES[within]}, ?) > 0" for _ in texts]
            return f"({' or '.join([*terms, *_elsewhere(within, dialect)])})", list(texts)
        case Number(within, key, sign, bound):
            number, values = _number(_PLACES[within], key, sign, bound, dialect)
            return f"({' or '.join([number, *_elsewhere(within, dialect)])})", values
        case Is(column, sign, number):
            return f"{_COLUMNS[column]} {_SIGNS[sign]} {number:d}", []
        case Among(column, values):
            return f"{_COLUMNS[column]} in ({','.join(f'{value:d}' for value in values)})", []
        case All(sieves):
            return _joined(" and ", sieves, dialect)
        case Any(()):
            return "1 = 0", []
        case Any(sieves):
            return _joined(" or ", sieves, dialect)


def _joined(word: str, sieves: tuple[Sieve, ...], dialect: str) -> tuple[str, list[object]]:
    written = [condition(sieve, dialect) for sieve in sieves]
    return f"({word.join(text for text, _ in written)})", [value for _, values in written for value in values]


def _position(dialect: str) -> str:
    return "instr" if dialect == "sqlite" else "strpos"


def _elsewhere(within: Within, dialect: str) -> list[str]:
    """Let results pass that are JSON kept elsewhere."""
    place = f"{_position(dialect)}(a.result,"
    return [f"""{place} '{{"$blob":') = 1 and {place} '"format":"json"') > 0"""] if within == "result" else []


def _number(place: str, key: str, sign: str, bound: float, dialect: str) -> tuple[str, list[object]]:
    if dialect == "sqlite":
        # SQLite orders text, arrays and objects behind all numbers.
        beyond = ">= ?" if sign == ">=" else "not between ? and 9e999"
        values = [f'$."{key}"', bound if sign == ">=" else math.nextafter(bound, math.inf)]
        return f"case when length({place}) > {_LONGEST} then true else json_extract({place}, ?) {beyond} end", values
    found = f"cast({place} as json) -> cast(? as text)"
    return (
        f"case when length({place}) > {_LONGEST} or strpos({place}, '{_NUL}') > 0 then true"
        f" else case coalesce(json_typeof({found}), 'null') when 'null' then false"
        f" when 'number' then cast(cast({found} as text) as numeric) {sign} cast(? as numeric) else true end end",
        [key, key, bound],
    )
