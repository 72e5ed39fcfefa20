"""Which programs a shell line starts, told from its text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provrun.core.programs import programs


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("samtools view x.bam", ["samtools"]),
        ("samtools x | grep -v foo > out.txt && sort out.txt 2>&1 | uniq -c", ["samtools", "grep", "sort", "uniq"]),
        ("for f in *.txt; do wc -l $f; done", ["wc"]),
        ("if grep -q x f; then sed s/a/b/ f; else cat f; fi", ["grep", "sed", "cat"]),
        ("A=1 env -i B=2 ./run.sh --x; cd /tmp && nice ls", ["./run.sh", "nice", "ls"]),
        ("nice -n 5 timeout 10s stdbuf -oL cmd ls", ["nice", "timeout", "stdbuf", "cmd"]),
        ("/usr/bin/taskset -c 0-3 cmd | srun -n 4 sort x", ["/usr/bin/taskset", "cmd", "srun", "sort"]),
        ("env -u HOME cmd; exec -a name sort; time -f %e ls", ["cmd", "sort", "ls"]),
        ("sort=(head tail); (( cat > 1 )) && cmd; echo $(( wc - 1 ))", ["cmd"]),
        ("head() { cmd x; }; tail () { sort; }; head | uniq", ["cmd", "sort", "uniq"]),
        ("case $x in cat) sort;; wc) head;; esac; cmd", ["cmd"]),
        ("2>err cmd a; cmd b", ["cmd"]),
        ("(date; ls)>log\nwho", ["date", "ls", "who"]),
        ("$TOOL x; \0 y; $(which z) w; `q` r", ["which"]),
        ("echo hi; true; [ -f x ] && test -f y", []),
        ("awk '{print $1; system(\"rm\")}' < in", ["awk"]),
        ("cut -f1 a#b # sort; it is a comment\nhead x", ["cut", "head"]),
        ("cat <<EOF\nhello there\nEOF", ["cat"]),
        ("cat <<< text; tac x", ["cat", "tac"]),
        ("it's a quote that does not close", []),
        ("diff <(sort a) <(sort b)", ["diff", "sort"]),
        ("", []),
        ("'' \"\" x; sort ''", ["sort"]),
    ],
)
def test_the_words_where_commands_begin_are_programs(line: str, found: list[str]) -> None:
    assert programs(line) == found


@given(st.text(st.sampled_from("a1 '\"\\;|&<>()\n#$=`{}-\0é")))
def test_any_text_has_programs_or_none(line: str) -> None:
    assert all(isinstance(word, str) and not set(word) & set("$`\0") for word in programs(line))
