"""Find files whose bytes on disk are not those that git keeps, because git converts them (line ends, LFS, filters).

Git takes a file whose time stamps it knows for unchanged, but that says nothing of its bytes where a filter or a
conversion of line ends stands between. Such files are read, so that a tree names what really lies there; they count
as unchanged as long as they are what git would check out. No filter is run to find out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from provrun.record.blobs import LINK, Entry, blob_id, read_entry
from provrun.record.changes import CHANGE_LIMIT, Change
from provrun.record.files import StatCache, digest_file
from provrun.record.listing import Listing, Status
from provrun.record.view import View, read_optional

_MENTION = re.compile(rb"(?<=[ \t])(text|crlf|eol|ident|filter|working-tree-encoding)(?=[=\s]|\Z)")
_LINE_ENDS = frozenset((b"text", b"crlf", b"eol"))
_OFF = frozenset((b"unspecified", b"unset"))
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-.*\n)*oid sha256:([0-9a-f]{64})\nsize (\d+)\n"
)
_IDENTIFIER = re.compile(rb"\$Id:[^$\n]*\$")
_POINTER_LIMIT = 1024

_SYSTEM_ATTRIBUTES = Path("/etc/gitattributes")


def find_converted(
    view: View, status: Status, listing: Listing, changes: Sequence[Change], known: StatCache
) -> dict[bytes, Entry]:
    """Return the entries, by their bytes on disk, of files that git would check out so from other bytes."""
    attributes = _converting_attributes(view, status, listing)
    if not attributes:
        return {}
    kept = {path: entry for path, entry in listing.files.items() if path in attributes and entry[0] != LINK}
    changed = {change.path: change.now for change in changes if change.path in kept and change.now}
    touched = {change.path for change in changes}
    converted: dict[bytes, Entry] = {}
    for path in _suspects(view, {path: id for path, (_, id) in kept.items() if path not in touched}, attributes):
        mode, id = kept[path]
        there = known.get("blob", view.root + path, partial(_id_on_disk, view.root + path))
        if there != id:
            converted[path] = mode, there
    pointers = _pointers(view, [kept[path][1] for path in changed])
    for path, now in changed.items():
        mode, id = kept[path]
        if now[0] == mode and _is_checked_out_from(view.root + path, id, pointers.get(id), attributes[path]):
            converted[path] = now
    return converted


def _converting_attributes(view: View, status: Status, listing: Listing) -> dict[bytes, set[bytes]]:
    """Return the paths that git may convert, with the attributes that say so."""
    own = [path for path in status.untracked if path.rpartition(b"/")[2] == b".gitattributes"]
    mine = view.configuration.user_file("core.attributesfile", "attributes")
    info = view.place.common / "info" / "attributes"
    files = [view.place.root / os.fsdecode(path) for path in (*listing.attribute_files(), *own)]
    mentioned = {
        name for file in (*files, mine, info, _SYSTEM_ATTRIBUTES) for name in _MENTION.findall(read_optional(file))
    }
    everything = (view.configuration.in_force("core.autocrlf") or "false").lower() in (
        "true",
        "yes",
        "on",
        "1",
        "input",
    )
    if everything:
        mentioned.add(b"text")
    if not mentioned:
        return {}
    # The view switches all attributes off, so they are asked for in a git directory that does not.
    asking = view.path / "attributes"
    for name in ("objects", "refs", "info", "git"):
        (asking / name).mkdir(parents=True)
    (asking / "HEAD").write_bytes(b"ref: refs/heads/none\n")
    (asking / "info" / "attributes").write_bytes(read_optional(info))
    (asking / "git" / "attributes").write_bytes(read_optional(mine))
    environ = {"GIT_DIR": str(asking), "XDG_CONFIG_HOME": str(asking), "GIT_ATTR_NOSYSTEM": "0"}
    paths = b"".join(path + b"\0" for path in listing.files)
    names = [name.decode() for name in sorted(mentioned)]
    said = view.git("check-attr", "-z", "--stdin", *names, environ=environ, stdin=paths).split(b"\0")
    converting: dict[bytes, set[bytes]] = {}
    for path, attribute, value in zip(said[0::3], said[1::3], said[2::3], strict=False):
        if value not in _OFF or (everything and attribute == b"text" and value == b"unspecified"):
            converting.setdefault(path, set()).add(attribute)
    return converting


def _suspects(view: View, ids: Mapping[bytes, str], attributes: Mapping[bytes, set[bytes]]) -> list[bytes]:
    """Return the files whose bytes must be read.

    Putting other line ends always changes the size, so a file of the size that git keeps is what git keeps.
    """
    asked = sorted({id for path, id in ids.items() if attributes[path] <= _LINE_ENDS})
    sizes = view.sizes(asked)
    suspects = []
    for path, id in ids.items():
        try:
            size = os.lstat(view.root + path).st_size
        except OSError:  # absent from a sparse checkout
            continue
        if sizes.get(id) != size or not attributes[path] <= _LINE_ENDS:
            suspects.append(path)
    return suspects


def _pointers(view: View, ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Return, of those contents that are pointers of git-lfs, the SHA-256 and size they point to."""
    small = [id for id, size in view.sizes(ids).items() if size < _POINTER_LIMIT]
    pointers = {}
    for id in small:
        match = _POINTER.fullmatch(view.git("cat-file", "blob", id))
        if match:
            pointers[id] = match[1].decode(), int(match[2])
    return pointers


def _is_checked_out_from(path: bytes, id: str, pointer: tuple[str, int] | None, attributes: set[bytes]) -> bool:
    if pointer:
        return digest_file(os.fsdecode(path)) == pointer
    if os.lstat(path).st_size > CHANGE_LIMIT:
        return False
    data = Path(os.fsdecode(path)).read_bytes()
    if not attributes.isdisjoint(_LINE_ENDS):
        data = data.replace(b"\r\n", b"\n")
    if b"ident" in attributes:
        data = _IDENTIFIER.sub(b"$Id$", data)
    return blob_id(data) == id


def _id_on_disk(path: bytes) -> str:
    found = read_entry(path)
    return found.id if found else ""
