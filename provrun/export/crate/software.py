"""An environment as others read it: a list that installers take, and a bill of materials (CycloneDX)."""

from __future__ import annotations

import json
import re
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from provrun.core.environment import Environment, Package

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_COMMIT = re.compile(r"@[0-9a-f]{40,64}\Z")
_REQUIREMENT = re.compile(r"([a-z0-9][a-z0-9._-]*)(==[A-Za-z0-9.!+_-]+| @ [A-Za-z][A-Za-z0-9+.-]*://\S+|)")
_PYTHON = re.compile(r"# (\w+) (\d+\.\d+\S*)")
_VARIABLE = re.compile(r"# ([A-Z][A-Z0-9_]*)=(.*)")


def lock(environment: Environment) -> str:
    """Write a list of requirements; what no installer could find is a comment."""
    lines = [f"# {environment.implementation} {environment.python}"]
    if environment.container:
        lines.append(f"# container {environment.container}")
    lines += [f"# {name}={value}" for name, value in sorted(environment.variables.items())]
    return "\n".join([*lines, *map(_requirement, environment.packages)]) + "\n"


def _requirement(package: Package) -> str:
    if package.name.startswith("conda:"):
        return f"# {package.name.removeprefix('conda:')} {package.version} (conda)"
    url = package.direct_url
    if url is None:
        return f"{package.name}=={package.version}" if package.version else package.name
    if not _URL.match(url) or url.startswith("file:"):
        return f"# {package.name} {package.version} (from {url})"
    # An address with a commit is one of a repository.
    prefix = "git+" if _COMMIT.search(url) and not url.startswith("git+") else ""
    return f"{package.name} @ {prefix}{url}"


class Listed(NamedTuple):
    """A list of software, read: ``requirements`` are lines that an installer takes, by the name of the package.

    ``others`` are packages that no installer can find, by name: of conda, or out of a folder or a file.
    """

    implementation: str
    python: str
    variables: dict[str, str]
    requirements: dict[str, str]
    others: dict[str, str]


def read_lock(text: str) -> Listed:
    """Read a list as `lock` writes it; raises ValueError for anything else."""
    first, *lines = text.splitlines() or [""]
    python = _PYTHON.fullmatch(first)
    if python is None:
        raise ValueError(f"it does not begin with a version of Python: {first[:80]}")
    listed = Listed(python[1], python[2], {}, {}, {})
    for line in lines:
        if found := _REQUIREMENT.fullmatch(line):
            listed.requirements[found[1]] = line
        elif found := _VARIABLE.fullmatch(line):
            listed.variables[found[1]] = found[2]
        elif not line.startswith("# container "):
            said = line.removeprefix("# ")
            listed.others[said.partition(" ")[0]] = said
    return listed


def materials(environment: Environment) -> str:
    """Write a CycloneDX 1.5 bill of materials; it has no time of its own, so equal software has equal bytes."""
    key = environment.digest
    document = {
        "bomFormat": "CycloneDX", "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, f'https://w3id.org/provrun/environment/{key}')}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application", "bom-ref": "environment", "name": "environment", "version": key[:16],
                "properties": [{"name": f"provrun:variable:{name}", "value": value}
                               for name, value in sorted(environment.variables.items())],
            },
        },
        "components": [
            {
                "type": "platform", "bom-ref": "python", "name": environment.implementation,
                "version": environment.python,
            },
            *([{"type": "container", "bom-ref": "container", "name": environment.container}]
              if environment.container else []),
            *(_component(number, package) for number, package in enumerate(environment.packages)),
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _component(number: int, package: Package) -> dict[str, object]:
    conda = package.name.startswith("conda:")
    name = package.name.removeprefix("conda:")
    version = package.version.split(" ")[0] if conda else package.version
    made: dict[str, object] = {
        "type": "library", "bom-ref": f"package-{number}", "name": name, "version": version,
        "purl": f"pkg:{'conda' if conda else 'pypi'}/{name}@{version}",
    }
    url = package.direct_url
    if url is not None and _URL.match(url) and not url.startswith("file:"):
        made["externalReferences"] = [{"type": "distribution", "url": _COMMIT.sub("", url).partition("#")[0]}]
    return made
