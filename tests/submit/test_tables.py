"""Rows of parameters from files: types kept, all problems with their lines, long files streamed."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from provrun.errors import InvalidInput, MissingExtra, UsageError
from provrun.submit.parameters import build_space
from provrun.submit.tables import read_rows

Written = Callable[[str, "str | bytes"], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(name: str, content: str | bytes) -> Path:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path / name

    return write


ROWS: list[dict[str, object]] = [{"x": 1, "y": 0.5, "k": "a,b"}, {"x": -2, "y": 1e16, "k": "é"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'x,y,k\n1,0.5,"a,b"\n-2,1e16,é\n'),
        ("a.csv", '\ufeffx,y,k\r\n1,0.5,"a,b"\r\n\r\n-2,1e+16,é'),
        ("a.tsv", "x\ty\tk\n1\t0.5\ta,b\n-2\t1e16\té\n"),
        ("a.jsonl", '{"x":1,"y":0.5,"k":"a,b"}\n\n{"k":"\\u00e9","y":1e16,"x":-2}'),
        ("a.json", '[{"x": 1, "y": 0.5, "k": "a,b"},\n {"x": -2, "y": 1e16, "k": "é"}\n]\n'),
        ("A.JSON", '\ufeff [{"x":1,"y":0.5,"k":"a,b"},{"x":-2,"y":1e16,"k":"é"}] '),
    ],
)
def test_rows_are_read_with_their_types(written: Written, name: str, content: str) -> None:
    rows = read_rows(written(name, content))
    assert list(rows.points()) == ROWS
    assert list(rows.points()) == ROWS
    assert (rows.names, rows.size) == (("x", "y", "k"), 2)
    assert rows.summary() == [("x", 2, 1, -2), ("y", 2, 0.5, 1e16), ("k", 2, "a,b", "é")]


def test_cells_are_json_else_text_unless_the_header_says_text(written: Written) -> None:
    rows = read_rows(written("a.csv", 'a,b:text\n007,007\ntrue,true\n,\n"{""k"": [1]}",1\n" x ",2\n'))
    assert list(rows.points()) == [
        {"a": "007", "b": "007"},
        {"a": True, "b": "true"},
        {"a": "", "b": ""},
        {"a": {"k": [1]}, "b": "1"},
        {"a": "x", "b": "2"},
    ]


def test_not_a_number_and_dollar_keys_of_other_programs_are_read(written: Written) -> None:
    rows = read_rows(written("a.jsonl", '{"x": NaN, "y": {"$ref": 1}}\n{"x": {"$float":"inf"}, "y": null}\n'))
    assert list(rows.texts()) == ['{"x":{"$float":"nan"},"y":{"$$ref":1}}', '{"x":{"$float":"inf"},"y":null}']


def test_rows_multiply_the_grid_and_vary_slowest(written: Written) -> None:
    file = written("a.csv", "b,c\n1,2\n3,4\n")
    space = build_space(["a=0:2"], [], [file], None, None)
    assert list(space.texts()) == [
        '{"a":0,"b":1,"c":2}',
        '{"a":1,"b":1,"c":2}',
        '{"a":0,"b":3,"c":4}',
        '{"a":1,"b":3,"c":4}',
    ]


def test_two_files_multiply_each_other(written: Written) -> None:
    files = [written("a.csv", "x\n1\n2\n"), written("b.jsonl", '{"y":1}\n{"y":2}\n')]
    assert [tuple(point.values()) for point in build_space([], [], files, None, None).points()] == [
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
    ]


def test_rows_can_be_sampled(written: Written) -> None:
    file = written("a.csv", "x\n" + "\n".join(map(str, range(100))) + "\n")
    sample = build_space(["u=uniform:0:1"], [], [file], 20, 1)
    assert all(point["x"] in range(100) for point in sample.points())
    assert len(set(build_space([], [], [file], 100, 1).texts())) == 100


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "x,y\n1,2\n3\n4,5,6\n1e400,1\n", ["line 3: 1 values", "line 4: 3 values", "line 5: 1e400"]),
        ("a.csv", 'x\n"a\nb"\n"c"d\n5\n', ["line 4: "]),
        ("a.csv", "x,x\n", ["line 1: x is named twice"]),
        ("a.csv", "x,T (K)\n1,2\n", ["line 1: 'T (K)' is no parameter name"]),
        ("a.csv", b"x\n1\n\xff\n2\n3\xe9\n", ["line 3: not UTF-8 (byte 1 is 0xff)", "line 5: not UTF-8 (byte 2"]),
        ("a.jsonl", '{"x":1}\n{"x":1\n[1]\n{"y":1}\n{"x":1,"x":2}\n', ["line 2", "line 3", "line 4", "line 5"]),
        ("a.jsonl", '{"x y":1}\n', ["line 1: 'x y' is no parameter name"]),
        ("a.json", '[\n{"x":1},\n{"x":1,"x":2},\n{"y":3}\n]', ["line 3: the key 'x' stands twice", "line 4: names y"]),
        ("a.json", '[{"x":1},\n{"x":1]\n', ["line 2: "]),
        ("a.json", '[{"x":1}\n{"x":1}]\n', ["line 2: a comma or ] is missing"]),
        ("a.json", '[{"x":1},]', ["line 1: "]),
        ("a.json", '\n{"x":[1]}\n', ["line 2: is no JSON list"]),
        ("a.json", b'[{"x":"\xff"}]', ["line 1: not UTF-8"]),
    ],
)
def test_all_problems_of_a_file_are_told_with_their_lines(
    written: Written, name: str, content: str | bytes, expected: list[str]
) -> None:
    file = written(name, content)
    with pytest.raises(InvalidInput) as raised:
        read_rows(file)
    assert len(raised.value.problems) >= len(expected)
    for part in expected:
        assert any(f"{file} {part}" in problem for problem in raised.value.problems), part


@pytest.mark.parametrize(("name", "content"), [("a.csv", "x,y\n"), ("a.csv", ""), ("a.jsonl", "\n"), ("a.json", "[ ]")])
def test_a_file_without_rows_is_refused(written: Written, name: str, content: str) -> None:
    with pytest.raises(UsageError, match="has no rows"):
        read_rows(written(name, content))


def test_thousands_of_problems_are_counted_and_a_hundred_shown(written: Written) -> None:
    with pytest.raises(InvalidInput) as raised:
        read_rows(written("a.csv", "x,y\n" + "1\n" * 5_000))
    assert len(raised.value.problems) == 101
    assert raised.value.problems[-1] == "and 4900 more"


def test_a_file_of_another_kind_is_refused_with_the_kinds(written: Written) -> None:
    with pytest.raises(UsageError, match=r"\.jsonl, \.json, \.csv, \.tsv, \.parquet"):
        read_rows(written("a.xlsx", ""))


def test_a_file_that_changed_between_the_passes_is_refused(written: Written) -> None:
    rows = read_rows(written("a.csv", "x\n1\n2\n"))
    written("a.csv", "x\n1\n2\n3\n")
    with pytest.raises(InvalidInput, match="changed"):
        list(rows.texts())


def test_a_long_table_is_streamed(written: Written) -> None:
    file = written("a.jsonl", "".join(json.dumps({"x": number, "y": "t" * 200}) + "\n" for number in range(30_000)))
    tracemalloc.start()
    try:
        rows = read_rows(file)
        deque(rows.texts(), maxlen=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows.size == 30_000
    assert peak < 2 * 2**20


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    script = (
        "import sys; from provrun.submit.tables import read_rows\n"
        "rows = read_rows(sys.argv[1]); print(*rows.texts(), *rows.texts(), rows.size)"
    )
    fifo = tmp_path / "rows.csv"
    subprocess.run(["mkfifo", str(fifo)], check=True)
    feeder = subprocess.Popen(["sh", "-c", f"printf 'x\\n1\\n2\\n' > {fifo}"])
    done = subprocess.run([sys.executable, "-c", script, str(fifo)], capture_output=True, text=True, check=True)
    feeder.wait()
    assert done.stdout == '{"x":1} {"x":2} {"x":1} {"x":2} 2\n'


def test_parquet_without_its_extra_names_the_extra(written: Written) -> None:
    file = written("a.parquet", "")
    script = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from provrun.submit.parameters import build_space; build_space([], [], [sys.argv[1]], None, None)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, text=True, check=False)
    assert "provrun.errors.MissingExtra" in done.stderr
    assert "pip install 'provrun[data]'" in done.stderr
    assert MissingExtra("data", "x").exit == 1


def test_rows_of_parquet_keep_their_types(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"x": [1, 2], "y": [0.5, float("nan")], "k": ["a", None], "l": [[1, 2], []], "ok": [True, False]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    rows = read_rows(tmp_path / "a.parquet")
    assert list(rows.texts()) == [
        '{"k":"a","l":[1,2],"ok":true,"x":1,"y":0.5}',
        '{"k":null,"l":[],"ok":false,"x":2,"y":{"$float":"nan"}}',
    ]
    assert rows.size == 2


def test_parquet_of_types_that_are_no_values_is_refused_by_row(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"x": [1], "b": [b"bytes"]}), tmp_path / "a.parquet")
    with pytest.raises(InvalidInput, match=r"row 1: .*bytes"):
        read_rows(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(InvalidInput, match=r"b\.parquet"):
        read_rows(tmp_path / "b.parquet")
