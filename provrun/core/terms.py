"""What conditions are made of, and when they hold; the grammar and the rules stand in `conditions`."""

from __future__ import annotations

import enum
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from provrun.core.canonical import Value, plain


class Missing(enum.Enum):
    """The type of ``MISSING``, what a lookup gives for a name without a value."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING
Lookup: TypeAlias = "Callable[[str], Value | Missing]"


class Name(msgspec.Struct, frozen=True):
    """A value looked up; ``word`` when it stands where text could stand too."""

    name: str
    word: bool = False

    def get(self, lookup: Lookup) -> Value | Missing:
        """Return the value of the name."""
        found = lookup(self.name)
        return self.name if found is MISSING and self.word else found


class Constant(msgspec.Struct, frozen=True):
    """A value written down."""

    value: Value

    def get(self, lookup: Lookup) -> Value | Missing:
        """Return the value."""
        return self.value


class Items(msgspec.Struct, frozen=True):
    """A list of operands."""

    items: tuple[Operand, ...]

    def get(self, lookup: Lookup) -> Value | Missing:
        """Return the list of the values that are not missing."""
        values = [item.get(lookup) for item in self.items]
        return [value for value in values if not isinstance(value, Missing)]


class Compare(msgspec.Struct, frozen=True):
    """Two operands compared."""

    left: Operand
    sign: str
    right: Operand

    def evaluate(self, lookup: Lookup) -> bool:
        """Say whether the comparison holds."""
        left, right = self.left.get(lookup), self.right.get(lookup)
        if isinstance(left, Missing) or isinstance(right, Missing):
            return False
        return _SIGNS[self.sign](plain(left), plain(right))


class Not(msgspec.Struct, frozen=True):
    """What does not hold."""

    term: Term

    def evaluate(self, lookup: Lookup) -> bool:
        """Say whether the term does not hold."""
        return not self.term.evaluate(lookup)


class And(msgspec.Struct, frozen=True):
    """What holds together."""

    terms: tuple[Term, ...]

    def evaluate(self, lookup: Lookup) -> bool:
        """Say whether all terms hold."""
        return all(term.evaluate(lookup) for term in self.terms)


class Or(msgspec.Struct, frozen=True):
    """What holds in one way or another."""

    terms: tuple[Term, ...]

    def evaluate(self, lookup: Lookup) -> bool:
        """Say whether any term holds."""
        return any(term.evaluate(lookup) for term in self.terms)


Operand: TypeAlias = "Name | Constant | Items"
Term: TypeAlias = "Compare | Not | And | Or"


def equal(left: object, right: object) -> bool:
    """Say whether two values are equal: numbers by value, not a number equal to itself, kinds never mixed."""
    kind = _kind(left)
    if kind != _kind(right):
        return False
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if kind == "list" and isinstance(left, Sequence) and isinstance(right, Sequence):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return left == right


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, Mapping):
        return "object"
    return "null" if value is None else "list"


def _ordering(holds: Callable[[Any, Any], bool]) -> Callable[[object, object], bool]:
    def compare(left: object, right: object) -> bool:
        kind = _kind(left)
        return kind == _kind(right) and kind in ("number", "text") and holds(left, right)

    return compare


def _contains(left: object, right: object) -> bool | None:
    if isinstance(right, str):
        return left in right if isinstance(left, str) else None
    return any(equal(left, item) for item in right) if isinstance(right, Sequence) else None


_SIGNS: dict[str, Callable[[object, object], bool]] = {
    "=": equal,
    "!=": lambda left, right: not equal(left, right),
    "<": _ordering(operator.lt),
    "<=": _ordering(operator.le),
    ">": _ordering(operator.gt),
    ">=": _ordering(operator.ge),
    "in": lambda left, right: _contains(left, right) is True,
    "not in": lambda left, right: _contains(left, right) is False,
}
