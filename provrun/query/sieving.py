"""What a database can leave out for a condition: from its terms to a sieve."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from provrun.core.canonical import Value, encode
from provrun.core.records import MapRecord
from provrun.core.sieves import NONE, Among, Column, Holds, Is, Number, Sieve, Within, both, either
from provrun.core.states import Outcome, State
from provrun.core.terms import MISSING, And, Compare, Constant, Items, Missing, Name, Operand, Or, Term
from provrun.query.rows import FIELDS
from provrun.query.view import View

LEFT_OUT = ("params", "result", "outputs", "defaults")
"""Fields of a row that are no single value, so that no condition finds them by their own name."""
_SWAPPED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_OF_CONTEXTS = ("node", "job", "code", "environment")
_COUNTED: dict[str, tuple[Column, float]] = {
    "index": ("index", 1), "attempts": ("attempts", 1), "attempt": ("number", 1), "exit": ("detail", 1),
    "signal": ("detail", 1), "seconds": ("wall", 1e6), "cpu_seconds": ("cpu", 1e6), "max_rss": ("max_rss", 1 / 1024),
}
_MOST = 500  # circumstances that are listed in a statement
_SLACK = 1e-9  # by so much, relatively, a database may read a number differently
Holding: TypeAlias = "Callable[[Value], bool]"


class Sieving:
    """Makes the sieves of conditions about one map.

    ``params`` are the names of its tasks' parameters; ``shared`` gives a field of a row that attempts have of their
    circumstances (by id).
    """

    def __init__(
        self, view: View, map: MapRecord, params: Collection[str], shared: Callable[[int, str], Value]
    ) -> None:
        self._view = view
        self._map = map
        self._params = params
        self._shared = shared

    def of(self, term: Term) -> Sieve | None:
        """Give what lets all tasks pass for which a term holds; None if that may be any."""
        match term:
            case And(terms):
                return both([self.of(each) for each in terms])
            case Or(terms):
                return either([self.of(each) for each in terms])
            case Compare(Name(name), sign, right):
                return self._compared(name, sign, right)
            case Compare(left, sign, Name(name)) if sign in _SWAPPED and not term.evaluate(lambda asked: MISSING):
                return self._compared(name, _SWAPPED[sign], left)  # where it names nothing it is no text that fits
            case _:
                return None

    def _compared(self, name: str, sign: str, right: Operand) -> Sieve | None:
        if sign == "in" and isinstance(right, Items):
            return either([self._compared(name, "=", item) for item in right.items])
        named = [self._named(each) for each in (right.items if isinstance(right, Items) else (right,))]
        if None in named:
            return None
        term = Compare(Name(name), sign, right)

        def holds(value: Value) -> bool:
            return term.evaluate(lambda asked: value if asked == name else MISSING)

        wanted = right.value if isinstance(right, Constant) else right.name if isinstance(right, Name) else MISSING
        return either([self._looked_up(name, sign, wanted, holds), *named])

    def _named(self, operand: Operand) -> Sieve | None:
        """Give where an operand is not what is written: nowhere, where results have a key of its name, or anywhere."""
        if isinstance(operand, Constant):
            return NONE
        if not isinstance(operand, Name) or not operand.word or operand.name in self._params or operand.name in FIELDS:
            return None
        return having(operand.name)

    def _looked_up(self, name: str, sign: str, wanted: Value | Missing, holds: Holding) -> Sieve | None:
        if name in self._params:
            return _held("params", name, sign, wanted)
        kind, dot, key = name.partition(".")
        if dot and kind == "tag":
            return None if key in self._map.tags and holds(self._map.tags[key]) else NONE
        if kind == "param" and dot:
            return _held("params", key, sign, wanted) if "." not in key else None
        if kind == "result" and dot:
            return self._in_result(key, sign, wanted)
        if name == "result" or (dot and kind in self._params):
            return None
        in_result = self._in_result(name, sign, wanted)
        if name not in FIELDS or name in LEFT_OUT:
            return in_result
        return either([in_result, self._field(name, sign, wanted, holds)])

    def _in_result(self, key: str, sign: str, wanted: Value | Missing) -> Sieve | None:
        return (None if "." in key else _held("result", key, sign, wanted)) or having(key)

    def _field(self, name: str, sign: str, wanted: Value | Missing, holds: Holding) -> Sieve | None:
        if name == "state":
            return _among("state", [state for state in State if holds(state.word)])
        if name == "outcome":
            return _among("outcome", [outcome for outcome in Outcome if holds(outcome.word)])
        if name == "map":
            return None if holds(self._map.name) else NONE
        if name == "stale":
            return None if holds(False) else self._stale() if holds(True) else NONE
        if name in _OF_CONTEXTS:
            contexts = self._contexts()
            passing = [id for id in contexts if holds(self._shared(id, name))]
            return _among("context", passing) if len(passing) <= _MOST else None
        if name in _COUNTED and not isinstance(wanted, Missing):
            return _counted(*_COUNTED[name], sign, wanted)
        return None

    def _stale(self) -> Sieve | None:
        """Give which results may be stale; None where that is told task by task."""
        if any("{" in path for path in self._map.recipe.inputs):
            return None
        suspects = self._view.staleness(self._map).suspects(self._contexts())
        return _among("context", suspects) if suspects is not None and len(suspects) <= _MOST else None

    def _contexts(self) -> list[int]:
        contexts = {tally.context for tally in self._view.reads.tallies(self._map.id)}
        self._view.contexts.load(contexts)
        return sorted(contexts)


def having(key: str) -> Sieve:
    """Let pass whose result may have a key; ``a.b`` is one, or one within another."""
    return Holds("result", tuple(f"{encode(name)}:" for name in dict.fromkeys((key, key.partition(".")[0]))))


def texts(name: str, value: object) -> list[str]:
    """Give the texts of which one must stand in canonical JSON that holds this value; none if that says little."""
    values: list[Value]
    if isinstance(value, str | bool | None):
        values = [value]
    elif isinstance(value, int | float):
        values = [value, -0.0] if value == 0 else [value]
        if not abs(value) < 2**53:  # what is equal by value has too many forms
            return []
        values += [float(value), *([int(value)] if float(value).is_integer() else [])]
    else:
        return []
    return sorted({encode({name: each})[1:-1] for each in values})


def _held(within: Within, key: str, sign: str, wanted: Value | Missing) -> Sieve | None:
    if isinstance(wanted, Missing) or sign in ("!=", "in", "not in"):
        return None
    known = texts(key, wanted) if sign == "=" else []
    if known:
        return Holds(within, tuple(known))
    bound = _finite(wanted)
    if bound is None:
        return None
    slack = abs(bound) * _SLACK + 1e-300
    most, least = Number(within, key, "<=", bound + slack), Number(within, key, ">=", bound - slack)
    return both([most, least]) if sign == "=" else most if sign in ("<", "<=") else least


def _counted(column: Column, scale: float, sign: str, wanted: Value) -> Sieve | None:
    """Compare a column of integers with a number in other units; a unit is granted where it is not one to one."""
    bound = _finite(wanted)
    if bound is None or abs(bound) * scale > 2**53:
        return None
    grant = 0 if scale == 1 else 1
    at_most = Is(column, "<=", math.floor(bound * scale) + grant)
    at_least = Is(column, ">=", math.ceil(bound * scale) - grant)
    match sign:
        case "<" | "<=":
            return at_most
        case ">" | ">=":
            return at_least
        case "=":
            return both([at_most, at_least])
        case "!=" if scale == 1 and bound.is_integer():
            return Is(column, "!=", int(bound))
        case _:
            return None


def _finite(value: Value) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(float(value) * (1 + _SLACK)) else None
    except OverflowError:
        return None


def _among(column: Column, values: Sequence[int]) -> Sieve:
    return Among(column, tuple(values)) if values else NONE
