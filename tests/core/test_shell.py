"""Where a quoted word may stand in a shell command; bash itself is asked whether the answers are safe."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from shlex import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provrun.core.shell import quoting

SAFE = [
    "echo @",
    "a=$(cat @); echo $a",
    "awk '{print $1}' @ | sort",
    "echo \"it's\" @ '\"' @",
    "echo $'it\\ts'; echo @ > /dev/null",
    "(cd x && ls @)",
    "for f in *; do echo ${f} ${#f} ${f%.*} @; done",
    "case @ in a) echo @;; esac",
    "echo a#b @ # a comment: it's",
    "# it's a comment\necho @",
    "cat <<EOF\nit's\nEOF\necho @",
    "cat <<-'END' | sort -\n\tdon't\n\tEND\necho @",
    "cat <<< @",
    'echo "a $(echo "b $(echo c)") d" @',
    "echo $((1 + 2)) @",
    "if [[ a == b ]]; then :; fi; test -e @",
    "echo \\\\@ \\' @ \\\n @",
]

UNSAFE = [
    ("echo '@'", "single quotes"),
    ("echo $'@'", "single quotes"),
    ('echo "@"', "double quotes"),
    ('echo "a\\"@"', "double quotes"),
    ('x="$(echo @)"', "double quotes"),
    ('x="$(echo "@")"', "double quotes"),
    ("echo `cat @`", "backquotes"),
    ("echo $'it\\'s'; echo @", "intricate"),
    ("echo ${x:-@}", "${...}"),
    ("echo $((@ + 1))", "arithmetic"),
    ("((@ > 1)) && ls", "arithmetic"),
    ("ls # @", "comment"),
    ("cat <<EOF\n@\nEOF", "here-document"),
    ("echo \\@", "backslash"),
    ("cat <<@\n", "intricate"),
    ("cat <<` @`", "intricate"),
    ("$(case x in x) echo '@';; esac)", "intricate"),
    ("\"${x:-'}\" '@'", "intricate"),
    ("`echo '` ' @ '", "intricate"),
    ("`$'`'` @", "intricate"),
    ("`a #` '\n` @ '", "intricate"),
    ("`cat <<E` '\nE\n @ '", "intricate"),
    ("echo \\ #' \n @ '", "intricate"),
    ("cat <<E'O'F\nE\n$(@)\nEOF", "intricate"),
    ("cat <<EOF\na\\\nEOF\n@\nEOF", "intricate"),
]


def ask(command: str) -> list[str | None]:
    parts: list[str | None] = []
    for piece in command.split("@"):
        parts += [piece, None]
    return quoting(parts[:-1])


@pytest.mark.parametrize("command", SAFE)
def test_a_quoted_word_may_stand_here(command: str) -> None:
    assert ask(command) == [None] * command.count("@")


@pytest.mark.parametrize(("command", "reason"), UNSAFE)
def test_a_quoted_word_may_not_stand_here(command: str, reason: str) -> None:
    assert reason in str(ask(command)[-1])


ATOMS = ["@", " @ ", "a", " ", "'", "' ", '"', "\\", "#", "\n", "echo ", "echo a; ", "`", "it's", "$[", "<<<"]
AROUND = [
    *('"%s"', "'%s'", "$(%s)", "`%s`", "${x:-%s}", "${x#%s}", "$'%s'", "(%s)", "$((%s))", "((%s))", "echo %s", "%s;"),
    *("cat <<E\n%s\nE\n", "cat <<'E'\n%s\nE\n", "case x in x) %s;; esac", "# %s\n", "\\%s", "%s\n", '"%s', "%s' "),
]
COMMANDS = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: (
        st.builds(lambda around, text: around.replace("%s", text), st.sampled_from(AROUND), inner)
        | st.lists(inner, min_size=2, max_size=4).map("".join)
    ),
    max_leaves=10,
)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is the judge here")
@settings(max_examples=300, deadline=None)
@given(COMMANDS.map(lambda text: text if "@" in text else f"{text} @"))
def test_bash_runs_nothing_of_a_value_where_a_quoted_word_may_stand(
    tmp_path_factory: pytest.TempPathFactory, command: str
) -> None:
    places = ask(command)
    folder = tmp_path_factory.getbasetemp()
    witness = folder / "witness"
    filled = command
    for place in places:
        value = f"$(: >{witness})`: >{witness}`'$(: >{witness})'\n: >{witness}\n" if place is None else "a"
        filled = filled.replace("@", quote(value), 1)
    subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", f"set -f; PATH=; {filled}"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=10,
        check=False,
    )
    ran = witness.exists()
    Path(witness).unlink(missing_ok=True)
    assert not ran, filled
