"""List installed packages by the names of their metadata folders, which is ten times as fast as reading them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from provrun.core.environment import Package
from provrun.record.urls import clean_url

_SEPARATORS = re.compile(r"[-_.]+")
_HEADER = re.compile(r"^(Name|Version): *(\S+)", re.MULTILINE)
_PYTHON = re.compile(r"-py\d+\.\d+$")
_HASH = re.compile(r"(sha\d+)=([0-9a-f]{32,})")
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_DIRECT_URL = "direct_url.json"


class _Vcs(msgspec.Struct):
    vcs: str = ""
    commit_id: str = ""


class _Archive(msgspec.Struct):
    hash: str = ""
    hashes: dict[str, str] = {}


class _Directory(msgspec.Struct):
    editable: bool = False


class _DirectUrl(msgspec.Struct):
    url: str = ""
    vcs_info: _Vcs | None = None
    archive_info: _Archive | None = None
    dir_info: _Directory | None = None


def installed(path: Iterable[str], prefix: str) -> tuple[Package, ...]:
    """Return the packages that a Python with this ``sys.path`` and ``sys.prefix`` finds, sorted, names normalised.

    Of two versions on the path the first counts, as for imports. Packages of conda stand under ``conda:NAME``.
    """
    found: dict[str, Package] = {}
    for folder in dict.fromkeys(path):
        for package in _in_folder(folder or "."):
            found.setdefault(package.name, package)
    for package in _of_conda(Path(prefix) / "conda-meta"):
        found.setdefault(package.name, package)
    return tuple(sorted(found.values()))


def _in_folder(folder: str) -> Iterator[Package]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith((".dist-info", ".egg-info"))]
    except OSError:  # what cannot be listed cannot be imported from; archives on the path are not listed
        return
    for name in sorted(names):
        stem, _, kind = name.rpartition(".")
        title, dash, version = _PYTHON.sub("", stem).rpartition("-")
        if kind == "egg-info" and not dash:
            title, version = _read_header(Path(folder) / name)
        if title and not title.startswith("~"):  # which pip leaves behind when it is interrupted
            yield Package(_SEPARATORS.sub("-", title).lower(), version, _direct_url(Path(folder) / name / _DIRECT_URL))


def _read_header(place: Path) -> tuple[str, str]:
    try:
        text = (place / "PKG-INFO" if place.is_dir() else place).read_text(errors="replace")
    except OSError:
        return "", ""
    header = dict(_HEADER.findall(text.partition("\n\n")[0]))
    return header.get("Name", ""), header.get("Version", "")


def _direct_url(file: Path) -> str | None:
    try:
        text = file.read_bytes()
    except OSError:
        return None
    try:
        direct = msgspec.json.decode(text, type=_DirectUrl)
    except msgspec.DecodeError:
        return "unreadable"
    if direct.dir_info is not None:
        # Where a folder lies is no part of the software; what lies there is code.
        return "editable folder" if direct.dir_info.editable else "folder"
    local = direct.url.startswith("file:")
    url = "file:" + direct.url.rpartition("/")[2] if local else clean_url(direct.url) or ""
    if direct.vcs_info is not None and _COMMIT.fullmatch(direct.vcs_info.commit_id):
        return f"{url}@{direct.vcs_info.commit_id}"
    if direct.archive_info is not None:
        told = [f"{kind}={value}" for kind, value in sorted(direct.archive_info.hashes.items())]
        for candidate in (*told, direct.archive_info.hash):
            if _HASH.fullmatch(candidate):
                return f"{url}#{candidate}"
    return url


def _of_conda(folder: Path) -> Iterator[Package]:
    if not folder.is_dir():
        return
    for file in folder.glob("*.json"):
        name, version, build = ["", "", *file.stem.rsplit("-", 2)][-3:]
        if name:
            yield Package(f"conda:{name}", f"{version} {build}")
