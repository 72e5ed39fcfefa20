"""Results too long for the registry flow into commands as short ones do."""

from __future__ import annotations

import sys

from fixtures.runs import Runs
from provrun.core.records import Dependency

LONG = 70_000
COUNT = "import json, sys; print([len(json.loads(line)['result']['pad']) for line in open(sys.argv[1])])"


def test_a_command_reads_a_key_of_a_long_result(runs: Runs) -> None:
    runs.submit("a", ["sh", "-c", f"printf '{{\"y\": {{x}}, \"pad\": \"%0{LONG}d\"}}' 0"], 2)
    runs.submit("b", ["echo", "{a.result.y}"], on=[Dependency(upstream="a", kind="each")], params=[{}])
    assert runs.run().exit == 0
    assert [runs.attempts("b", index)[0].result for index in range(2)] == ["0", "1"]


def test_a_command_reads_rows_with_long_results(runs: Runs) -> None:
    runs.submit("a", ["sh", "-c", f"printf '{{\"pad\": \"%0{LONG}d\"}}' 0"], 3)
    runs.submit("b", [sys.executable, "-c", COUNT, "{a.rows}"], on=[Dependency(upstream="a", kind="all")], params=[{}])
    assert runs.run().exit == 0
    assert runs.attempts("b", 0)[0].result == f"[{LONG},{LONG},{LONG}]"


def test_a_function_and_a_command_read_the_same_rows(runs: Runs) -> None:
    (runs.root / "size.py").write_text("def f(rows):\n    return [len(row['result']['pad']) for row in rows]\n")
    runs.submit("a", ["sh", "-c", f"printf '{{\"pad\": \"%0{LONG}d\"}}' 0"], 2)
    on = [Dependency(upstream="a", kind="all")]
    runs.submit("b", "size.py:f", on=on, params=[{}])
    runs.submit("c", [sys.executable, "-c", COUNT, "{a.rows}"], on=on, params=[{}])
    assert runs.run().exit == 0
    assert [runs.attempts(name, 0)[0].result for name in "bc"] == [f"[{LONG},{LONG}]"] * 2
