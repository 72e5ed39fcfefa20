"""Files of commands: which lines are tasks, what identifies them, and what is wrong with a file."""

from __future__ import annotations

import io
import subprocess
import sys
import tracemalloc
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provrun.core.canonical import encode
from provrun.errors import InvalidInput, UsageError
from provrun.submit.loadfile import read_lines


def test_each_line_is_a_task_with_its_occurrence(tmp_path: Path) -> None:
    file = tmp_path / "jobs"
    file.write_bytes(
        b"echo {x} '{{y}}'\r\n"
        b"\n"
        b"  # a comment, it's skipped\n"
        b"#another\r\n"
        b"sleep 1\n"
        b" \t\r\n"
        b"  indented # with a comment\n"
        b"sleep 1\n"
        b"sleep 1 \n"
        b"sleep 1\n"
        b"last line without an end"
    )
    space = read_lines(file)
    assert list(space.points()) == [
        {"line": "echo {x} '{{y}}'", "occurrence": 1},
        {"line": "sleep 1", "occurrence": 1},
        {"line": "  indented # with a comment", "occurrence": 1},
        {"line": "sleep 1", "occurrence": 2},
        {"line": "sleep 1 ", "occurrence": 1},
        {"line": "sleep 1", "occurrence": 3},
        {"line": "last line without an end", "occurrence": 1},
    ]
    assert (space.names, space.size, space.distinct) == (("line", "occurrence"), 7, True)
    assert space.summary()[1] == ("occurrence", 7, 1, 1)


def test_the_text_of_a_task_is_canonical(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text('echo "é"\t\\\n')
    assert list(read_lines(tmp_path / "jobs").texts()) == ['{"line":"echo \\"é\\"\\t\\\\","occurrence":1}']


LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0\ufeff"), max_size=4)


@given(st.lists(LINE | st.sampled_from(["a", "b", "a b"]), max_size=30))
def test_tasks_are_distinct_and_a_longer_file_only_adds(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    file = tmp_path_factory.getbasetemp() / "jobs"
    file.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="")
    texts = list(read_lines(file).texts())
    kept = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert texts == [
        encode({"line": line, "occurrence": 1 + kept[:position].count(line)}) for position, line in enumerate(kept)
    ]
    assert len(set(texts)) == len(texts) == read_lines(file).size
    file.write_text("".join(line + "\n" for line in [*lines, "a"]), encoding="utf-8", newline="")
    assert list(read_lines(file).texts())[:-1] == texts


def test_the_last_line_is_summed_up_with_its_occurrence(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("a\nb\na\n")
    assert read_lines(tmp_path / "jobs").summary() == [("line", 3, "a", "a"), ("occurrence", 3, 1, 2)]


def test_lines_that_are_no_text_are_all_told_with_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_bytes(b"echo ok\necho \xff\n\necho \0\necho \xc3\n")
    with pytest.raises(InvalidInput) as raised:
        read_lines(tmp_path / "jobs")
    assert [problem.removeprefix(str(tmp_path / "jobs")).split(":")[0] for problem in raised.value.problems] == [
        " line 2",
        " line 4",
        " line 5",
    ]


def test_an_empty_file_has_no_tasks(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("# nothing to do\n\n")
    space = read_lines(tmp_path / "jobs")
    assert (space.size, list(space.texts())) == (0, [])
    assert space.summary() == [("line", 0, None, None), ("occurrence", 0, None, None)]


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="/no/such/file: No such file"):
        read_lines("/no/such/file")


def test_standard_input_is_read_once_and_passed_over_again() -> None:
    script = (
        "from provrun.submit.loadfile import read_lines\n"
        "space = read_lines('-'); print(*space.texts(), *space.texts(), space.size)"
    )
    done = subprocess.run([sys.executable, "-c", script], input="a\n# b\na", capture_output=True, text=True, check=True)
    assert done.stdout == '{"line":"a","occurrence":1} {"line":"a","occurrence":2} ' * 2 + "2\n"


def test_a_long_file_is_streamed(tmp_path: Path) -> None:
    lines = io.StringIO()
    lines.writelines(f"simulate --case {number} --output out/{number:08d}\n" for number in range(100_000))
    (tmp_path / "jobs").write_text(lines.getvalue())
    tracemalloc.start()
    try:
        space = read_lines(tmp_path / "jobs")
        deque(space.texts(), maxlen=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert space.size == 100_000
    assert peak < 24 * 2**20
