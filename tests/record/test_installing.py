"""Which Python is taken for a recorded one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.pythons import NEEDED, make_python, make_wheel, pack_installed
from provrun.record.installing import CannotInstall, check_import, find_python, make_environment, python_of

HERE = ".".join(map(str, sys.version_info[:3]))
MINOR = ".".join(map(str, sys.version_info[:2]))


def test_the_very_version_is_taken_else_one_of_the_same_minor() -> None:
    assert find_python("cpython", HERE) == sys.executable
    assert find_python("cpython", f"{MINOR}.99") == sys.executable
    assert find_python("cpython", "2.1.0") is None
    assert find_python("pypy", HERE) is None


def test_a_python_on_the_path_is_asked_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for name, text in (("python2.1", "printf '2.1.3\\ncpython\\n/usr\\n'"), ("python2.2", "exit 1"),
                       ("python2.3", "printf '2.4.0\\ncpython\\n/usr\\n'")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    assert find_python("cpython", "2.1.3") == find_python("cpython", "2.1.0") == str(tmp_path / "python2.1")
    assert find_python("cpython", "2.2.0") is None
    assert find_python("cpython", "2.3.0") is None  # its name is not what it is


def test_a_python_that_cannot_make_an_environment_is_quoted(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'Error: no ensurepip here' >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(CannotInstall, match="cannot be made: Error: no ensurepip here"):
        make_environment(tmp_path / "made", str(broken), {})
    with pytest.raises(CannotInstall, match="does not run"):
        make_environment(tmp_path / "made", str(tmp_path / "nothing"), {})


def test_no_module_of_the_folder_where_it_is_called_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("venv", "argparse", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('another one')\n")
    monkeypatch.chdir(tmp_path)
    assert make_environment(tmp_path / "made", sys.executable, {}) == []
    check_import(python_of(tmp_path / "made"), str(tmp_path), ["json"])


def test_where_provrun_has_no_pip_the_environment_brings_its_own_for_a_while(tmp_path: Path) -> None:
    make_wheel(tmp_path, "toy", "1.0", "")
    for name in NEEDED:
        pack_installed(tmp_path, name)
    python, made = make_python(tmp_path / "python", tmp_path), tmp_path / "made"
    (tmp_path / "python" / "links" / "pip").unlink()
    text = (
        "import sys; from pathlib import Path; from provrun.record.environment import capture_environment;"
        "from provrun.record.installing import make_environment, python_of;"
        "made = Path(sys.argv[1]); print(make_environment(made, sys.executable, {'toy': 'toy==1.0'}));"
        "print([one.name for one in capture_environment(python_of(made)).packages])"
    )
    served = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    done = subprocess.run(
        [python, "-c", text, str(made)], env=served, check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.splitlines() == ["[]", "['toy']"]
