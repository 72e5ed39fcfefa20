"""Digests of files, and those remembered."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from provrun.errors import StorageFailed
from provrun.record.files import StatCache, digest_file


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_a_digest_is_that_of_sha256sum(tmp_path: Path, size: int) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(size))
    told = subprocess.run(["sha256sum", file], check=True, capture_output=True, text=True).stdout.split()[0]
    assert digest_file(file) == (told, size)
    with StatCache(settle=0) as known:
        assert digest_file(file, known) == digest_file(file, known) == (told, size)


def test_a_known_file_is_not_read_again(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("content")
    with StatCache(tmp_path / "known", settle=0) as known:
        known.get("sha256", file, lambda: "remembered")
    assert digest_file(file, StatCache(tmp_path / "known")) == ("remembered", 7)


@pytest.mark.parametrize("kind", ["content", "size", "time", "inode"])
def test_a_changed_file_is_read_again(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "file"
    file.write_text("content")
    known = StatCache(settle=0)
    digest_file(file, known)
    state = file.stat()
    if kind == "inode":
        file.rename(tmp_path / "old")
    file.write_text("another!" if kind == "size" else "CONTENT")
    if kind != "time":
        os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))  # the time of change still tells
    assert digest_file(file, known)[0] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_young_file_is_not_remembered(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("content")
    known = StatCache(settle=3600)
    known.get("sha256", file, lambda: "too early")
    assert digest_file(file, known)[0] == hashlib.sha256(b"content").hexdigest()


def test_a_file_that_changes_while_it_is_read_is_not_remembered(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("content")
    known = StatCache(settle=0)

    def read_and_write() -> str:
        file.write_text("changed since")
        return "of before"

    known.get("sha256", file, read_and_write)
    assert digest_file(file, known)[0] == hashlib.sha256(b"changed since").hexdigest()


@pytest.mark.parametrize("garbage", [b"", b"\xc1", b"\x80", b"\x81\xa6sha256\x91\x01", bytes(range(256))])
def test_a_torn_cache_is_as_good_as_none(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / "known").write_bytes(garbage)
    (tmp_path / "file").write_text("content")
    with StatCache(tmp_path / "known", settle=0) as known:
        assert digest_file(tmp_path / "file", known)[0] == hashlib.sha256(b"content").hexdigest()
    assert digest_file(tmp_path / "file", StatCache(tmp_path / "known")) == digest_file(tmp_path / "file")


def test_a_cache_that_cannot_be_kept_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    known = StatCache(tmp_path / "file" / "known", settle=0)
    digest_file(tmp_path / "file", known)
    with pytest.raises(StorageFailed):
        known.save()


def test_links_share_the_digest_of_what_they_lead_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    (tmp_path / "link").symlink_to("file")
    assert digest_file(tmp_path / "link") == digest_file(tmp_path / "file")
