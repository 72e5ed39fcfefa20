"""Which programs a line for a shell starts.

Only words that stand where a command begins count, and only as they are written: what a variable, a substitution or a
function stands for is not known before the line runs. A line whose quotes do not close names none.
"""

from __future__ import annotations

import re
import shlex

_BEGIN = frozenset({  # what a command follows in the same place
    "!", "{", "builtin", "command", "do", "elif", "else", "env", "exec", "if", "nohup", "then", "time", "until",
    "while",
})
_BUILTIN = frozenset({
    ".", ":", "[", "[[", "alias", "bg", "bind", "break", "caller", "case", "cd", "compgen", "complete", "compopt",
    "continue", "declare", "dirs", "disown", "done", "echo", "enable", "esac", "eval", "exit", "export", "false",
    "fc", "fg", "fi", "for", "function", "getopts", "hash", "help", "history", "in", "jobs", "kill", "let", "local",
    "logout", "mapfile", "popd", "printf", "pushd", "pwd", "read", "readarray", "readonly", "return", "select", "set",
    "shift", "shopt", "source", "suspend", "test", "times", "trap", "true", "type", "typeset", "ulimit", "umask",
    "unalias", "unset", "wait", "}",
})
_PASSES_ON = frozenset({  # programs that start the one that is named behind their options
    "chrt", "ionice", "mpiexec", "mpirun", "nice", "numactl", "setsid", "srun", "stdbuf", "taskset", "timeout",
})
_TAKES = frozenset({"-C", "-S", "-a", "-f", "-o", "-u"})  # options of `env`, `exec`, `time` that a word belongs to
_AMOUNT = re.compile(r"[\d.,:x-]+[smhd%]?")  # as such programs take it: 10, 5s, 0-3
_SIGNS = "();<>|&\n"
_PLAIN = re.compile(r"""[^();<>|&\n'"\\#]*""")


def programs(line: str) -> list[str]:
    """Give the first words of the commands in a line, each once, in order; not those that the shell itself knows.

    Behind a program like `nice` or `srun` another one follows.
    """
    found: dict[str, None] = {}
    begins, names_file, comment, document = True, False, False, False
    last = ""
    functions: set[str] = set()
    inside = ""  # the end of arithmetic or of an array, where nothing is started
    for word in _words(line):
        before, last = last, word
        if inside:
            inside = "" if inside in word and set(word) <= set(_SIGNS) else inside
        elif word and not set(word) - set(_SIGNS):
            if document and "\n" in word:
                break  # what follows are lines of a here-document, and where it ends is not looked for
            if "((" in word or (word == "(" and before.endswith("=")):
                inside = "))" if "((" in word else ")"
                continue
            if word.startswith("()"):
                functions.add(before)
            document = document or ("<<" in word and "<<<" not in word)
            comment = comment and "\n" not in word
            names_file = bool(set(word) & set("<>")) and "(" not in word
            # Behind a closed substitution the same command goes on; behind the name of a function its body begins.
            # Behind `;;` there is a pattern.
            if not names_file:
                begins = not comment and (word[-1] != ")" or word.startswith("()")) and ";;" not in word
        elif comment or word.startswith("#"):
            comment = True
        elif names_file:
            names_file = False
        elif begins and not _leaves_open(word) and before not in _TAKES:
            begins = word.rpartition("/")[2] in _PASSES_ON
            if word and word not in _BUILTIN and not set(word) & set("$`*?\0"):
                found[word] = None
    return [word for word in found if word not in functions]


def _words(line: str) -> list[str]:
    if _PLAIN.fullmatch(line):  # most lines are: the lexer takes a microsecond for each character
        return line.split()
    lexer = shlex.shlex(line, posix=True, punctuation_chars=_SIGNS)
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:
        return []


def _leaves_open(word: str) -> bool:
    """Tell whether a command may still follow: behind a word like `then`, an option, an assignment, a number."""
    name, sign, _ = word.partition("=")
    return (
        word in _BEGIN or word.startswith("-") or _AMOUNT.fullmatch(word) is not None
        or (bool(sign) and name.isidentifier())
    )
