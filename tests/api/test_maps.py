"""Maps in Python: scripts without a guard, values that flow, results as they were returned."""

from __future__ import annotations

import json
from pathlib import Path

from api.conftest import Script
from fixtures import stranger

STUDY = '''
import provrun as pr

def square(x, shift=0):
    return {"y": x * x + shift}

def scale(y, factor):
    return y * factor

def total(rows, factor):
    listed = [row["result"] for row in rows]
    return {"n": len(listed), "sum": sum(listed)}

first = pr.map(square, x=range(5))
second = pr.map(scale, each=first, factor=[1, 10], name="scaled")
last = pr.reduce(total, over=second, by=["factor"])
done = last.run(slots=2)
'''


def test_three_stages_in_a_script_without_a_guard(script: Script) -> None:
    out = script(STUDY + '''
print(done["succeeded"], done["failed"])
for row in last.results():
    print(row["params"], row["result"])
print(pr.get("scaled").results()[3]["params"], second.results()[3]["result"], len(second))
''')
    assert out.splitlines() == [
        "17 0", "{'factor': 1} {'n': 5, 'sum': 30}", "{'factor': 10} {'n': 5, 'sum': 300}",
        "{'factor': 10, 'x': 1} 10 10",
    ]


def test_what_a_script_does_with_its_results_is_done_once_and_by_its_own_process(
    script: Script, project_dir: Path
) -> None:
    out = script(STUDY.replace("return y * factor", "return later(y, factor)") + """
with open("plotted", "a") as file:
    file.write(f"{last.results()[0]['result']['sum']}\\n")

def later(y, factor):
    return y * factor
""")
    assert out == ""
    assert (project_dir / "plotted").read_text() == "30\n"


def test_running_a_script_again_with_a_longer_range_adds_only_what_is_new(script: Script) -> None:
    script(STUDY)
    out = script(STUDY.replace("range(5)", "range(7)") + "print(done['succeeded'], last.results()[0]['result'])")
    assert out == "8 {'n': 7, 'sum': 91}\n"


def test_defaults_are_recorded_with_the_result(script: Script) -> None:
    out = script(STUDY + "print(first.results()[0]['defaults'], first.results()[0]['code'] is not None)")
    assert out == "{'shift': 0} True\n"


def test_a_command_map_sweeps_keywords(script: Script) -> None:
    out = script('''
import provrun as pr
scan = pr.submit("scan", "echo {x}{y}", x=[1, 2], y=[3, 4])
scan.run(slots=2)
print(scan.results().column("result"), scan.status()["ntasks"]["succeeded"])
''')
    assert out == "[13, 14, 23, 24] 4\n"


def test_what_is_one_value_and_what_is_swept(script: Script) -> None:
    out = script('''
import numpy as np
import provrun as pr
def show(**given):
    return given
pr.map(show, text="abc", pair=pr.value([1, 2]), table={"k": 1}, name="one").run(slots=1)
print([row["params"] for row in pr.get("one").results()])
print(len(pr.map(show, a=np.arange(3), b=pr.lin(0, 1, 5), name="grid")))
print(len(pr.map(show, pr.zip(a=[1, 2], b=[3, 4]), c=[5, 6], name="zipped")))
print(len(pr.map(show, pr.sample(7, seed=1, u=pr.uniform(0, 1), k=[1, 2]), name="drawn")))
print(len(pr.map(show, [{"a": 1}, {"a": 2}], name="rows")))
def only(x):
    return x
print(len(pr.map(only, [1, 2, 3])))
''')
    assert out.splitlines() == ["[{'pair': [1, 2], 'table': {'k': 1}, 'text': 'abc'}]", "15", "4", "7", "2", "3"]


def test_arrays_and_frames_come_back_as_they_were_returned(script: Script) -> None:
    out = script('''
import numpy as np
import pandas as pd
import provrun as pr
def make(n):
    return {"z": np.arange(n) * 1j, "t": pd.DataFrame({"a": range(n)}), "mean": np.float64(n) / 2}
m = pr.map(make, n=[2, 3])
m.run(slots=1)
row = m.results()[1]
print(row["result"]["z"].dtype, row["result"]["z"].tolist(), row["result"]["t"]["a"].sum(), row["result"]["mean"])
def norm(z):
    return float(abs(z).sum())
n = pr.map(norm, each=m)
n.run(slots=1)
print(n.results().column("result"))
''')
    assert out.splitlines() == ["complex128 [0j, 1j, 2j] 3 1.5", "[1.0, 3.0]"]


def test_results_become_frames_with_a_column_for_each_parameter_and_key(script: Script) -> None:
    out = script(STUDY + '''
frame = second.results().pandas()
print(list(frame.columns[:4]), len(frame), frame["result"].sum())
import polars
print(polars.DataFrame(second.results()).shape[0], second.results().arrow().num_rows)
''')
    assert out.splitlines() == ["['task', 'factor', 'x', 'result'] 10 330", "10 10"]


def test_a_table_shows_its_first_rows(script: Script) -> None:
    out = script(STUDY + "print(first.results())\nprint(second.results()._repr_html_()[:7])")
    assert out.splitlines()[:2] == ["task      x  y   state    ", "square/0  0  0   succeeded"]
    assert out.splitlines()[-1] == "<table>"


def test_the_result_of_a_map_of_many_tasks_is_refused_and_a_failed_one_explained(script: Script) -> None:
    assert "square.results()" in script(STUDY + "first.result()", fails=True)
    assert "provrun why bad/0" in script('''
import provrun as pr
def bad():
    raise ValueError("no")
m = pr.map(bad)
m.run(slots=1)
m.result()
''', fails=True)


def test_ambiguous_names_show_the_line_to_write(script: Script) -> None:
    said = script('''
import provrun as pr
def f(cores):
    return cores
pr.map(f, cores=[1, 2])
''', fails=True)
    assert "pr.map(f, {'cores': ...})" in said


def test_a_parameter_of_an_options_name_goes_into_params(script: Script) -> None:
    out = script('''
import provrun as pr
def f(cores):
    return cores
m = pr.map(f, {"cores": [1, 2]})
m.run(slots=1)
print(m.results().column("result"))
''')
    assert out == "[1, 2]\n"


def test_functions_that_no_other_process_finds_are_refused_with_the_def_to_write(script: Script) -> None:
    assert "def name(x): return ..." in script("import provrun as pr\npr.map(lambda x: x, x=[1])", fails=True)
    closure = "import provrun as pr\ndef outer():\n    def inner(x): return x\n    return inner\npr.map(outer(), x=[1])"
    assert "def inner(...)" in script(closure, fails=True)


def test_a_partial_of_json_values_is_a_recipe(script: Script) -> None:
    out = script('''
import functools
import provrun as pr
def power(x, n):
    return x ** n
m = pr.map(functools.partial(power, n=3), x=range(4), name="cubes")
m.run(slots=1)
print(m.results().column("result"))
''')
    assert out == "[0, 1, 8, 27]\n"


def test_random_numbers_repeat_with_the_task(script: Script) -> None:
    out = script('''
import random
import provrun as pr
def draw(i):
    return [random.random(), float(pr.rng().random())]
m = pr.map(draw, i=range(3))
m.run(slots=2)
before = m.results().column("result")
m.rerun(force=True)
m.run(slots=1)
after = m.results().column("result")
print(before == after, len({tuple(one) for one in before}))
''')
    assert out == "True 3\n"


def test_reading_outside_a_project_raises_no_project(tmp_path: Path, script: Script) -> None:
    said = script(f"import os\nos.chdir({str(tmp_path)!r})\nimport provrun as pr\npr.maps()", fails=True)
    assert "NoProject" in said


def test_importing_the_package_imports_nothing_heavy(script: Script) -> None:
    out = script('''
import sys
import provrun as pr
print(sorted(name for name in sys.modules if name.startswith("provrun")))
assert not {"sqlalchemy", "numpy", "click", "msgspec", "git"} & set(sys.modules)
''')
    assert out == "['provrun']\n"


def test_an_export_has_the_records_of_all_tasks_and_a_stranger_agrees(script: Script, project_dir: Path) -> None:
    script(STUDY + "last.export('paper.ttl', leaves='leaves.jsonl')")
    stranger.check(project_dir / "paper.ttl", project_dir / "leaves.jsonl")
    assert len((project_dir / "leaves.jsonl").read_bytes().splitlines()) == 17
    told = [json.loads(line) for line in (project_dir / "leaves.jsonl").read_bytes().splitlines()]
    assert {str(one["defaults"]) for one in told if one["map"] == "square"} == {"{'shift': 0}"}


def test_an_export_takes_its_format_from_the_name_of_the_file(script: Script, project_dir: Path) -> None:
    script(STUDY + "last.export('paper.ttl')")
    assert (project_dir / "paper.ttl").read_text().startswith("@prefix")


def test_tracing_and_asking_why_from_python(script: Script) -> None:
    out = script(STUDY + "print(last.trace())\nprint(first.why(0))")
    assert "square" in out
