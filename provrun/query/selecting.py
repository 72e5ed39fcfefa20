"""Which tasks of a map a condition means: sieved by the database as far as it can, then looked at one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import cast

from provrun.core.answers import Shown
from provrun.core.canonical import Blob, Value
from provrun.core.conditions import MISSING, Condition, Missing
from provrun.core.nearest import suggestion
from provrun.core.records import MapRecord
from provrun.core.states import Outcome, State
from provrun.core.terms import And, Compare, Constant, Items, Name, Not, Operand, Or, Term
from provrun.errors import UsageError
from provrun.query.rows import FIELDS, Row, Rows, value
from provrun.query.sieving import LEFT_OUT, Sieving, having
from provrun.query.view import View

_WORDS = frozenset(word.word for word in (*State, *Outcome))
_BY_HEX = ("code", "environment")
_MOST_LOOKED_AT = 1000  # tasks of which one may have a key that a condition names


def select(
    view: View, map: MapRecord, where: Condition | None = None, *, state: State | None = None, artifacts: bool = True
) -> Iterator[Shown]:
    """Give the tasks of a map in a state for which a condition holds, by index.

    A name is a parameter, then a key of the result, then a field of the row. Raises `Unnamed` when nothing matches
    and a name was never found, with the nearest known one.
    """
    if where is None:
        yield from view.reads.stream(map.id, state=state, artifacts=artifacts)
        return
    names = Names(view, map, where)
    if map.total == 0:
        return
    found = False
    for shown in names.sieved(state):
        if names.hold(shown):
            found = True
            yield shown
    if not found:
        names.refuse_unknown()


class Unnamed(UsageError):
    """A condition speaks of something that no task has."""


class Names:
    """What the names in a condition stand for in one map."""

    def __init__(self, view: View, map: MapRecord, where: Condition) -> None:
        self._view = view
        self._map = map
        self._rows: Rows = view.rows(map)
        self._names = where.names()
        self._never_found = set(self._names)
        first = view.reads.shown(map.id, 0)
        params = value(first.task.params) if first is not None else {}
        self._params = (*map.own, *(name for name in cast("dict[str, object]", params) if name not in map.own))
        self._condition = Condition(where.text, _worded(where.term, _WORDS - {*self._params}))
        self._equal = self._condition.equalities()
        self._sieving = Sieving(view, map, self._params, self._shared)

    def sieved(self, state: State | None) -> Iterator[Shown]:
        """Give the tasks that the database cannot rule out."""
        sieve = self._sieving.of(self._condition.term)
        return self._view.reads.stream(self._map.id, state=state, sieve=sieve)

    def hold(self, shown: Shown) -> bool:
        """Tell whether the condition holds for a task; what it does not ask for is not made."""
        task = self._task(shown)

        def lookup(name: str) -> Value | Missing:
            found = self._find(task, name)
            if found is not MISSING:
                self._never_found.discard(name)
            return found

        return self._condition.evaluate(lookup)

    def refuse_unknown(self) -> None:
        """Raise `Unnamed` for a name that no task had."""
        for name in self._names:
            if name in self._never_found and not self._known(name):
                known = [*self._params, *FIELDS]
                raise Unnamed(
                    f"no task of {self._map.name} has anything named {name}", value=name,
                    next=suggestion(name, known, f"its parameters are {', '.join(self._params) or 'none'}"),
                )

    def _known(self, name: str) -> bool:
        if name in self._params or name in FIELDS or name.removeprefix("param.") in self._params:
            return True
        sieve = having(name.removeprefix("result."))
        candidates = islice(self._view.reads.stream(self._map.id, sieve=sieve), _MOST_LOOKED_AT + 1)
        for count, shown in enumerate(candidates):
            if count == _MOST_LOOKED_AT or self._find(self._task(shown), name) is not MISSING:
                return True
        return False

    def _task(self, shown: Shown) -> _Task:
        return _Task(self._rows, shown, self._view.result_text)

    def _find(self, task: _Task, name: str) -> Value | Missing:
        kind, _, rest = name.partition(".")
        if rest and kind == "param":
            return _dig(task.params, rest)
        if rest and kind == "result":
            return _dig(task.result, rest)
        if rest and kind == "tag":
            return self._map.tags.get(rest, MISSING)
        if name == "result":
            return cast("Value | Missing", task.row["result"])
        found = _dig(task.params, name)
        found = _dig(task.result, name) if found is MISSING else found
        if found is not MISSING or name not in FIELDS or name in LEFT_OUT:
            return found
        field = self._written(name, cast("Value", task.row[name]))
        return MISSING if field is None else field

    def _shared(self, context: int, name: str) -> Value:
        return self._written(name, cast("Value", self._rows.shared(context)[name]))

    def _written(self, name: str, field: Value) -> Value:
        """Give a digest as the condition writes it if it means this one: digests are known by their first digits."""
        wanted = self._equal.get(name)
        if name in _BY_HEX and isinstance(field, str) and isinstance(wanted, str):
            digits = wanted.partition(":")[2] or wanted
            if len(digits) >= 4 and (field.startswith(digits) or digits.startswith(field)):
                return wanted
        return field


class _Task:
    """A task seen by a condition: its parts, each made when first looked at."""

    __slots__ = ("_params", "_result", "_row", "_rows", "_shown", "_text")

    def __init__(self, rows: Rows, shown: Shown, text: Callable[[Shown], str | None]) -> None:
        self._rows = rows
        self._text = text
        self._shown = shown
        self._params: object = None
        self._result: object = MISSING
        self._row: Row | None = None

    @property
    def params(self) -> object:
        if self._params is None:
            self._params = value(self._shown.task.params)
        return self._params

    @property
    def result(self) -> object:
        if self._result is MISSING:
            text = self._text(self._shown)
            self._result = value(text) if text is not None else None
        return self._result

    @property
    def row(self) -> Row:
        if self._row is None:
            self._row = self._rows.row(self._shown)
        return self._row


def _worded(term: Term, words: frozenset[str]) -> Term:
    """Make text of what stands where text can stand and says how a task or attempt is: ``outcome = exit``."""
    match term:
        case Compare(left, sign, right):
            return Compare(left, sign, _as_text(right, words))
        case Not(inner):
            return Not(_worded(inner, words))
        case And(terms):
            return And(tuple(_worded(each, words) for each in terms))
        case Or(terms):
            return Or(tuple(_worded(each, words) for each in terms))


def _as_text(operand: Operand, words: frozenset[str]) -> Operand:
    match operand:
        case Name(name, word) if word and name in words:
            return Constant(name)
        case Items(items):
            return Items(tuple(_as_text(item, words) for item in items))
        case _:
            return operand


def _dig(held: object, name: str) -> Value | Missing:
    """Look a name up in an object; ``a.b`` is looked for as it stands, then step by step."""
    if not isinstance(held, Mapping) or isinstance(held, Blob):
        return MISSING
    if name in held:
        return cast("Value", held[name])
    first, dot, rest = name.partition(".")
    return _dig(held.get(first), rest) if dot else MISSING
