"""Where in a shell command a quoted word may stand.

The reader follows the quoting rules of POSIX shells and bash just far enough to say of each gap in a command whether a
single-quoted word put there is read as one word. Wherever it cannot be sure it says so, and the gap counts as unsafe.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_HEREDOC = re.compile(r"<<(-?)[ \t]*(?:'([^'\n]*)'|\"([^\"\n]*)\"|((?:\\.|[^\s;&|<>()'\"`$\\])+))")
_GAP = "\0"
_WORD_ENDS = " \t\n;&|()<>"

_NAMES = {
    "'": "inside single quotes",
    "$'": "inside single quotes",
    '"': "inside double quotes",
    "`": "inside backquotes",
    "${": "inside ${...}",
    "((": "inside arithmetic",
    "#": "in a comment",
    "<<": "in a here-document",
    "\\": "behind a backslash",
    "?": "where the quoting around it is too intricate to follow",
}


def quoting(parts: Sequence[str | None]) -> list[str | None]:
    """Say of each gap (None) between texts of a command why no quoted word may stand there, or None if one may."""
    return _Reader("".join(_GAP if part is None else part for part in parts)).read()


class _Reader:
    """Reads a command once; ``open`` are the quotes and brackets that are open, innermost last."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.open: list[str] = []
        self.heredocs: list[tuple[bool, str]] = []
        self.after_escape = -1
        self.lost = False
        self.found: list[str | None] = []

    def read(self) -> list[str | None]:
        while self.at < len(self.text):
            inside = self.open[-1] if self.open else ""
            if inside in ("'", "$'"):
                self._single(inside)
            elif inside == '"':
                self._double()
            else:
                self._plain(inside)
        return self.found

    def _gap(self, *, because: str | None = None) -> None:
        quotes = [_NAMES[mark] for mark in self.open if mark in _NAMES]
        self.found.append(_NAMES["?"] if self.lost else because or (quotes[-1] if quotes else None))

    def _single(self, mark: str) -> None:
        character = self._next()
        if character == _GAP:
            self._gap()
        elif character == "'":
            self.open.pop()
        elif character == "\\" and mark == "$'":
            self.lost = self.lost or self._ahead("'")  # a plain sh ends the quotation there, bash does not
            self._escaped()

    def _double(self) -> None:
        character = self._next()
        if character == _GAP:
            self._gap()
        elif character == '"':
            self.open.pop()
        elif character == "\\":
            self._escaped()
        else:
            self._substitution(character)

    def _plain(self, inside: str) -> None:
        if self._comment() or self._heredoc_begins():
            return
        character = self._next()
        if character == _GAP:
            self._gap()
        elif character == "\n" and self.heredocs:
            self._heredoc_bodies()
        elif character == "\\":
            self._escaped()
        elif character in "'\"":
            self._quote(character)
        elif character == "}" and inside == "${":
            self.open.pop()
        elif character == "(":
            self._opens()
        elif character == ")":
            self._closes()
        else:
            self._case(character)
            self._substitution(character)

    def _next(self) -> str:
        character = self.text[self.at]
        self.at += 1
        return character

    def _ahead(self, text: str) -> bool:
        return self.text.startswith(text, self.at)

    def _quote(self, mark: str) -> None:
        # Quotes in "${x:-'}", in $((...)) and in backquotes follow rules of their own.
        inside = self.open[-1:]
        self.lost = self.lost or (inside == ["${"] and '"' in self.open) or "((" in self.open or "`" in self.open
        self.open.append(mark)

    def _escaped(self) -> None:
        if self._ahead(_GAP):
            self._gap(because=_NAMES["\\"])
        self.at += 1
        self.after_escape = self.at

    def _substitution(self, character: str) -> None:
        if character == "`":
            if "`" in self.open:
                while self.open.pop() != "`":
                    self.lost = True
            else:
                self.open.append("`")
        elif character == "$":
            if self._ahead("(("):
                self.at += 2
                self.open.extend(["((", "("])
            elif self._ahead("("):
                self.at += 1
                self.open.append("(")
            elif self._ahead("{"):
                self.at += 1
                self.open.append("${")
            elif self._ahead("["):
                self.lost = True
            elif self._ahead("'") and (not self.open or self.open[-1] != '"'):
                self.at += 1
                self._quote("$'")

    def _opens(self) -> None:
        if self._ahead("("):
            self.at += 1
            self.open.extend(["((", "("])
        else:
            self.open.append("(")

    def _closes(self) -> None:
        self.lost = self.lost or bool(self.heredocs)
        if self.open and self.open[-1] in ("(", "(("):
            self.open.pop()

    def _case(self, character: str) -> None:
        # A pattern of `case` ends in a lone parenthesis, which would seem to close what is open.
        begins = self.at < 2 or self.text[self.at - 2] in _WORD_ENDS
        if character == "c" and begins and self.open and self.text.startswith("case", self.at - 1):
            self.lost = True

    def _comment(self) -> bool:
        begins = self.at == 0 or self.text[self.at - 1] in _WORD_ENDS
        if not begins or not self._ahead("#") or "((" in self.open or self.open[-1:] == ["${"]:
            return False
        if self.at == self.after_escape or self.text[self.at - 1 : self.at] == ")":
            self.lost = True  # the word goes on after an escaped space, and after $(...)
            return False
        if "`" in self.open:
            self.lost = True  # a backquote ends it, a line end too
            return False
        end = self.text.find("\n", self.at)
        end = len(self.text) if end < 0 else end
        for _ in range(self.text.count(_GAP, self.at, end)):
            self._gap(because=_NAMES["#"])
        self.at = end
        return True

    def _heredoc_begins(self) -> bool:
        if not self._ahead("<<") or "((" in self.open:
            return False
        if self._ahead("<<<"):
            self.at += 3
            return True
        match = None if "`" in self.open else _HEREDOC.match(self.text, self.at)
        if match is None or _GAP in match[0] or self.text[match.end() : match.end() + 1] not in _WORD_ENDS:
            self.lost = True
            self.at += 2
            return True
        word = match[2] or match[3] or re.sub(r"\\(.)", r"\1", match[4] or "")
        self.heredocs.append((match[1] == "-", word))
        self.at = match.end()
        return True

    def _heredoc_bodies(self) -> None:
        for tabs, word in self.heredocs:
            while self.at < len(self.text):
                end = self.text.find("\n", self.at)
                end = len(self.text) if end < 0 else end
                line = self.text[self.at : end]
                self.at = end + 1
                if (line.lstrip("\t") if tabs else line) == word:
                    break
                for _ in range(line.count(_GAP)):
                    self._gap(because=_NAMES["<<"])
                self.lost = self.lost or line.endswith("\\")  # which may hide the line that ends the document
        self.heredocs.clear()
