"""Take what is secret out of addresses of repositories and packages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# Tokens that services give out, should one stand in the middle of a path.
_TOKEN = re.compile(
    r"(?:gh[opusr]_|github_pat_|gl(?:pat|cbt|ptt|dt|rt|ft|soat|oas)-|pypi-|npm_|hf_|xox[abeprs]-|sk-|dop_v1_|ATATT|ATBB|"
    r"AKIA|ASIA|eyJ[A-Za-z0-9_-]{8,}\.)[A-Za-z0-9_.=-]{8,}"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCP = re.compile(r"(?:([^/]*)@)?(\[[^\]]+\]|[^/:@\[\]]+):(?!//)(.*)", re.DOTALL)
_ADDRESS = re.compile(r"([^:]*|\[[^\]]*\])(?::\d*)?")


def clean_url(url: str) -> str | None:
    """Return an address without user, password, query, fragment and anything that looks like a token.

    The general account ``git`` of ssh servers stays. None if it is a command rather than an address.
    """
    url = url.strip()
    helper, colons, address = url.partition("::")
    if colons and re.fullmatch(r"[A-Za-z0-9+.-]*", helper):
        return clean_url(address) if _SCHEME.match(address) else None
    scheme = _SCHEME.match(url)
    if scheme:
        cleaned = scheme.group(0) + _authority(scheme.group(1).lower(), url[scheme.end() :])
    elif (scp := _SCP.fullmatch(url)) and not url.startswith(("/", ".")):
        user, host, path = scp.groups()
        cleaned = f"{'git@' if user == 'git' else ''}{host}:{path}"
    else:
        cleaned = url
    return _TOKEN.sub("***", re.split(r"[?#;\s]", cleaned, maxsplit=1)[0]) or None


def remote_of(config: Mapping[str, Sequence[str]], branch: str | None) -> str | None:
    """Return the cleaned address of the remote a branch follows, else of ``origin``, else of the first one."""
    urls = {key[len("remote.") : -len(".url")]: values[0] for key, values in config.items() if _names_remote(key)}
    followed = config.get(f"branch.{branch}.remote", ())
    for name in (*followed, "origin", *urls):
        if name in urls:
            return clean_url(urls[name])
    return None


def _names_remote(key: str) -> bool:
    return key.startswith("remote.") and key.endswith(".url")


def _authority(scheme: str, rest: str) -> str:
    """Return what follows ``scheme://`` without user and password."""
    end = re.search(r"[/?#]|\Z", rest)
    authority = rest[: end.start()] if end else rest
    if "@" not in authority and not _ADDRESS.fullmatch(authority):
        authority = rest if "@" in rest else authority  # a password with an unescaped slash in it
    before, at, _ = authority.rpartition("@")
    if not at:
        return rest
    account = "git@" if before == "git" and scheme in ("ssh", "git+ssh") else ""
    return account + rest[len(before) + 1 :]
