"""Function tasks: what they get, what they give, and what they cannot do to each other."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.agents import Driver
from provrun.core.messages import Joined
from provrun.core.records import Policy, Recipe
from provrun.core.states import Outcome

XS = [{"x": x} for x in range(20)]


@pytest.fixture
def module(workplace: Path) -> Any:
    """Give what writes the module ``work.py`` of the project."""

    def write(text: str, name: str = "work.py") -> Path:
        path = workplace / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
        return path

    return write


def test_functions_get_parameters_by_name_and_give_values(driver: Driver, module: Any) -> None:
    module("def f(x, *, y, z=3): return {'sum': x + y + z, 'list': [x, None, 'é', True, 1.5]}")
    (result,) = driver.function("work.py:f", [{"y": 2, "x": 1}], own=("x", "y"))
    assert driver.value(result) == {"sum": 6, "list": [1, None, "é", True, 1.5]}
    (loaded,) = driver.loaded()
    assert loaded.defaults == {"z": 3}
    assert set(loaded.files) == {"work.py"}


def test_functions_are_found_by_module_and_by_file(driver: Driver, module: Any) -> None:
    module("from pkg.inner import g\ndef f(x): return g(x)\n", "pkg/__init__.py")
    module("from . import deep\ndef g(x): return ['inner', x, __name__, deep.D]", "pkg/inner.py")
    module("D = 1", "pkg/deep.py")
    module("import beside\ndef f(x): return [beside.B, __name__]", "scripts/my-script.py")
    module("B = 2", "scripts/beside.py")
    assert driver.value(driver.function("pkg.inner:g")[0]) == ["inner", 0, "pkg.inner", 1]
    found = driver.value(driver.function("scripts/my-script.py:f")[0])
    assert found[0] == 2
    by_map = {loaded.map: set(loaded.files) for loaded in driver.loaded()}
    assert by_map == {
        1: {"pkg/__init__.py", "pkg/inner.py", "pkg/deep.py"},
        2: {"scripts/my-script.py", "scripts/beside.py"},
    }


def test_builtins_and_bound_values_work(driver: Driver, module: Any) -> None:
    module("def f(x, scale, shift=0): return x * scale + shift")
    assert driver.value(driver.function("math:sqrt", [{"x": 16}])[0]) == 4.0
    (result,) = driver.function("work.py:f", [{"x": 3}], recipe={"bound": {"scale": 10, "shift": 1}})
    assert driver.value(result) == 31
    assert driver.loaded()[-1].defaults == {}


def test_results_of_upstream_tasks_are_arguments(driver: Driver, module: Any) -> None:
    module(
        "import numpy as np\n"
        "def make(x): return {'psi': np.arange(x) * 1j, 'energy': x / 2}\n"
        "def use(make, psi, energy, kind, x): return [float(abs(psi).sum()), energy, kind, x, sorted(make)]\n"
    )
    (made,) = driver.function("work.py:make", [{"x": 4}])
    blobs = {artifact.digest.hex(): [driver.job, artifact.place] for artifact in made.artifacts or ()}
    reads = {"each": {"make": {"result": json.loads(made.result or ""), "outputs": {}, "blobs": blobs}}}
    (used,) = driver.function(
        "work.py:use", [{"x": 4, "kind": "gap"}], own=("kind",), each=("make",), reads=reads, upstream=0
    )
    assert driver.value(used) == [6.0, 2.0, "gap", 4, ["energy", "psi"]]


def test_reduces_stream_rows_and_get_columns(driver: Driver, module: Any, workplace: Path) -> None:
    rows = [{"index": i, "params": {"L": i % 2, "s": i}, "result": {"e": i + 0.5}} for i in range(4)]
    (workplace / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    module(
        "def mean(rows): return sum(row['result']['e'] for row in rows) / len(rows)\n"
        "def column(e, s, L): return [e, s, L]\n"
        "def whole(obs, result): return [len(obs), result[0]]\n"
        "def table(rows): return [len(rows.table()), rows.table().column('e')]\n"
        "def missing(nothing): return 1\n"
    )
    reads = {"rows": {"obs": str(workplace / "rows.jsonl")}}
    more = {"reads": reads, "reduces": ("obs",), "own": ()}
    assert driver.value(driver.function("work.py:mean", [{}], **more)[0]) == 2.0
    found = driver.value(driver.function("work.py:column", [{"L": 7}], **more)[0])
    assert found == [[0.5, 1.5, 2.5, 3.5], [0, 1, 2, 3], 7]
    assert driver.value(driver.function("work.py:whole", [{}], **more)[0]) == [4, {"e": 0.5}]
    assert driver.value(driver.function("work.py:table", [{}], **more)[0]) == [4, [0.5, 1.5, 2.5, 3.5]]
    (failed,) = driver.function("work.py:missing", [{}], **more)
    assert failed.error == "work.py:missing needs nothing, which nothing gives (parameters: none)"


def test_arrays_frames_and_paths_are_results(driver: Driver, module: Any, workplace: Path) -> None:
    module(
        "import numpy as np, pathlib\n"
        "def f(x):\n"
        "    path = pathlib.Path(f'out-{x}.txt'); path.write_text('content')\n"
        "    return {'array': np.eye(2) * x, 'file': path, 'scalar': np.float32(0.5)}\n"
    )
    for x, result in enumerate(driver.function("work.py:f", XS[:3])):
        value = driver.value(result)
        np.testing.assert_array_equal(value["array"], np.eye(2) * x)
        assert value["file"] == workplace / f"out-{x}.txt"
        roles = {(a.role, a.name, a.path, a.place is None) for a in result.artifacts or ()}
        assert roles == {("result", "array", None, False), ("output", "file", f"out-{x}.txt", True)}


def test_what_is_no_value_fails_the_attempt_naming_its_type(driver: Driver, module: Any) -> None:
    module("def f(x): return {'a': {1, 2}}")
    (result,) = driver.function("work.py:f")
    assert (result.outcome, result.error) == (Outcome.EXCEPTION, "a is of type set, which is no value")


def test_an_exception_is_told_in_a_line_and_its_traceback_logged(driver: Driver, module: Any) -> None:
    module("def f(x):\n    return g(x)\ndef g(x):\n    raise ValueError(f'no {x}\\nsecond line')\n")
    (result,) = driver.function("work.py:f")
    assert (result.outcome, result.error) == (Outcome.EXCEPTION, "ValueError: no 0")
    text = driver.log(result).err.head.decode()
    assert text.startswith("Traceback") and "work.py" in text and "in g" in text and "second line" in text
    assert "provrun/run" not in text


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("import nothing_of_this_name\n", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("def f(x:\n", "SyntaxError: "),
        ("raise RuntimeError('at import')\n", "RuntimeError: at import"),
        ("def g(x): return 1\n", "AttributeError: module 'work' has no attribute 'f'"),
        ("f = 5\n", "TypeError: work.py:f is no function"),
    ],
)
def test_a_module_that_cannot_be_used_fails_its_tasks_with_the_reason(
    driver: Driver, module: Any, text: str, error: str
) -> None:
    module(text)
    for result in driver.function("work.py:f", XS[:3]):
        assert result.outcome == Outcome.EXCEPTION
        assert result.error is not None and result.error.startswith(error)
        assert driver.log(result).err.head


def test_a_missing_module_fails_its_tasks(driver: Driver) -> None:
    for name in ("nowhere.py:f", "nowhere:f"):
        (result,) = driver.function(name)
        assert result.outcome == Outcome.EXCEPTION


def test_a_module_that_crashes_when_imported_costs_its_tasks_only(driver: Driver, module: Any) -> None:
    module("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "crash.py")
    module("def f(x): return x")
    results = driver.function("crash.py:f", XS[:3])
    assert [result.outcome for result in results] == [Outcome.SIGNAL] * 3
    assert driver.value(driver.function("work.py:f")[0]) == 0


@pytest.mark.parametrize(
    ("crash", "outcome", "detail"),
    [
        ("import ctypes; ctypes.string_at(0)", Outcome.SIGNAL, signal.SIGSEGV),
        ("import os; os._exit(3)", Outcome.EXIT, 3),
        ("import sys; sys.exit(4)", Outcome.EXIT, 4),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", Outcome.SIGNAL, signal.SIGKILL),
        ("raise MemoryError", Outcome.MEMORY, None),
        ("raise KeyboardInterrupt", Outcome.EXCEPTION, None),
    ],
)
def test_a_crash_costs_one_attempt_and_no_task_runs_twice(
    driver: Driver, module: Any, tmp_path: Path, crash: str, outcome: Outcome, detail: int | None
) -> None:
    witness = tmp_path / "witness"
    module(
        f"def f(x):\n    with open({str(witness)!r}, 'a') as file: file.write(f'{{x}}\\n')\n"
        f"    if x % 50 == 7:\n        print('last words', flush=True); {crash}\n    return x\n"
    )
    results = driver.function("work.py:f", [{"x": x} for x in range(200)])
    crashed = [result for result in results if result.index % 50 == 7]
    assert [(result.outcome, result.detail) for result in crashed] == [(outcome, detail)] * 4
    assert all(driver.log(result).out.head == b"last words\n" for result in crashed)
    assert driver.values([r for r in results if r.index % 50 != 7]) == [x for x in range(200) if x % 50 != 7]
    assert Counter(witness.read_text().split()) == Counter(str(x) for x in range(200))


def test_a_death_is_told_while_what_the_child_has_started_holds_its_socket(
    driver: Driver, module: Any, workplace: Path
) -> None:
    module(
        "import os, pathlib, threading, time\n"
        "def f(x):\n"
        "    if x == 0:\n"
        "        if os.fork() == 0: time.sleep(60)\n"
        "        os._exit(3)\n"
        "    time.sleep(2)\n"
        "    threading.Timer(0.2, os._exit, [0]).start()  # dies with its result on the way\n"
        "    pathlib.Path('other').touch()\n"
        "    return x\n"
    )
    joined = driver.joined()
    map = driver.map(Recipe(kind="function", function="work.py:f"), policy=Policy(isolate=True))
    driver.start(map, XS[:2])
    driver.until(lambda: driver.results)
    assert (driver.results[0].outcome, driver.results[0].detail) == (Outcome.EXIT, 3)
    assert not (workplace / "other").exists()
    _, succeeded = driver.wait(2)
    assert driver.value(succeeded) == 1
    assert [each for each in driver.messages if isinstance(each, Joined)] == [joined]


def test_each_task_has_its_own_random_numbers_and_always_the_same(driver: Driver, module: Any) -> None:
    module("import numpy as np\ndef f(x):\n    import random\n    return [random.random(), float(np.random.rand())]\n")
    first = driver.values(driver.function("work.py:f", XS))
    second = driver.values(driver.function("work.py:f", XS[::-1]))
    assert first == second[::-1]
    assert len({tuple(pair) for pair in first}) == len(XS)


def test_the_state_of_a_process_is_restored_after_each_task(driver: Driver, module: Any) -> None:
    module(
        "import os, signal, sys, warnings\n"
        "def spoil(x):\n"
        "    os.chdir('/'); os.umask(0o77); os.environ['SPOILED'] = '1'; os.environ.pop('PATH')\n"
        "    os.environ['HOME'] = '/spoiled'; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    warnings.simplefilter('error'); sys.stdout = None; sys.stderr.close()\n"
        "    return os.getpid()\n"
        "def look(x):\n"
        "    mask = os.umask(0); os.umask(mask)\n"
        "    return [os.getpid(), os.getcwd(), mask, os.environ.get('SPOILED'), 'PATH' in os.environ,\n"
        "            os.environ['HOME'], signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,\n"
        "            [str(f[0]) for f in warnings.filters][:1], sys.stdout is not None,\n"
        "            os.environ['PROVRUN_TASK'], os.environ['PROVRUN_ATTEMPT'], sys.stdin.read()]\n"
    )
    pids = set(driver.values(driver.function("work.py:spoil", XS)))
    looks = driver.values(driver.function("work.py:look", XS))
    assert pids & {look[0] for look in looks}
    mask = os.umask(0)
    os.umask(mask)
    for index, look in enumerate(looks):
        assert look[1:7] == [str(driver.project), mask, None, True, os.environ["HOME"], True]
        assert look[7] != ["error"] and look[8]
        assert look[9:] == [f"scan/{index}", f"scan/{index}#1", ""]


def test_with_isolation_each_task_has_a_fresh_process(driver: Driver, module: Any) -> None:
    module("import os\nseen = []\ndef f(x):\n    seen.append(x)\n    return [os.getpid(), seen]\n")
    found = driver.values(driver.function("work.py:f", XS[:6], policy=Policy(isolate=True)))
    assert [seen for _, seen in found] == [[x] for x in range(6)]
    assert len({pid for pid, _ in found}) == 6


def test_warm_children_import_their_module_once(driver: Driver, module: Any, tmp_path: Path) -> None:
    witness = tmp_path / "imports"
    module(f"import os\nopen({str(witness)!r}, 'a').write('x')\ndef f(x): return os.getpid()\n")
    pids = set(driver.values(driver.function("work.py:f", XS)))
    assert witness.read_text() == "x"
    assert 1 <= len(pids) <= 2


def test_each_child_imports_a_module_with_threads_for_itself(driver: Driver, module: Any, tmp_path: Path) -> None:
    witness = tmp_path / "imports"
    module(
        "import os, threading, time\n"
        f"open({str(witness)!r}, 'a').write('x')\n"
        "lock = threading.Lock()\n"
        "def work():\n    while True:\n        with lock: time.sleep(0.01)\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "def f(x):\n    with lock: return threading.active_count()\n"
    )
    assert set(driver.values(driver.function("work.py:f", XS))) == {2}
    assert 2 <= len(witness.read_text()) <= 3
    loaded = {message.number: set(message.files) for message in driver.loaded()}
    assert {"work.py"} in loaded.values()


def test_an_edited_module_is_loaded_anew_and_overlapping_attempts_have_both(driver: Driver, module: Any) -> None:
    module("import time\ndef f(x):\n    time.sleep(0.4)\n    return 'old'\n")
    map = driver.map(Recipe(kind="function", function="work.py:f"))
    driver.start(map, [{"x": 0}])
    driver.until(driver.loaded)
    module("def f(x): return 'new, and longer'\n")
    (during,) = driver.wait(1)
    driver.start(map, [{"x": 1}], first=1)
    (afterwards,) = driver.wait(1)
    before, now = driver.loaded()
    assert driver.values([during, afterwards]) == ["old", "new, and longer"]
    assert (during.loaded, during.loaded_after) == (before.number, now.number)
    assert (afterwards.loaded, afterwards.loaded_after) == (now.number, now.number)
    assert before.files["work.py"] != now.files["work.py"]


def test_a_module_mended_after_it_failed_is_loaded(driver: Driver, module: Any) -> None:
    module("def f(x) return x")
    map = driver.map(Recipe(kind="function", function="work.py:f"))
    driver.start(map, [{"x": 0}])
    assert driver.wait(1)[0].outcome == Outcome.EXCEPTION
    time.sleep(0.5)  # files are not looked at again at once
    module("def f(x): return x + 1")
    driver.start(map, [{"x": 1}])
    assert driver.value(driver.wait(1)[0]) == 2


def test_a_module_imported_by_a_task_is_told_before_its_result(driver: Driver, module: Any) -> None:
    module("def f(x):\n    import late\n    return late.L")
    module("L = 5", "late.py")
    results = driver.function("work.py:f", XS[:4])
    numbers = {loaded.number: set(loaded.files) for loaded in driver.loaded()}
    assert {frozenset(numbers[result.loaded]) for result in results} == {frozenset({"work.py", "late.py"})}
    assert all(result.loaded == result.loaded_after for result in results)


def test_while_a_module_is_imported_this_is_known(driver: Driver, module: Any) -> None:
    module("from provrun.run import current\nduring = current.importing\ndef f(x): return [during, current.importing]")
    assert driver.value(driver.function("work.py:f")[0]) == [True, False]


def test_a_function_that_forks_gives_one_result(driver: Driver, module: Any) -> None:
    module(
        "import os, multiprocessing\n"
        "def fork(x):\n    os.fork()\n    return x\n"
        "def double(x): return 2 * x\n"
        "def pool(x):\n    with multiprocessing.Pool(2) as pool: return pool.map(double, range(3))\n"
    )
    assert driver.values(driver.function("work.py:fork", XS[:5])) == list(range(5))
    assert driver.value(driver.function("work.py:pool")[0]) == [0, 2, 4]


def test_memory_is_that_of_the_task_and_not_of_those_before_it(driver: Driver, module: Any) -> None:
    module(
        "import time\n"
        "def f(x):\n    data = bytearray(200_000_000 if x == 0 else 1)\n    time.sleep(0.02)\n    return 1\n"
    )
    results = driver.function("work.py:f", XS[:6])
    large = [result.index for result in results if (result.max_rss or 0) > 190_000]
    assert large == [0]
    assert not any(result.rss_shared for result in results)


def test_declared_files_of_functions_are_digested_verified_and_packed(
    driver: Driver, module: Any, workplace: Path
) -> None:
    module("def f(x):\n    if x < 2:\n        open(f'out-{x}.txt', 'w').write(open('in.txt').read() * x)\n    return x")
    (workplace / "in.txt").write_text("abc")
    recipe = {"inputs": ("in.txt",), "outputs": {"data": "out-{x}.txt"}, "pack": True}
    good, missing = driver.function("work.py:f", [{"x": 1}, {"x": 2}], recipe=recipe)
    (artifact,) = good.artifacts or ()
    assert (artifact.role, artifact.name, artifact.path, artifact.size) == ("output", "data", "out-1.txt", 3)
    assert artifact.place is not None and not (workplace / "out-1.txt").exists()
    assert missing.outcome == Outcome.EXCEPTION
    assert missing.error == "output out-2.txt: No such file or directory"
    assert [name for name, _, _ in driver.loaded()[-1].shared_inputs] == ["in.txt"]


def test_functions_have_a_seed_and_a_private_folder_that_is_empty_for_the_next(driver: Driver, module: Any) -> None:
    module(
        "import os\nfrom pathlib import Path\n"
        "def f(x):\n"
        "    folder = Path(os.environ['PROVRUN_TMPDIR'])\n"
        "    there = os.listdir(folder)\n"
        "    (folder / 'sub').mkdir()\n"
        "    (folder / f'{x}.txt').write_text('left behind')\n"
        "    return [str(folder), there, os.environ['PROVRUN_SEED']]"
    )
    values = driver.values(driver.function("work.py:f", XS))
    assert [there for _, there, _ in values] == [[]] * len(XS)
    assert len({seed for _, _, seed in values}) == len(XS)
    command = driver.values(driver.command("printenv", "PROVRUN_SEED", params=[{"x": 1}]))
    assert all(0 <= int(seed) < 2**31 for seed in [values[1][2], *map(str, command)])
    driver.close()
    assert not any(Path(folder).exists() for folder, _, _ in values)
