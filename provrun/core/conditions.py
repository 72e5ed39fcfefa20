"""Conditions: which tasks are meant by ``x > 0.5 and state = 'failed'``.

The grammar, loosest first::

    either      both ("or" both)*
    both        negated ("and" negated)*
    negated     "not" negated | comparison
    comparison  operand [("=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | ["not"] "in") operand]  |  "(" either ")"
    operand     name | number | "text" | 'text' | true | false | null | nan | inf | -inf | list
    list        "[" operand ("," operand)* "]"  |  "(" operand ("," operand)* ")"

Numbers compare by value (1 equals 1.0, nan equals nan), text by code point. Values of different kinds are never equal
and have no order. A comparison with something missing is false, ``!=`` included; ``not x = 1`` also holds where ``x``
is missing. A name alone asks whether it is true. A bare word to the right of an operator that names nothing is text:
``state = failed``. ``in`` looks for a value in a list, or for text in text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, NoReturn

import msgspec

from provrun.core.canonical import Value
from provrun.core.terms import (
    MISSING,
    And,
    Compare,
    Constant,
    Items,
    Lookup,
    Missing,
    Name,
    Not,
    Operand,
    Or,
    Term,
    equal,
)
from provrun.errors import UsageError

__all__ = ["MISSING", "Condition", "ConditionError", "Lookup", "Missing", "parse"]

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])|-inf\b)
    | (?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    | (?P<name>[^\W\d]\w*(?:\.[\w-]+)*)
    | (?P<sign>===?|!==?|<>|=>|=<|<=|>=|&&?|\|\|?|[=<>!()\[\],])
    """,
    re.VERBOSE | re.DOTALL,
)
_CONSTANTS: dict[str, Value] = {
    "true": True,
    "false": False,
    "null": None,
    "none": None,
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
}
_KEYWORDS = ("and", "or", "not", "in")
_COMPARING = {"=": "=", "==": "=", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_MEANT = {
    "&": "and",
    "&&": "and",
    "|": "or",
    "||": "or",
    "!": "not",
    "<>": "!=",
    "=>": ">=",
    "=<": "<=",
    "===": "=",
    "!==": "!=",
}


class ConditionError(UsageError):
    """A condition cannot be read."""


class Condition(msgspec.Struct, frozen=True):
    """A condition as it was written, and what it means."""

    text: str
    term: Term

    def names(self) -> tuple[str, ...]:
        """Return the names it looks up, in order of first use, but for bare words that may be text."""
        return tuple(
            dict.fromkeys(
                operand.name for operand in _operands(self.term) if isinstance(operand, Name) and not operand.word
            )
        )

    def words(self) -> tuple[str, ...]:
        """Return the bare words to the right of operators: names if they name something, else text."""
        return tuple(
            dict.fromkeys(
                operand.name for operand in _operands(self.term) if isinstance(operand, Name) and operand.word
            )
        )

    def evaluate(self, lookup: Lookup) -> bool:
        """Say whether the condition holds, where ``lookup(name)`` gives a value or ``MISSING``."""
        return self.term.evaluate(lookup)

    def equalities(self, text: Callable[[str], bool] = lambda word: False) -> dict[str, Value]:
        """Return what must be equal to a constant for the condition to hold: ``{name: value}``.

        ``text(word)`` says which bare words name nothing and are text. Values are equal as conditions mean it: 1 stands
        for 1.0 too. A name that two constants are asked of is left out.
        """
        terms = self.term.terms if isinstance(self.term, And) else (self.term,)
        found: dict[str, Value] = {}
        twice = set()
        for term in terms:
            if isinstance(term, Compare) and term.sign == "=" and (pair := _equality(term, text)):
                name, value = pair
                if name in found and not equal(found[name], value):
                    twice.add(name)
                found[name] = value
        return {name: value for name, value in found.items() if name not in twice}


def parse(text: str) -> Condition:
    """Return the condition that ``text`` writes; raises ``ConditionError`` with the place of what is wrong."""
    try:
        return Condition(text, _Parser(text).parse())
    except RecursionError:
        raise ConditionError("the condition is nested too deeply", value=text) from None
    except ValueError:  # an int of thousands of digits
        raise ConditionError("a number in the condition is too long", value=text) from None


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(self._tokens())
        self.position = 0

    def parse(self) -> Term:
        term = self._either()
        token = self._peek()
        if token.kind == "comparing" or token.text == "in":
            self._fail(token, "a comparison has two sides", "join two with and: 1 < x and x < 3")
        if token.kind != "end":
            self._fail(token, f"{token.text} is not expected here", "join conditions with and, or")
        return term

    def _either(self) -> Term:
        terms = [self._both()]
        while self._take("or"):
            terms.append(self._both())
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _both(self) -> Term:
        terms = [self._negated()]
        while self._take("and"):
            terms.append(self._negated())
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _negated(self) -> Term:
        return Not(self._negated()) if self._take("not") else self._comparison()

    def _comparison(self) -> Term:
        if self._take("("):
            term = self._either()
            self._expect(")")
            return term
        first = self._peek()
        left = self._operand(word=False)
        token = self._peek()
        if token.kind == "comparing":
            self.position += 1
            return Compare(left, _COMPARING[token.text], self._operand(word=True))
        if self._take("in"):
            return Compare(left, "in", self._container())
        if self._take("not"):
            self._expect("in")
            return Compare(left, "not in", self._container())
        if not isinstance(left, Name):
            self._fail(first, f"{first.text} alone is no condition", f"compare it with something: x = {first.text}")
        return Compare(left, "=", Constant(True))

    def _container(self) -> Operand:
        return self._list(")") if self._take("(") else self._operand(word=True)

    def _operand(self, *, word: bool) -> Operand:
        token = self._peek()
        self.position += 1
        if token.kind == "name":
            return Name(token.text, word and "." not in token.text)
        if token.kind == "constant":
            return Constant(_CONSTANTS[token.text.lower()])
        if token.kind == "number":
            return Constant(int(token.text) if token.text.lstrip("+-").isdigit() else float(token.text))
        if token.kind == "text":
            return Constant(re.sub(r"\\([\\'\"])", r"\1", token.text[1:-1]))
        if token.text == "[":
            return self._list("]")
        what = (
            f"{token.text} stands where a name or a value should" if token.text else "something is missing at the end"
        )
        return self._fail(token, what, "compare a name with a value: x > 0.5")

    def _list(self, closing: str) -> Operand:
        items: list[Operand] = []
        while not self._take(closing):
            if items:
                self._expect(",")
            items.append(self._operand(word=True))
        return Items(tuple(items))

    def _peek(self) -> _Token:
        return self.tokens[self.position]

    def _take(self, text: str) -> bool:
        token = self._peek()
        if token.kind in ("keyword", "bracket") and token.text.lower() == text:
            self.position += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            self._fail(self._peek(), f"{text} is missing")

    def _tokens(self) -> Iterator[_Token]:
        at = 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                self._refuse(at)
            kind, text = str(match.lastgroup), match[0]
            if kind == "sign":
                if text in _MEANT:
                    self._fail(_Token(kind, text, at), f"{text} means nothing here", f"did you mean {_MEANT[text]}?")
                kind = "comparing" if text in _COMPARING else "bracket"
            elif text.lower() in _CONSTANTS:
                kind = "constant"
            elif text.lower() in _KEYWORDS:
                kind = "keyword"
            if kind != "space":
                yield _Token(kind, text, at)
            at = match.end()
        yield _Token("end", "", len(self.text))

    def _refuse(self, at: int) -> NoReturn:
        character = self.text[at]
        token = _Token("", character, at)
        if character in "'\"":
            self._fail(token, f"the text that begins with {character} has no end", f"close it with {character}")
        self._fail(token, f"{character} means nothing here", "put text in quotes")

    def _fail(self, token: _Token, what: str, hint: str | None = None) -> NoReturn:
        message = f"column {token.at + 1} of the condition: {what}\n  {self.text}\n  {' ' * token.at}^"
        raise ConditionError(message, value=self.text, next=hint)


def _equality(term: Compare, text: Callable[[str], bool]) -> tuple[str, Value] | None:
    left, right = term.left, term.right
    if isinstance(left, Constant):
        left, right = right, left
    if not isinstance(left, Name) or (left.word and text(left.name)):
        return None
    if isinstance(right, Constant):
        return left.name, right.value
    return (left.name, right.name) if isinstance(right, Name) and right.word and text(right.name) else None


def _operands(term: Term) -> list[Operand]:
    if isinstance(term, Compare):
        inner = [[*side.items] if isinstance(side, Items) else [side] for side in (term.left, term.right)]
        return [operand for side in inner for operand in side]
    terms = (term.term,) if isinstance(term, Not) else term.terms
    return [operand for each in terms for operand in _operands(each)]
