"""What attempts printed, and outputs that are kept in packs."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.lab import Fate, Lab, fails, xs
from provrun.core.records import Policy, Recipe
from provrun.core.states import Outcome
from provrun.errors import NotFound, Refused, Unsound, UsageError
from provrun.query.logs import Printed, get, log, logs, matching_lines
from provrun.query.resolving import TaskSubject
from provrun.query.selecting import select
from provrun.run.packs import pack_path


def printed(lab: Lab, ref: str, number: int | None = None) -> Printed:
    view, subject = lab.resolve(ref)
    assert isinstance(subject, TaskSubject)
    return log(view, subject.map, subject.shown, number)


def test_output_comes_back_byte_by_byte(lab: Lab) -> None:
    out, err = bytes(range(256)) * 40, b"\xff\xfe no text \x00"
    lab.submit("scan", xs(1))
    lab.run("scan", lambda params, number: Fate(out=out, err=err))
    assert printed(lab, "scan/0") == Printed("scan/0#1", (out, err))


def test_an_attempt_that_printed_nothing_has_an_empty_log(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    lab.run("scan")
    assert printed(lab, "scan/0").captured == (b"", b"")


def test_the_last_attempt_is_shown_unless_another_is_asked_for(lab: Lab) -> None:
    lab.submit("scan", xs(1), policy=Policy(retries=2))
    lab.run("scan", lambda params, number: Fate(Outcome.EXIT, detail=1, out=b"try %d" % number))
    assert printed(lab, "scan/0").captured.out == b"try 3"
    assert printed(lab, "scan/0", 1).captured.out == b"try 1"
    with pytest.raises(NotFound, match="no attempt of scan/0#9 has ended"):
        printed(lab, "scan/0", 9)


def test_a_task_that_was_not_tried_has_no_log(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    with pytest.raises(NotFound) as caught:
        printed(lab, "scan/0")
    assert caught.value.next == "provrun why scan/0"


def test_logs_of_a_map_come_task_by_task(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2, 3))
    lab.run("scan", fails(Outcome.EXIT, detail=1, err=b"one"), limit=1)
    lab.run("scan", lambda params, number: Fate(out=b"two"), limit=1)
    view = lab.view()
    record = view.map("scan")
    found = list(logs(view, record, select(view, record)))
    assert [(each.ref, *each.captured) for each in found] == [("scan/0#1", b"", b"one"), ("scan/1#1", b"two", b"")]


def test_lines_are_found_by_regular_expressions() -> None:
    assert list(matching_lines(b"a 1\nb 22\r\na 3", r"^a \d")) == [b"a 1", b"a 3"]
    with pytest.raises(UsageError, match="no regular expression"):
        list(matching_lines(b"", "("))


@pytest.fixture
def packed(lab: Lab) -> Lab:
    lab.submit("scan", xs(1), recipe=Recipe(kind="command", words=("a",), outputs={"out": "d/{x}.txt"}, pack=True))
    lab.run("scan", lambda params, number: Fate(packed={"out": ("d/1.txt", b"content")}))
    return lab


def taken(lab: Lab, folder: Path, *, force: bool = False) -> list[tuple[str, bool]]:
    view, subject = lab.resolve("scan/0")
    assert isinstance(subject, TaskSubject)
    return [(each.path, each.fresh) for each in get(view, subject.map, subject.shown, folder, force=force)]


def test_packed_outputs_are_put_beneath_a_folder(packed: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "collected"
    assert taken(packed, folder) == [(str(folder / "d/1.txt"), True)]
    assert (folder / "d/1.txt").read_bytes() == b"content"
    assert taken(packed, folder) == [(str(folder / "d/1.txt"), False)]


def test_another_file_is_not_overwritten_unasked(packed: Lab, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "1.txt").write_text("mine")
    with pytest.raises(Refused, match="another content"):
        taken(packed, tmp_path)
    assert (tmp_path / "d" / "1.txt").read_text() == "mine"
    taken(packed, tmp_path, force=True)
    assert (tmp_path / "d" / "1.txt").read_bytes() == b"content"


def test_a_damaged_pack_is_told(packed: Lab, tmp_path: Path) -> None:
    [pack] = (packed.root / ".provrun" / "packs").iterdir()
    assert pack == pack_path(packed.root, pack.name.removesuffix("-0.pack"), 0)
    data = bytearray(pack.read_bytes())
    data[-1] ^= 1
    pack.write_bytes(data)
    with pytest.raises(Unsound, match="damaged"):
        taken(packed, tmp_path)


def test_outputs_that_are_not_packed_are_where_they_were_written(lab: Lab, tmp_path: Path) -> None:
    lab.submit("scan", xs(1), recipe=Recipe(kind="command", words=("a",), outputs={"out": "plain.txt"}))
    lab.run("scan", lambda params, number: Fate(outputs={"out": ("plain.txt", b"content")}))
    with pytest.raises(NotFound) as caught:
        taken(lab, tmp_path)
    assert caught.value.next == "it was written to plain.txt"
