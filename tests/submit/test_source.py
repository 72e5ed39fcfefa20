from __future__ import annotations

from pathlib import Path

import pytest

from provrun.submit.functions import check_reference, reference_of
from provrun.submit.source import Signature, Unfit

MODULE = """
import functools
from math import sqrt

print("imported")  # would be seen if anything ran this

def plain(x, y=1, *, z, **more): ...
def keyword(x, *, z=2): ...
def positional(x, /): ...
async def later(x): ...
@functools.cache
def cached(x): ...
square = lambda x, y=2: x ** y
alias = functools.partial(plain, 1)

class Thing:
    def method(self): ...

def outer():
    def inner(x): ...
    return inner

try:
    from fast import quick
except ImportError:
    def quick(x, n): ...

if __name__ == "__main__":
    def hidden(x): ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "study.py").write_text(MODULE)
    package = tmp_path / "pack" / "inner"
    package.mkdir(parents=True)
    (tmp_path / "pack" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "__init__.py").write_text("")
    (package / "deep.py").write_text("def f(x): ...\n")
    return tmp_path


def test_a_signature_is_read_without_running_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_reference("study.py:plain", folder) == Signature(("x", "z"), ("y",), open=True)
    assert check_reference("study:keyword", folder) == Signature(("x",), ("z",), open=False)
    assert check_reference("pack.inner.deep:f", folder) == Signature(("x",), (), open=False)
    assert capsys.readouterr().out == ""


def test_the_last_definition_counts_also_inside_try(folder: Path) -> None:
    assert check_reference("study.py:quick", folder) == Signature(("x", "n"), (), open=False)


@pytest.mark.parametrize("name", ["cached", "alias", "sqrt"])
def test_what_only_running_could_tell_is_not_guessed(folder: Path, name: str) -> None:
    assert check_reference(f"study.py:{name}", folder) is None


def test_a_module_without_python_source_is_found(folder: Path) -> None:
    assert check_reference("math:sqrt", folder) is None


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("study.py:plan", "did you mean plain?"),
        ("study.py:method", "a method of Thing"),
        ("study.py:Thing.method", "a method of Thing"),
        ("study.py:inner", "defined inside outer"),
        ("study.py:square", "def square(x, y=2):\n        return x ** y"),
        ("study.py:later", "coroutine"),
        ("study.py:positional", "remove the /"),
        ("study.py:hidden", "no function hidden"),
        ("studi.py:plain", "did you mean study.py?"),
        ("studi:plain", "no module named studi"),
        ("pack.outer:f", "no module named pack.outer"),
        ("study.py", "module:callable"),
        ("study.py:<lambda>", "write a def"),
    ],
)
def test_a_function_that_cannot_be_a_recipe_is_refused_with_what_to_write(
    folder: Path, reference: str, says: str
) -> None:
    with pytest.raises(Unfit) as refused:
        check_reference(reference, folder)
    assert says in str(refused.value)


def test_a_syntax_error_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("x = 1\ndef f(:\n")
    with pytest.raises(Unfit, match=r"broken\.py:2"):
        check_reference("broken.py:f", tmp_path)


def test_a_function_of_an_installed_module_is_named_by_it(tmp_path: Path) -> None:
    assert reference_of(check_reference, tmp_path) == ("provrun.submit.functions:check_reference", {})
