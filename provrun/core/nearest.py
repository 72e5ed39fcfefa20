"""The known name that a mistyped one is nearest to."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Give the known name that ``name`` is most likely a slip of, or None."""
    import difflib

    folded = {candidate.lower(): candidate for candidate in sorted(known, reverse=True)}
    matches = difflib.get_close_matches(name.lower(), sorted(folded), n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def suggestion(name: str, known: Iterable[str], otherwise: str) -> str:
    """Give the sentence that helps after an unknown name: the nearest known one, or ``otherwise``."""
    match = nearest(name, known)
    return f"did you mean {match}?" if match is not None else otherwise
