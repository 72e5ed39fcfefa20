"""Results as files: CSV, JSON lines, Parquet, HDF5."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest

from fixtures.lab import Fate, Lab, gives, xs
from provrun.errors import ProvrunError, UsageError
from provrun.project import asking
from provrun.query.columns import Cells, discover
from provrun.query.tables import format_of, replacing

FIELDS = [
    *("map", "index", "state", "stale", "attempt", "attempts", "outcome", "exit", "signal", "error", "outputs"),
    *("started", "ended", "seconds", "cpu_seconds", "max_rss", "node", "job", "code", "environment", "defaults"),
]


def written(lab: Lab, form: str, name: str = "scan", where: str | None = None) -> bytes:
    out = io.BytesIO()
    asking.write_results(lab.project, name, where, form, out)
    return out.getvalue()


def table(lab: Lab, name: str = "scan", where: str | None = None) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(written(lab, "csv", name, where).decode(), newline="")))


@pytest.fixture
def scan(lab: Lab) -> Lab:
    lab.submit("scan", [{"x": x, "label": label} for x, label in ((1, "a,b"), (2, 'say "hi"\nthere'), (3, "ü"))])
    lab.run("scan", lambda params, number: Fate(result={"gap": params["x"] / 4, "n": params["x"], "ok": True}))
    return lab


def test_csv_has_a_column_per_parameter_and_per_key_of_the_result(scan: Lab) -> None:
    rows = table(scan)
    assert list(rows[0]) == ["task", "x", "label", "gap", "n", "ok", *FIELDS]
    assert [row["label"] for row in rows] == ["a,b", 'say "hi"\nthere', "ü"]
    assert (rows[0]["gap"], rows[0]["ok"], rows[0]["exit"], rows[0]["error"]) == ("0.25", "true", "0", "")


def test_csv_keeps_every_digit_and_names_what_is_no_number(lab: Lab) -> None:
    values = [0.1 + 0.2, 1e-300, math.nan, math.inf, -math.inf, 5]
    lab.submit("scan", xs(*range(6)))
    lab.run("scan", lambda params, number: Fate(result={"v": values[params["x"]]}))
    assert [row["v"] for row in table(lab)] == ["0.30000000000000004", "1e-300", "nan", "inf", "-inf", "5.0"]


def test_names_that_clash_get_their_part_in_front(lab: Lab) -> None:
    lab.submit("scan", [{"x": 1, "state": "solid", "z": 5}])
    lab.run("scan", gives({"x": 2, "node": "n"}))
    [row] = table(lab)
    assert list(row)[:6] == ["task", "param.x", "param.state", "z", "result.node", "result.x"]
    assert (row["param.x"], row["result.x"], row["param.state"], row["state"]) == ("1", "2", "solid", "succeeded")
    assert (row["result.node"], row["node"]) == ("n", "n1")


def test_results_that_are_no_objects_are_one_column(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2, 3))
    lab.run("scan", lambda params, number: Fate(result=[0.5, [1, 2], {"k": 9}][params["x"] - 1]))
    rows = table(lab)
    assert list(rows[0])[:4] == ["task", "x", "result", "k"]
    assert [(row["result"], row["k"]) for row in rows] == [("0.5", ""), ("[1,2]", ""), ("", "9")]


def test_only_succeeded_tasks_that_fit_are_written(scan: Lab) -> None:
    scan.submit("scan", [{"x": 1, "label": "a,b"}, {"x": 9, "label": "new"}])
    assert [row["x"] for row in table(scan)] == ["1", "2", "3"]
    assert [row["x"] for row in table(scan, where="gap > 0.3")] == ["2", "3"]


def test_a_map_without_results_gives_a_heading_alone(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    assert written(lab, "csv").decode().splitlines() == [",".join(["task", "x", *FIELDS])]


def test_json_lines_are_rows_with_values_as_they_were_kept(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    lab.run("scan", gives({"v": math.nan, "big": 10**30}))
    [line] = written(lab, "jsonl").splitlines()
    row = json.loads(line)
    assert row["result"] == {"v": {"$float": "nan"}, "big": 10**30}
    assert list(row)[:5] == ["task", "map", "index", "params", "state"]


def test_parquet_has_typed_columns(scan: Lab) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    found: Any = parquet.read_table(io.BytesIO(written(scan, "parquet")))
    types = {field.name: str(field.type) for field in found.schema}
    assert (types["x"], types["gap"], types["ok"], types["label"]) == ("int64", "double", "bool", "string")
    assert (types["started"], types["stale"], types["signal"]) == ("timestamp[us, tz=UTC]", "bool", "int64")
    assert found.column("gap").to_pylist() == [0.25, 0.5, 0.75]
    assert found.column("started")[0].as_py().isoformat() == scan.rows("scan")[0]["started"].replace(".000000", "")
    assert found.num_rows == 3


def test_values_of_several_kinds_are_json_text_in_typed_tables(lab: Lab) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    lab.submit("scan", xs(1, "1", True, 2**70))
    lab.run("scan", gives({"list": [1], "n": 1}))
    found: Any = parquet.read_table(io.BytesIO(written(lab, "parquet")))
    assert found.column("x").to_pylist() == ["1", '"1"', "true", str(2**70)]
    assert found.column("list").to_pylist() == ["[1]"] * 4


def test_hdf5_has_a_dataset_per_column(scan: Lab, tmp_path: Path) -> None:
    h5py: Any = pytest.importorskip("h5py")
    path = tmp_path / "scan.h5"
    path.write_bytes(written(scan, "hdf5"))
    with h5py.File(path) as file:
        group = file["results"]
        assert list(group.attrs["columns"])[:4] == ["task", "x", "label", "gap"]
        assert group["gap"][:].tolist() == [0.25, 0.5, 0.75]
        assert group["x"][:].tolist() == [1, 2, 3]
        assert group["signal"][:].tolist() == [-(2**63)] * 3
        assert group["ok"][:].tolist() == [1, 1, 1]
        assert group["label"].asstr()[2] == "ü"


def test_batches_join_without_a_seam(lab: Lab) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    lab.submit("scan", xs(*range(10_500)))
    lab.run("scan")
    found: Any = parquet.read_table(io.BytesIO(written(lab, "parquet")))
    assert found.column("index").to_pylist() == list(range(10_500))
    assert len(table(lab)) == 10_500


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as out:
            out.write(b"half")
            raise ProvrunError("the disk is gone")

    with pytest.raises(ProvrunError, match="the disk is gone"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path) as out:
        out.write(b"new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_key_that_came_meanwhile_is_not_lost_silently(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    lab.run("scan", gives({"a": 1}))
    columns = discover(("x",), [('{"x":1}', '{"b":2}')])
    [row] = lab.rows("scan")
    with pytest.raises(ProvrunError, match="scan/0 came meanwhile with a"):
        Cells(columns).of(row)


@pytest.mark.parametrize(
    ("name", "form"), [("a.csv", "csv"), ("a.JSONL", "jsonl"), ("a.parquet", "parquet"), ("a.h5", "hdf5")]
)
def test_the_name_of_a_file_says_its_format(name: str, form: str) -> None:
    assert format_of(Path(name)) == form


def test_a_name_that_says_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="does not say which format"):
        format_of(Path("a.txt"))
