"""What functions return comes back as it was, or is refused by its type."""

from __future__ import annotations

import cmath
import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provrun.core.canonical import NotAValue
from provrun.run.values import Encoded, decode_result, encode_result

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)


def back(encoded: Encoded, folder: Path | str = "") -> Any:
    contents = {artifact.digest.hex(): content for artifact, content in encoded.blobs if content is not None}
    return decode_result(encoded.text, contents.__getitem__, str(folder))


@given(JSON)
def test_json_values_come_back(value: object) -> None:
    assert back(encode_result(value, "")) == value


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.array([1 + 2j, cmath.inf]),
        np.array([], dtype=np.float32),
        np.array(["a", "ü"]),
        np.zeros((2, 0, 3), order="F"),
        np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array([True, False]),
        np.array(["2024-01-01"], dtype="datetime64[D]"),
    ],
)
def test_arrays_come_back_with_type_and_shape(array: Any) -> None:
    found = back(encode_result({"deep": [array]}, ""))["deep"][0]
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found, array)


def test_a_blob_is_named_by_where_it_stands() -> None:
    encoded = encode_result({"a": np.arange(3), "b": [np.arange(3), {"c": 1j}]}, "")
    assert [artifact.name for artifact, _ in encoded.blobs] == ["a", "b[0]", "b[1].c"]
    assert len({artifact.digest for artifact, _ in encoded.blobs[:2]}) == 1


def test_numpy_scalars_become_python_s_and_complex_ones_come_back() -> None:
    values = [np.float64(0.1), np.int32(7), np.bool_(True), np.float32(0.5)]
    assert encode_result(values, "").text == "[0.1,7,true,0.5]"
    assert back(encode_result([np.complex128(1 + 2j), 3j], "")) == [1 + 2j, 3j]


def test_equal_results_have_equal_digests_on_every_run() -> None:
    assert encode_result({"b": 1, "a": np.arange(3)}, "").digest.hex() == (
        encode_result({"a": np.arange(3), "b": np.int64(1)}, "").digest.hex()
    )
    assert encode_result(1, "").digest != encode_result(1.0, "").digest


def test_long_results_become_a_blob_with_blobs_in_it() -> None:
    value = {"list": list(range(50_000)), "array": np.arange(3)}
    encoded = encode_result(value, "")
    assert len(encoded.text) < 300
    found = back(encoded)
    assert found["list"] == value["list"]
    np.testing.assert_array_equal(found["array"], value["array"])


def test_a_path_is_an_output_file(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("abc")
    encoded = encode_result({"file": tmp_path / "out" / "a.txt", "other": Path("out/a.txt")}, str(tmp_path))
    assert [(artifact.role, artifact.name, artifact.path, artifact.size) for artifact, _ in encoded.blobs] == [
        ("output", "file", "out/a.txt", 3),
        ("output", "other", "out/a.txt", 3),
    ]
    assert back(encoded, tmp_path) == {"file": tmp_path / "out/a.txt", "other": tmp_path / "out/a.txt"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": {1, 2}}, "a is of type set"),
        ([1, object()], r"\[1\] is of type object"),
        (b"abc", "the value is of type bytes"),
        (datetime.datetime(2024, 1, 1), "datetime"),
        ({1: 2}, "keys are text"),
        (np.array([object()]), "object elements"),
        (np.ma.array([1], mask=[True]), "MaskedArray"),
        (print, "builtin_function"),
        ((x for x in ()), "generator"),
        ("\ud800", "lone surrogate"),
        (Path("none.txt"), "No such file"),
        (Path("/etc/passwd"), "not beneath"),
    ],
)
def test_anything_else_is_refused_by_its_type(value: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(NotAValue, match=message):
        encode_result(value, str(tmp_path))


def test_data_frames_come_back_as_what_they_were() -> None:
    pandas = pytest.importorskip("pandas")
    pyarrow = pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"x": [1, 2], "y": ["a", None]}, index=[3, 4])
    table = pyarrow.table({"z": [1.5]})
    found = back(encode_result({"frame": frame, "table": table}, ""))
    pandas.testing.assert_frame_equal(found["frame"], frame)
    assert found["table"].equals(table)
    polars = pytest.importorskip("polars")
    assert back(encode_result(polars.DataFrame({"x": [1]}), "")).equals(polars.DataFrame({"x": [1]}))
