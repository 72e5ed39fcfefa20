"""Functions defined in a notebook: a real kernel, cell by cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel

from fixtures.cli import Cli

pytestmark = [
    pytest.mark.xdist_group("notebook"),
    # The kernel's own libraries warn of their future.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
Cell = Callable[[str], str]


@pytest.fixture
def cell(project_dir: Path) -> Iterator[Cell]:
    """Run cells in a kernel; give what each printed, or the error that ended it."""
    manager, client = start_new_kernel(cwd=str(project_dir))

    def run(source: str) -> str:
        said: list[str] = []

        def hear(message: dict[str, object]) -> None:
            content = message["content"]
            assert isinstance(content, dict)
            if message["msg_type"] == "stream" and content["name"] == "stdout":
                said.append(str(content["text"]))
            elif message["msg_type"] == "error":
                said.append(f"{content['ename']}: {content['evalue']}\n")
            elif message["msg_type"] in ("display_data", "update_display_data"):
                said.append(f"<{' '.join(sorted(content['data']))}>\n")

        client.execute_interactive(source, output_hook=hear, timeout=60)
        return "".join(said)

    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_a_function_of_a_notebook_runs_with_the_imports_functions_and_constants_it_names(
    cell: Cell, project_dir: Path
) -> None:
    cell("import math as m\nfrom os.path import join\nimport provrun as pr\nSCALE = {'k': 2.0}")
    cell("def inner(x):\n    return m.sqrt(x) * SCALE['k']")
    cell("def outer(x):\n    return {'y': inner(x), 'p': join('a', 'b')}")
    assert cell("n = pr.map(outer, x=[1, 4, 9]); n.run(slots=1); print(n.results().column('y'))") == "[2.0, 4.0, 6.0]\n"
    assert "import math as m" in (project_dir / ".provrun" / "functions" / "outer.py").read_text()


def test_an_edited_cell_is_the_same_map_with_new_code(cell: Cell) -> None:
    cell("import provrun as pr\ndef f(x):\n    return x")
    cell("pr.map(f, x=[1, 2]).run(slots=1)")
    cell("def f(x):\n    return -x")
    said = cell("n = pr.map(f, x=[1, 2, 3]); n.run(slots=1); print([row['result'] for row in n.results()])")
    assert said == "[1, 2, -3]\n"
    assert cell("print(n.status()['stale'])") == "2\n"


def test_what_a_notebook_has_run_runs_again_where_its_map_is_merged(
    cell: Cell, project_dir: Path, tmp_path: Path
) -> None:
    cell("import provrun as pr\ndef f(x):\n    return 'old'")
    cell("pr.map(f, x=[1]).run(slots=1)")
    cell("def f(x):\n    return 2 * x")
    cell("pr.map(f, x=[1, 2]).run(slots=1)")
    other = Cli(tmp_path / "other")
    other.folder.mkdir()
    assert other("init").exit == 0
    assert other("db", "merge", str(project_dir / ".provrun" / "registry.sqlite")).exit == 0
    sources = [sorted(path.name for path in (one / ".provrun" / "functions").iterdir())
               for one in (project_dir, other.folder)]
    assert len(sources[0]) == 3
    assert sources[0] == sources[1]
    assert other("rerun", "f", "--force").exit == 0
    assert other("run", "f").exit == 0
    assert [row["result"] for row in other("results", "f", "--json").json["results"]] == [2, 4]


def test_another_global_is_refused_by_name(cell: Cell) -> None:
    cell("import provrun as pr\nfile = open('data', 'w')\ndef f(x):\n    return file.name + str(x)")
    assert "f uses the global file, which is a TextIOWrapper" in cell("pr.map(f, x=[1])")


def test_a_live_plot_is_drawn_anew_until_all_is_done(cell: Cell) -> None:
    cell("import time\nimport provrun as pr\ndef slow(x):\n    time.sleep(0.6)\n    return {'y': x * x, 'odd': x % 2}")
    cell("n = pr.map(slow, x=range(6)); job = n.run(slots=1, wait=False)")
    said = cell("n.live_plot(x='x', y='y', color='odd', every=0.3)")
    assert said.count("image/png") >= 2
    assert cell("job.wait(); print(n.status()['ntasks']['succeeded'])") == "6\n"
