"""`reproduce` of pages that somebody wrote who wants more than to have tasks run again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fixtures.cli import Cli, Done
from fixtures.lies import Page
from fixtures.repositories import git
from provrun.core.code import Code
from provrun.export.page import PR
from provrun.export.rdf import Literal
from provrun.export.reading import read_page
from provrun.project.pages.checkouts import Checkouts
from provrun.project.pages.recorded import InCrate
from provrun.record.rebuilding import CannotRebuild

CODE, MAP, RECIPE = "#code.", "#map.shout", "#recipe."


@pytest.fixture
def published(cli: Cli, tmp_path: Path) -> Cli:
    """A page with its records, in the folder of a reader, who can fetch the code from a bare repository."""
    (cli.folder / "shout.sh").write_text("echo $1 | tee made.txt\n")
    (cli.folder / "twice.py").write_text("def twice(x):\n    return 2 * x\n")
    (cli.folder / "link").symlink_to(tmp_path)
    git(cli.folder, "add", ".")
    git(cli.folder, "commit", "-q", "-m", "shout")
    words = ["--param", "x=1:4", "--result", "stdout-json", "--", "sh", "shout.sh", "{x}"]
    assert cli("submit", "shout", *words).exit == 0
    assert cli("run").exit == 0
    reader = tmp_path / "reader"
    reader.mkdir()
    words = ["--format", "nt", "-o", str(reader / "page.nt"), "--leaves", str(reader / "leaves.jsonl")]
    assert cli("export", *words).exit == 0
    git(tmp_path, "clone", "--quiet", "--bare", str(cli.folder), str(tmp_path / "code.git"))
    return Cli(reader)


def forge(reader: Cli, where: str, what: str, text: str) -> None:
    """Say something else at the one node whose name holds a part, and seal the page as a liar would."""
    path = reader.folder / "page.nt"
    page = Page(read_page(path))
    (old,) = [one for one in page.triples if where in one.subject and one.predicate == PR + what]
    assert isinstance(old.object, Literal)
    assert old.object.text != text
    page.triples.remove(old)
    page.triples.add(old._replace(object=Literal(text, old.object.datatype)))
    page.seal()
    page.write(path)


def reproduce(reader: Cli, *words: str) -> Done:
    code = f"file://{reader.folder.parent / 'code.git'}"
    return reader("reproduce", "page.nt", "--leaves", "leaves.jsonl", "--repository", code, *words)


def whys(done: Done) -> set[str]:
    assert done.exit == 1, done.out + done.err
    assert {one["verdict"] for one in done.json["tasks"]} == {"could not be run"}
    return {one["why"] for one in done.json["tasks"]}


def test_commands_and_the_place_of_code_are_told_before_anything_runs(published: Cli) -> None:
    done = reproduce(published)
    assert done.exit == 0, done.out + done.err
    told = done.err.splitlines()
    assert told.index("shout runs sh shout.sh {x}") < told.index("running 3 tasks again")
    assert f"code comes from file://{published.folder.parent / 'code.git'}" in told


@pytest.mark.parametrize(
    "folder", ["{home}/victim", "../../../../../../../../../..{home}/victim", "link/victim", "shout.sh", "\0"]
)
def test_nothing_runs_in_a_folder_outside_of_the_code(published: Cli, tmp_path: Path, folder: str) -> None:
    forge(published, MAP, "folder", folder.replace("{home}", str(tmp_path)))
    assert all("folder" in why for why in whys(reproduce(published, "--json")))
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("file", ["{home}/victim.py", "../../../../../../../../..{home}/victim.py", "link/victim.py"])
def test_no_function_comes_from_a_file_outside_of_the_code(published: Cli, tmp_path: Path, file: str) -> None:
    (tmp_path / "victim.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef twice(x):\n    return 2 * x\n")
    author = Cli(tmp_path / "study")
    assert author("submit", "twice", "--param", "x=1:4", "--function", "twice.py:twice").exit == 0
    assert author("run").exit == 0
    words = ["--format", "nt", "-o", str(published.folder / "page.nt"), "--leaves"]
    assert author("export", "twice", *words, str(published.folder / "leaves.jsonl")).exit == 0
    assert reproduce(published).exit == 0
    forge(published, RECIPE, "entryPoint", file.replace("{home}", str(tmp_path)) + ":twice")
    assert all("outside of the code" in why for why in whys(reproduce(published, "--json")))
    assert not (tmp_path / "ran").exists()


def test_no_option_of_git_comes_from_a_page(published: Cli, tmp_path: Path) -> None:
    option = f"--upload-pack=touch {tmp_path}/victim; git-upload-pack"
    forge(published, CODE, "commit", f"swh:1:rev:{option}")
    assert all("commit and the tree" in why for why in whys(reproduce(published, "--json")))
    # Nor from one whose records agree.
    checkouts = Checkouts(tmp_path, f"file://{tmp_path / 'code.git'}", {}, lambda _: None)
    with pytest.raises(CannotRebuild, match="no commit and tree of git"):
        checkouts.of(Code(kind="git", root="", commit=option, tree="0" * 40))
    with pytest.raises(CannotRebuild, match="no commit and tree of git"):
        checkouts.of(Code(kind="git", root="", commit="0" * 40, tree="../victim"))
    assert not (tmp_path / "victim").exists()


def test_code_is_the_one_that_the_records_name(published: Cli) -> None:
    bare = published.folder.parent / "code.git"
    first = subprocess.run(
        ["git", "-C", str(bare), "rev-parse", "HEAD~1", "HEAD~1^{tree}"], capture_output=True, text=True, check=True
    ).stdout.split()
    forge(published, CODE, "commit", f"swh:1:rev:{first[0]}")
    forge(published, CODE, "tree", f"swh:1:dir:{first[1]}")
    assert all("commit and the tree" in why for why in whys(reproduce(published, "--json")))


@pytest.mark.parametrize(
    ("what", "text"),
    [("digest", "xyz"), ("template", "sh shout.sh"), ("template", "null"), ("template", "[1]"), ("resultMode", "loud")],
)
def test_a_recipe_that_cannot_be_read_is_refused(published: Cli, what: str, text: str) -> None:
    forge(published, RECIPE, what, text)
    done = reproduce(published, "--json")
    assert done.exit == 6, done.out
    assert "recipe" in done.error["message"]


def test_a_page_cannot_write_to_the_terminal_as_it_likes(published: Cli) -> None:
    forge(published, RECIPE, "template", '["sh","shout.sh","{x}","\\u001b[2J\\r"]')
    done = reproduce(published)
    assert done.exit == 0, done.out + done.err
    assert "shout runs sh shout.sh {x} \\x1b[2J\\r" in done.err.splitlines()
    forge(published, RECIPE, "template", '["printf","\\u001b[2J"]')
    done = reproduce(published)
    assert "\x1b" not in done.out + done.err


def test_inputs_are_laid_where_tasks_look_for_them_by_their_index(cli: Cli, tmp_path: Path) -> None:
    (cli.folder / ".gitignore").write_text("in-*\n")
    git(cli.folder, "add", ".gitignore")
    git(cli.folder, "commit", "-q", "-m", "inputs")
    for index in range(3):
        (cli.folder / f"in-{index}").write_text(f"{index}\n")
    words = ["--param", "x=0:3", "--result", "stdout-json"]
    cli("submit", "own", *words, "--input", "in-{index}", "--", "cat", "in-{index}")
    assert cli("run", "own").exit == 0
    page, leaves = str(tmp_path / "page.ttl"), str(tmp_path / "leaves.jsonl")
    assert cli("export", "own", "-o", page, "--leaves", leaves).exit == 0
    place = ["--repository", str(cli.folder), "--inputs", str(cli.folder), "--json"]
    done = cli("reproduce", page, "--leaves", leaves, *place, at=tmp_path)
    assert done.exit == 0, done.out + done.err
    assert {one["verdict"] for one in done.json["tasks"]} == {"reproduced"}


def test_only_files_of_a_crate_are_taken_for_patches(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "endless.patch").symlink_to("/dev/zero")
    (code / "folder.patch").mkdir()
    (code / "real.patch").write_bytes(b"a patch")
    assert list(InCrate(tmp_path).patches.values()) == [b"a patch"]
