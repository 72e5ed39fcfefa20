"""Parameters as a user writes them: which values, in which order, and how they are filled into a command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from fixtures.cli import Cli


def planned(cli: Cli, *words: str, command: tuple[str, ...] = ("true",)) -> dict[str, Any]:
    done = cli("submit", "scan", "--dry-run", "--json", *words, "--", *command)
    assert done.exit == 0, done.out
    document: dict[str, Any] = done.json
    return document


def values(cli: Cli, *words: str) -> list[tuple[object, ...]]:
    """Give the points in order, as the registry has them."""
    assert cli("submit", "points", *words, "--", "true").exit == 0
    rows = cli("tasks", "points", "--json").json["tasks"]
    return [tuple(row["params"].values()) for row in rows]


def test_every_form_of_values_gives_its_count_first_and_last(cli: Cli) -> None:
    (cli.folder / "lines").write_text("1\ntwo words\n3.5\n")
    forms: dict[str, tuple[int, object, object]] = {
        "a=0:1000": (1000, 0, 999),
        "b=0:1:0.01": (100, 0.0, 0.99),
        "c=0:0.3:0.1": (3, 0.0, 0.2),
        "d=10:0:-2": (5, 10, 2),
        "e=-3:3": (6, -3, 2),
        "f=a,b,c": (3, "a", "c"),
        'g=["1","a,b"]': (2, "1", "a,b"),
        "h=@lines": (3, 1, 3.5),
        "i=lin:0:1:50": (50, 0.0, 1.0),
        "j=log:1e-3:1:20": (20, 0.001, 1.0),
        "k:text=0:10": (1, "0:10", "0:10"),
        "l:text=1,true": (2, "1", "true"),
        "m=1,1.0,true,null": (4, 1, None),
        'n=[{"$float":"nan"},{"$float":"-inf"}]': (2, {"$float": "nan"}, {"$float": "-inf"}),
        'o={"a":[1,2]},"x, y"': (2, {"a": [1, 2]}, "x, y"),
        "p=-5": (1, -5, -5),
    }
    shown = planned(cli, *(word for form in forms for word in ("--param", form)))["parameters"]
    found = {each["name"]: (each["count"], each["first"], each["last"]) for each in shown}
    assert found == {form[0]: expected for form, expected in forms.items()}
    assert [(type(first), type(last)) for _, first, last in found.values()] == [
        (type(first), type(last)) for _, first, last in forms.values()
    ]


def test_points_are_the_doubles_nearest_to_the_exact_values_also_from_python(cli: Cli) -> None:
    found = [x for (x,) in values(cli, "--param", "x=0:1:0.01")]
    assert found == [k / 100 for k in range(100)]
    script = (
        "import provrun as pr\n"
        "pr.submit('lin', 'true {x}', x=pr.lin(0, 1, 7))\n"
        "pr.submit('log', 'true {x}', x=pr.log(1e-3, 1, 7))\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=cli.folder, check=True, timeout=60)
    for name, form in (("lin", "lin:0:1:7"), ("log", "log:1e-3:1:7")):
        done = cli("submit", name, "--param", f"x={form}", "--json", "--", "true", "{x}")
        assert [done.json[key] for key in ("added", "existing")] == [0, 7]


def test_several_parameters_make_the_grid_and_zip_pairs_them(cli: Cli) -> None:
    words = ["--param", "x=1,2", "--param", "y=a,b", "--param", "z=0,1", "--zip", "x,y"]
    assert values(cli, *words) == [(1, "a", 0), (1, "a", 1), (2, "b", 0), (2, "b", 1)]
    done = cli("submit", "other", "--param", "x=1,2,3", "--param", "y=4,5", "--zip", "x,y", "--json", "--", "true")
    assert done.exit == 2
    assert "x has 3, y has 2" in done.error["message"]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "tsv", "parquet"])
def test_rows_of_a_file_multiply_the_grid(cli: Cli, suffix: str) -> None:
    path = cli.folder / f"rows.{suffix}"
    write_rows(path)
    shown = planned(cli, "--params", path.name, "--param", "z=0:3", command=("echo", "{a}", "{b}", "{z}"))
    assert shown["tasks"] == 6
    assert [(each["name"], each["first"], each["last"]) for each in shown["parameters"]] == [
        ("a", 1, 2), ("b", "x", "y z"), ("z", 0, 2)
    ]
    assert shown["first"] == "echo 1 x 0"


def write_rows(path: Path) -> None:
    match path.suffix:
        case ".jsonl":
            path.write_text('{"a":1,"b":"x"}\n{"a":2,"b":"y z"}\n')
        case ".json":
            path.write_text('[{"a":1,"b":"x"},{"a":2,"b":"y z"}]')
        case ".csv":
            path.write_text('a,b\n1,x\n2,"y z"\n')
        case ".tsv":
            path.write_text("a\tb\n1\tx\n2\ty z\n")
        case ".parquet":
            pyarrow.parquet.write_table(pyarrow.table({"a": [1, 2], "b": ["x", "y z"]}), path)


def test_a_longer_sample_contains_the_shorter_and_the_seed_decides(cli: Cli) -> None:
    words = ["--param", "x=uniform:0:1", "--param", "m=1,2,3"]
    short = values(cli, *words, "--sample", "4", "--sample-seed", "7")
    done = cli("submit", "points", *words, "--sample", "9", "--sample-seed", "7", "--json", "--", "true")
    assert [done.json[key] for key in ("added", "existing", "total")] == [5, 4, 9]
    assert all(0 <= x < 1 for _, x in short)
    other = planned(cli, *words, "--sample", "4", "--sample-seed", "8")
    assert other["parameters"][0]["first"] != short[0][1]
    assert cli("submit", "more", "--param", "x=uniform:0:1", "--", "true").exit == 2


def test_placeholders_are_filled_once_and_other_braces_stand(cli: Cli) -> None:
    command = (
        "tool", "{print $1}", '{"a":1}', "${HOME}", "{{x}}", "{x:.3f}", "{n:05d}", "{s}", "{v}", "{index}", "{task}",
        "{params}", "{cores}",
    )
    words = ["--param", "x=1.5", "--param", "n=7", "--param", 's=["{n}"]', "--param", "v=[[1,null]]", "--cores", "2"]
    assert planned(cli, *words, command=command)["first"] == (
        "tool '{print $1}' '{\"a\":1}' '${HOME}' '{x}' 1.500 00007 '{n}' '[1,null]' 0 scan/0"
        ' \'{"n":7,"s":"{n}","v":[1,null],"x":1.5}\' 2'
    )
    done = cli("submit", "scan", *words, "--json", "--", "tool", "{y}", "{input.0}", "{x:q}")
    assert done.exit == 2
    assert len(done.error["value"]) == 3


def test_what_cannot_be_read_is_told_with_its_line(cli: Cli) -> None:
    (cli.folder / "bad.jsonl").write_text('{"a":1}\n{"b":2}\nnope\n')
    (cli.folder / "bad.csv").write_text("c,d\n1\n")
    done = cli(
        "submit", "scan", "--params", "bad.jsonl", "--params", "bad.csv", "--params", "none.tsv", "--params", "x.ods",
        "--json", "--", "true",
    )
    assert (done.exit, done.error["code"]) == (2, "invalid")
    told = "\n".join(done.error["value"])
    for part in ("bad.jsonl line 2", "bad.jsonl line 3", "bad.csv line 2", "none.tsv", "x.ods"):
        assert part in told


def test_what_submit_says_stays_short_and_warns_of_slips(cli: Cli) -> None:
    (cli.folder / "long").write_text("x" * 100_000)
    done = cli("submit", "scan", "--param", "x=@long", "--uses", "modle.py", "--", "echo", "{x}")
    assert done.exit == 0
    assert "x: 1 value, xxx" in done.out
    assert "scan: 1 task added, 0 there already, 1 in all" in done.out
    assert len(done.out) < 2000
    assert "--uses modle.py: there is no such file" in done.err
    assert done.out.splitlines()[-1] == "next: provrun run scan"
    empty = cli("submit", "none", "--param", "x=0:0", "--", "echo", "{x}")
    assert (empty.exit, cli("show", "none").exit) == (2, 4)
