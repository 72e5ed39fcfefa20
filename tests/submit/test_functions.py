from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from provrun.errors import UsageError
from provrun.submit.functions import check_arguments, normal_reference, reference_of
from provrun.submit.source import Signature


def add(x: int, y: int) -> int:
    return x + y


class Owner:
    def method(self) -> None: ...


def make() -> Callable[[], int]:
    seen = 1

    def inner() -> int:
        return seen

    return inner


def test_partials_give_their_values_by_name() -> None:
    reference, bound = reference_of(functools.partial(functools.partial(add, y=1), x=2), Path("/"))
    assert reference.endswith("test_functions.py:add") or reference.endswith(":add")
    assert bound == {"x": 2, "y": 1}


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda x: x, "write def name(x): return ..."),
        (make(), "write def inner(...): at the top level"),
        (Owner().method, "write def method(...)"),
        (Owner.method, "belongs to a class"),
        (functools.partial(add, 1), "bind them by name"),
        (functools.partial(add, y={1, 2}), "no JSON value"),
        (Owner, "is no function"),
        (3, "is no function"),
    ],
)
def test_what_no_other_process_finds_is_refused_with_what_to_write(
    function: Callable[..., object], says: str
) -> None:
    with pytest.raises(UsageError) as refused:
        reference_of(function, Path("/"))
    assert says in str(refused.value)


def test_functions_of_a_script_and_of_modules_beside_it_are_named_by_file(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def g(x): ...\n")
    (tmp_path / "script.py").write_text(
        "from pathlib import Path\n"
        "from provrun.submit.functions import reference_of\n"
        "import beside\n"
        "def f(x): ...\n"
        "for folder in (Path('.'), Path('..')):\n"
        "    for function in (f, beside.g):\n"
        "        print(reference_of(function, folder.resolve())[0])\n"
    )
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, check=True, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    name = tmp_path.name
    assert done.stdout.split() == ["script.py:f", "beside:g", f"{name}/script.py:f", f"{name}/beside.py:g"]


def test_one_function_has_one_reference() -> None:
    assert normal_reference("./a/../b.py:f") == "b.py:f"
    assert normal_reference("package.module:f") == "package.module:f"


SIGNATURE = Signature(("x", "y"), ("z",), open=False)


def test_a_parameter_that_the_function_does_not_take_is_a_problem() -> None:
    assert check_arguments(SIGNATURE, "f", ["x", "y", "zz"], [], [], open=False) == ["f takes no zz: did you mean z?"]


def test_a_missing_parameter_is_a_problem_unless_results_may_give_it() -> None:
    assert check_arguments(SIGNATURE, "f", ["x"], [], [], open=False) == ["f needs y: add --param y=..."]
    assert check_arguments(SIGNATURE, "f", ["x"], [], [], open=True) == []
    assert check_arguments(SIGNATURE, "f", ["x"], ["y"], [], open=False) == []


def test_a_function_that_takes_any_name_takes_all() -> None:
    anything = Signature((), (), open=True)
    assert check_arguments(anything, "f", ["a", "b"], [], ["c"], open=False) == []
