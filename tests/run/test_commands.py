"""Commands as an agent runs them: words, environment, results, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.agents import Driver
from provrun.core.identity import task_key
from provrun.core.records import Policy, Recipe
from provrun.core.states import Outcome

PYTHON = sys.executable
SHOW = "import json,sys; print(json.dumps(sys.argv[1:]))"
ENVIRONMENT = "import json,os; print(json.dumps(dict(os.environ)))"


def test_every_word_of_a_template_stays_one_argument(driver: Driver) -> None:
    x = "a b  'c' \"d\" $HOME * ; rm -rf / \n \\ é"
    (result,) = driver.command(PYTHON, "-c", SHOW, "--x={x}", "{x}", "", "{{x}}", params=[{"x": x}])
    assert driver.value(result) == [f"--x={x}", x, "", "{x}"]


def test_values_are_filled_as_json_text_and_in_python_formats(driver: Driver) -> None:
    params = [{"x": 7, "y": 0.5, "z": [1, "a"], "t": True}]
    words = ("{x:05d}", "{y:.3f}", "{z}", "{t}", "{index}", "{task}")
    (result,) = driver.command(PYTHON, "-c", SHOW, *words, params=params)
    assert driver.value(result) == ["00007", "0.500", '[1,"a"]', "true", "0", "scan/0"]


def test_a_task_starts_in_its_folder_with_an_empty_stdin_and_its_variables(driver: Driver, workplace: Path) -> None:
    (workplace / "sub").mkdir()
    script = (
        "import json,os,sys; e=os.environ; print(json.dumps([os.getcwd(), sys.stdin.read(), e['PROVRUN_TASK'],"
        "e['PROVRUN_ATTEMPT'], e['PROVRUN_CORES'], json.load(open(e['PROVRUN_PARAMS'])), e['OMP_NUM_THREADS'],"
        "os.listdir(e['PROVRUN_TMPDIR']), os.getsid(0)==os.getpid(), e['PROVRUN_HOSTS']]))"
    )
    (result,) = driver.command(PYTHON, "-c", script, workdir="sub", policy=Policy(cores=2))
    expected = [str(workplace / "sub"), "", "scan/0", "scan/0#1", "2", {"x": 0}, "2", [], True, os.uname().nodename]
    assert driver.value(result) == expected


def test_thread_variables_that_the_job_sets_are_kept(workplace: Path) -> None:
    driver = Driver(workplace, environ={**os.environ, "OMP_NUM_THREADS": "7"})
    try:
        (result,) = driver.command(PYTHON, "-c", ENVIRONMENT)
        found = driver.value(result)
        assert (found["OMP_NUM_THREADS"], found["MKL_NUM_THREADS"]) == ("7", "1")
    finally:
        driver.close()


def test_the_seed_of_a_task_comes_from_its_key_alone(driver: Driver) -> None:
    first = driver.values(driver.command("printenv", "PROVRUN_SEED", params=[{"x": 1}, {"x": 2}]))
    second = driver.values(driver.command("printenv", "PROVRUN_SEED", params=[{"x": 2}, {"x": 1}]))
    assert first == second[::-1]
    assert first[0] == int.from_bytes(task_key(bytes(32), '{"x":1}')[:4], "big") >> 1


def test_the_private_folder_of_a_task_is_empty_again_for_the_next_one_in_its_slot(driver: Driver) -> None:
    script = 'cd "$PROVRUN_TMPDIR"; ls -A | wc -l; mkdir d; touch d/f; pwd'
    results = driver.command("sh", "-c", script, params=[{"x": x} for x in range(6)], recipe={"result": "stdout-text"})
    lines = [value.split() for value in driver.values(results)]
    assert [count for count, _ in lines] == ["0"] * 6
    driver.close()
    assert not any(Path(folder).exists() for _, folder in lines)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("hello\n[1, 2]\n", [1, 2]),
        ("1.50\n", 1.5),
        ("-3\n\n  \n", -3),
        ('{"a": NaN}', {"a": float("nan")}),
        ("[1, 2]\nhello\n", None),
        ("true\n", None),
        ("2024-01-01\n", None),
        ("", None),
    ],
)
def test_the_last_line_is_the_result_when_it_is_an_object_array_or_number(
    driver: Driver, text: str, value: object
) -> None:
    (result,) = driver.command("printf", "%s", "{x}", params=[{"x": text}])
    if value is None:
        assert result.outcome == Outcome.SUCCEEDED
        assert result.result is None
    else:
        assert repr(driver.value(result)) == repr(value)


def test_the_whole_of_stdout_is_the_result_where_that_was_asked_for(driver: Driver) -> None:
    (as_json,) = driver.command("printf", '{\n"a":\n1}', recipe={"result": "stdout-json"}, params=[{"x": 1}])
    (as_text,) = driver.command("printf", "one\ntwo\n", recipe={"result": "stdout-text"})
    assert driver.value(as_json) == {"a": 1}
    assert driver.value(as_text) == "one\ntwo"


def test_a_result_that_was_promised_and_is_not_there_fails_the_attempt(driver: Driver) -> None:
    (as_json,) = driver.command("echo", "hello", recipe={"result": "stdout-json"})
    (as_file,) = driver.command("true", recipe={"result": "file"})
    (as_text,) = driver.command("printf", r"\377", recipe={"result": "stdout-text"})
    assert [result.outcome for result in (as_json, as_file, as_text)] == [Outcome.EXIT] * 3
    assert as_json.error is not None and "stdout is no JSON value" in as_json.error
    assert as_file.error == "no result was written to $PROVRUN_RESULT"
    assert as_text.error == "stdout is no UTF-8 text"


def test_a_result_file_is_read_and_never_taken_for_that_of_the_next_task(driver: Driver) -> None:
    script = 'if [ {x} = 0 ] || [ {x} = 1 ]; then echo "[{x}]" > "$PROVRUN_RESULT"; fi'
    results = driver.command("sh", "-c", script, params=[{"x": x} for x in range(4)], recipe={"result": "file"})
    assert [result.result for result in results] == ["[0]", "[1]", None, None]


def test_a_long_result_lies_in_the_pack(driver: Driver) -> None:
    (result,) = driver.command(PYTHON, "-c", "print(list(range(100000)))")
    assert result.result is not None and len(result.result) < 200
    assert driver.value(result) == list(range(100000))


def test_a_shell_line_finds_its_values_quoted_and_as_variables(driver: Driver) -> None:
    x = 'a\'b "$HOME" `id` \\'
    recipe = Recipe(kind="shell", words=('printf "%s|%s" {x} "$P_x"',), result="stdout-text")
    (result,) = driver.run(recipe, [{"x": x}])
    assert driver.value(result) == f"{x}|{x}"


def test_a_line_is_run_by_the_shell_as_it_is(driver: Driver) -> None:
    params = [{"line": "echo {x} $((1 + 1)) | tr a-z A-Z", "occurrence": 0}]
    (result,) = driver.run(Recipe(kind="line", result="stdout-text"), params)
    assert driver.value(result) == "{X} 2"


def test_values_of_an_upstream_task_are_filled_in(driver: Driver) -> None:
    upstream = {"result": {"e": 1.5, "deep": {"k": [1]}}, "outputs": {"data": "out/a.dat"}, "blobs": {}}
    reads = {"each": {"A": upstream}, "rows": {"B": "/some/rows.jsonl"}}
    words = ("{A.result.e}", "{A.result}", "{A.param.x}", "{A.output.data}", "{A.result.deep.k}", "{B.rows}")
    (result,) = driver.command(PYTHON, "-c", SHOW, *words, params=[{"x": 3}], reads=reads, each=("A",))
    whole = '{"deep":{"k":[1]},"e":1.5}'
    assert driver.value(result) == ["1.5", whole, "3", "out/a.dat", "[1]", "/some/rows.jsonl"]


def test_an_upstream_value_that_is_not_there_is_said(driver: Driver) -> None:
    reads = {"each": {"A": {"result": {"e": 1}}}}
    (result,) = driver.command("echo", "{A.result.f}", reads=reads, each=("A",))
    assert (result.outcome, result.error) == (Outcome.LAUNCHER, "the result has no key for {A.result.f}")


def test_exit_codes_and_signals_are_told_with_the_last_line_of_stderr(driver: Driver) -> None:
    (failed,) = driver.command("sh", "-c", "echo out; echo first >&2; echo 'the reason' >&2; echo >&2; exit 7")
    (silent,) = driver.command("false")
    (killed,) = driver.command("sh", "-c", "kill -SEGV $$")
    assert (failed.outcome, failed.detail, failed.error) == (Outcome.EXIT, 7, "the reason")
    assert (silent.outcome, silent.detail, silent.error) == (Outcome.EXIT, 1, "exit code 1")
    assert (killed.outcome, killed.detail) == (Outcome.SIGNAL, signal.SIGSEGV)
    assert killed.error == "killed by SIGSEGV (Segmentation fault)"


def test_what_cannot_be_started_says_why(driver: Driver, workplace: Path) -> None:
    (workplace / "plain.txt").write_text("#!/bin/sh\n")
    (workplace / "wrong").write_text("#!/no/such/interpreter\n")
    (workplace / "wrong").chmod(0o755)
    found = [
        driver.command("no-such-command")[0],
        driver.command("./plain.txt")[0],
        driver.command("./wrong")[0],
        driver.command("true", workdir="nowhere")[0],
        driver.command("echo", "{x}", params=[{"x": "a" * 200_000}])[0],
    ]
    assert [result.outcome for result in found] == [Outcome.LAUNCHER] * 5
    assert [result.error for result in found] == [
        "command not found: no-such-command",
        "./plain.txt is not executable",
        "cannot run ./wrong: No such file or directory",
        f"cannot enter the folder {workplace}/nowhere: No such file or directory",
        "cannot run echo: Argument list too long",
    ]


def test_a_command_installed_while_tasks_fail_is_found(driver: Driver, workplace: Path) -> None:
    map = driver.map(Recipe(kind="command", words=("./tool", "{x}")))
    driver.start(map, [{"x": 1}])
    assert driver.wait(1)[0].outcome == Outcome.LAUNCHER
    (workplace / "tool").write_text("#!/bin/sh\necho $1\n")
    (workplace / "tool").chmod(0o755)
    driver.start(map, [{"x": 2}])
    assert driver.value(driver.wait(1)[0]) == 2


def test_commands_have_python_s_ignored_signals_back(driver: Driver) -> None:
    (result,) = driver.command("grep", "SigIgn", "/proc/self/status")
    ignored = int(driver.log(result).out.head.split()[-1], 16)
    assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)


def test_no_descriptor_but_the_three_is_open_in_a_command(driver: Driver) -> None:
    (result,) = driver.command("ls", "/proc/self/fd")
    assert driver.log(result).out.head.split() == [b"0", b"1", b"2", b"3"]  # the last is that of the folder it lists


def test_what_a_command_used_is_measured(driver: Driver) -> None:
    spin = "import time; b=bytearray(100_000_000)\nwhile time.process_time()<0.2: pass"
    (result,) = driver.command(PYTHON, "-c", spin)
    assert result.cpu is not None and 200_000 <= result.cpu <= 2_000_000
    assert result.max_rss is not None and 100_000 <= result.max_rss <= 150_000
    assert result.wall >= 200_000
    assert not result.rss_shared


def test_a_task_of_more_cores_than_are_free_waits_for_them(driver: Driver) -> None:
    narrow = driver.map(Recipe(kind="command", words=("sh", "-c", "sleep 0.2; date +%s%N")))
    wide = driver.map(Recipe(kind="command", words=("sh", "-c", "date +%s%N; sleep 0.1")), policy=Policy(cores=2))
    driver.start(narrow, [{"x": 0}])
    driver.start(wide, [{"x": 0}])
    driver.start(narrow, [{"x": 1}], first=1)
    first, last, middle = driver.values(driver.wait(3))
    assert first < middle < last


def test_ranks_put_the_launcher_in_front(workplace: Path) -> None:
    driver = Driver(workplace, environ={**os.environ, "PROVRUN_LAUNCHER": "env -u NONE RANKS={ranks}"})
    try:
        policy = Policy(ranks=2)
        (front,) = driver.command("printenv", "RANKS", policy=policy)
        (placed,) = driver.command("nice", "{launcher}", "printenv", "RANKS", policy=policy)
        (absent,) = driver.command("{launcher}", "echo", "5")
        assert driver.values([front, placed, absent]) == [2, 2, 5]
    finally:
        driver.close()


def test_a_map_says_which_files_of_the_project_its_command_uses(driver: Driver, workplace: Path) -> None:
    (workplace / "script.py").write_text("print(1)")
    (workplace / "lib").mkdir()
    (workplace / "lib" / "more.txt").write_text("more")
    driver.command(PYTHON, "script.py", "{x}", policy=Policy(uses=("lib",)))
    (loaded,) = driver.loaded()
    assert set(loaded.files) == {"script.py", "lib/more.txt"}
    assert loaded.files["script.py"] == sha256sum(workplace / "script.py")
    assert [(tool.path, tool.sha256) for tool in loaded.tools] == [(PYTHON, sha256sum(Path(PYTHON)))]


def test_an_edited_script_gets_a_new_number_and_overlapping_attempts_have_both(driver: Driver, workplace: Path) -> None:
    script = workplace / "script.sh"
    script.write_text("sleep 0.3\n")
    map = driver.map(Recipe(kind="command", words=("sh", "script.sh")))
    driver.start(map, [{"x": 0}])
    driver.until(driver.loaded)
    script.write_text("true\n")
    (during,) = driver.wait(1)
    driver.start(map, [{"x": 1}])
    (afterwards,) = driver.wait(1)
    before, now = driver.loaded()
    assert (during.loaded, during.loaded_after) == (before.number, now.number)
    assert (afterwards.loaded, afterwards.loaded_after) == (now.number, now.number)
    assert before.files != now.files


def test_scripts_that_lines_name_are_among_what_their_map_uses(driver: Driver, workplace: Path) -> None:
    for name in ("a.sh", "b.sh", "data.txt"):
        (workplace / name).write_text(f"echo {name}\n")
    lines = [{"line": f"sh {name} data.txt", "occurrence": 0} for name in ("a.sh", "b.sh")]
    results = driver.run(Recipe(kind="line", result="stdout-text"), lines)
    by_number = {loaded.number: set(loaded.files) for loaded in driver.loaded()}
    assert {"a.sh", "b.sh"} in by_number.values()
    assert all(result.loaded in by_number for result in results)


def sha256sum(path: Path) -> str:
    return subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True).stdout.split()[0]
