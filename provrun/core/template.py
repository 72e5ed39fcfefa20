"""Templates of commands and paths: ``{name}`` is filled, every other brace stands for itself.

``{name}`` and ``{name:05d}`` are placeholders; ``{{name}}`` gives ``{name}``, ``{{{name}}}`` the value between braces;
``${HOME}``, ``{print $1}`` and JSON text are left as they are. Strings are filled as they are, other values as JSON
text, and what was filled is never filled again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from shlex import quote
from typing import TypeAlias

import msgspec

from provrun.core.canonical import Value, encode
from provrun.core.nearest import nearest
from provrun.core.shell import quoting
from provrun.errors import UsageError

ALWAYS_KNOWN = ("index", "task", "params", "cores", "tmpdir", "launcher")
"""Placeholders that every command may use, beside its parameters, ``input.N`` and ``output.N``."""

_NAME = r"[^\W\d]\w*|[A-Za-z_][A-Za-z0-9_-]*(?:\.[\w-]+)+"
_BRACED = re.compile(rf"(\{{+)({_NAME})(:[^{{}}]*)?(\}}+)")


class Field(msgspec.Struct, frozen=True):
    """A placeholder: what to fill in, and Python's format for it."""

    name: str
    spec: str = ""

    def __str__(self) -> str:
        return f"{{{self.name}:{self.spec}}}" if self.spec else f"{{{self.name}}}"


Piece: TypeAlias = "str | Field"


class Template(msgspec.Struct, frozen=True):
    """A command as words with placeholders; with ``shell`` one word that a shell runs."""

    words: tuple[str, ...]
    shell: bool
    pieces: tuple[tuple[Piece, ...], ...]

    @classmethod
    def parse(cls, words: Sequence[str], shell: bool = False) -> Template:
        """Return the template of ``words``.

        Raises ``UsageError`` when there is no word, when a shell template is not exactly one word, or when a
        placeholder of it stands where its value cannot be quoted safely (inside quotes, above all).
        """
        if shell and len(words) != 1:
            message = f"--shell takes the command as exactly one word, not {len(words)}"
            raise UsageError(message, value=list(words), next="put it in quotes")
        if not words or (not shell and not words[0]):
            raise UsageError("there is no command", value=list(words), next="give it after --")
        for word in words:
            if "\0" in word:
                raise UsageError(f"{word!r} holds the NUL character, which no command can", value=word)
        pieces = tuple(tuple(_pieces(word)) for word in words)
        if shell:
            _refuse_quoted(pieces[0])
        return cls(tuple(words), shell, pieces)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The placeholders, in order."""
        return tuple(piece for word in self.pieces for piece in word if isinstance(piece, Field))

    @property
    def names(self) -> tuple[str, ...]:
        """The names used, in order of first use."""
        return tuple(dict.fromkeys(field.name for field in self.fields))

    def fill(self, lookup: Callable[[str], Value]) -> list[str]:
        """Return the words with every placeholder filled by ``lookup(name)``, quoted when a shell runs them."""
        finish = quote if self.shell else str
        return [
            "".join([piece if isinstance(piece, str) else finish(filled(piece, lookup(piece.name))) for piece in word])
            for word in self.pieces
        ]

    def check(self, known: Collection[str], upstream: Collection[str] = ()) -> list[str]:
        """Return a problem for every placeholder that is not in ``known``, nor reads one of the ``upstream`` maps.

        Of an upstream map A may stand ``A.result``, ``A.result.KEY``, ``A.param.NAME``, ``A.output.NAME``, ``A.rows``.
        """
        problems = []
        for field in dict.fromkeys(self.fields):
            problem = _unknown(field, known, upstream) or _misformed(field)
            if problem:
                problems.append(problem)
        return problems


def as_text(value: Value) -> str:
    """Return how a value stands in a command or an environment variable: a string as it is, others as JSON text."""
    return value if isinstance(value, str) else encode(value)


def filled(field: Field, value: Value) -> str:
    """Return the text that ``value`` has in place of ``field``."""
    if not field.spec:
        text = as_text(value)
    else:
        try:
            text = format(value, field.spec)
        except (ValueError, TypeError) as error:
            raise UsageError(f"{field} cannot be filled with {encode(value)}: {error}", value=value) from None
    if "\0" in text:
        raise UsageError(f"{field} is filled with the NUL character, which no command can hold", value=value)
    return text


def shell_variable(name: str) -> str:
    """Return the variable a shell template finds a value in: ``P_x``, ``P_A_result_key``."""
    return "P_" + re.sub(r"\W", "_", name, flags=re.ASCII)


def _pieces(word: str) -> Iterable[Piece]:
    literal, end = "", 0
    for match in _BRACED.finditer(word):
        opening, name, spec, closing = match.groups(default="")
        depth = min(len(opening), len(closing))
        start = match.end(1) - depth
        literal += word[end:start]
        end = match.start(4) + depth
        if depth == 1 and literal.endswith("$"):  # ${HOME} is the shell's
            literal += word[start:end]
        elif depth % 2 == 0:
            literal += "{" * (depth // 2) + name + spec + "}" * (depth // 2)
        else:
            if before := literal + "{" * (depth // 2):
                yield before
            yield Field(name, spec[1:])
            literal = "}" * (depth // 2)
    if literal + word[end:]:
        yield literal + word[end:]


def _refuse_quoted(pieces: Sequence[Piece]) -> None:
    places = quoting([piece if isinstance(piece, str) else None for piece in pieces])
    fields = [piece for piece in pieces if isinstance(piece, Field)]
    problems = [
        f"{field} stands {place}, where its value cannot be quoted: write ${shell_variable(field.name)}"
        for field, place in zip(fields, places, strict=True)
        if place is not None
    ]
    if problems:
        first = fields[next(number for number, place in enumerate(places) if place is not None)]
        hint = f"or move the placeholder out of the quotes; for the text itself write {{{first}}}"
        raise UsageError("; ".join(problems), value=str(first), next=hint)


def _unknown(field: Field, known: Collection[str], upstream: Collection[str]) -> str | None:
    if field.name in known:
        return None
    head, _, rest = field.name.partition(".")
    if head in upstream and _reads(rest):
        return None
    forms = [f"{name}.{part}" for name in upstream for part in ("result", "rows")]
    if head in upstream:
        return f"{field}: of {head} there are {{{head}.result}}, .result.KEY, .param.NAME, .output.NAME and .rows"
    match = nearest(field.name, [*known, *forms]) or nearest(head, upstream)
    hint = f"did you mean {{{match}}}?" if match else f"known are {', '.join(sorted(known))}"
    return f"{field} is unknown; {hint} (for the text itself write {{{field}}})"


def _reads(rest: str) -> bool:
    part, dot, name = rest.partition(".")
    if part in ("param", "output"):
        return bool(name)
    return part == "result" or (part == "rows" and not dot)


def _misformed(field: Field) -> str | None:
    for example in (1, 1.0, "text"):
        try:
            format(example, field.spec)
        except ValueError:
            continue
        return None
    return f"{field}: {field.spec!r} is no format of a number or of text"
