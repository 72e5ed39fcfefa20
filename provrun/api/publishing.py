"""Formats of exports by the names of files."""

from __future__ import annotations

from pathlib import Path

from provrun.errors import UsageError

SUFFIXES = {
    ".ttl": "turtle", ".trig": "trig", ".nt": "nt", ".jsonld": "jsonld", ".provn": "provn", ".json": "provjson",
    ".xml": "provxml", ".dot": "dot",
}


def format_of(path: Path) -> str:
    """Tell the format of an export from its file's name."""
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise UsageError(
            f"the name {path.name} does not say which format is wanted", value=str(path),
            next=f"give format=..., or a name that ends in {', '.join(SUFFIXES)}",
        )
    return found
