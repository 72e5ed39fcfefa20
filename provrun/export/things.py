"""The nodes a page shares between maps: who, which recipe, code, environment and input files."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from provrun.core.canonical import digest, encode
from provrun.core.code import Code
from provrun.core.environment import Environment, Host, Tool
from provrun.core.records import Recipe
from provrun.export.page import Page, ended_at

if TYPE_CHECKING:
    from prov.identifier import QualifiedName


@dataclass(frozen=True)
class Captured:
    """A version of code and when it was first captured, in microseconds."""

    code: Code
    at: int


@dataclass(frozen=True)
class Known:
    """The interned records a page may name, by digest in hex; ``sizes`` are those of shared inputs."""

    codes: Mapping[str, Captured]
    environments: Mapping[str, Environment]
    hosts: Mapping[str, Host]
    sizes: Mapping[str, int]
    version: str
    orcid: str | None = None


class Things:
    """Adds shared nodes to a page, each when it is first named."""

    def __init__(self, page: Page, known: Known) -> None:
        self.page = page
        self.known = known
        self.person = page.agent(
            page.r("person"), ["prov:Person"], orcid=f"https://orcid.org/{known.orcid}" if known.orcid else None
        )
        self.provrun = page.agent(page.r("provrun"), ["prov:SoftwareAgent"])
        page.delegated(self.provrun, self.person)
        self._there: set[str] = set()
        self._codes: set[str] = set()

    def first(self, name: QualifiedName) -> bool:
        """Tell whether a node is named for the first time, so that it must be added."""
        if name.localpart in self._there:
            return False
        self._there.add(name.localpart)
        return True

    def recipe(self, key: str, recipe: Recipe, *, reduces: bool) -> QualifiedName:
        """Name what a map applies."""
        name = self.page.digested("recipe", key)
        if self.first(name):
            self.page.entity(
                name, ["prov:Plan", "Recipe"], digest=key, kind=recipe.kind,
                template=encode(list(recipe.words)) if recipe.words else None, entryPoint=recipe.function,
                bound=encode(recipe.bound) if recipe.bound else None,
                input=list(recipe.inputs), output=[f"{key}={path}" for key, path in sorted(recipe.outputs.items())],
                applies="reduce" if reduces else "map", resultMode=None if recipe.result == "auto" else recipe.result,
            )
        return name

    def code(self, key: str) -> QualifiedName:
        """Name a version of code."""
        name = self.page.digested("code", key)
        if self.first(name):
            self._codes.add(key)
            captured = self.known.codes[key]
            code = captured.code
            self.page.entity(
                name, ["prov:Plan", "CodeVersion"], digest=key, kind=code.kind,
                tree=f"swh:1:dir:{code.tree}" if code.tree else None,
                commit=f"swh:1:rev:{code.commit}" if code.commit else None, repository=_published(code.remote),
                dirty=code.dirty if code.kind == "git" else None, patchDigest=code.patch_digest,
                unpatched=list(code.unpatched), filesDigest=code.files_digest,
                captured=ended_at(captured.at),
            )
        return name

    def environment(self, key: str) -> QualifiedName:
        """Name an environment."""
        name = self.page.digested("environment", key)
        if self.first(name):
            environment = self.known.environments[key]
            self.page.entity(
                name, ["Environment"], digest=key, implementation=environment.implementation,
                python=environment.python, container=environment.container, packages=len(environment.packages),
            )
        return name

    def inputs(self, digests: Iterable[str]) -> list[QualifiedName]:
        """Name shared inputs, each once."""
        return [self.file(sha256, self.known.sizes[sha256]) for sha256 in dict.fromkeys(digests)]

    def file(self, sha256: str, size: int) -> QualifiedName:
        """Name an input file by its content."""
        name = self.page.digested("file", sha256)
        if self.first(name):
            self.page.entity(name, ["InputFile"], sha256=sha256, size=size)
        return name

    def tools(self, tools: Iterable[Tool], most: int = 16) -> tuple[list[QualifiedName], int]:
        """Name programs from outside the project, without their folders; the rest as a count."""
        named = sorted({(posixpath.basename(one.path), one.sha256, one.version or "") for one in tools})
        return [self._tool(*one) for one in named[:most]], max(0, len(named) - most)

    def _tool(self, program: str, sha256: str, version: str) -> QualifiedName:
        name = self.page.digested("tool", digest("tool", [program, sha256, version]).hex())
        if self.first(name):
            self.page.entity(name, ["Tool"], name=program, sha256=sha256, version=version or None)
        return name

    def code_set(self, name: QualifiedName, digests: Collection[str]) -> QualifiedName:
        """Name the pooled code versions of a tail."""
        return self._pooled(name, ["prov:Plan", "CodeSet"], digests)

    def environment_set(self, name: QualifiedName, digests: Collection[str]) -> QualifiedName:
        """Name the pooled environments of a tail."""
        return self._pooled(name, ["EnvironmentSet"], digests)

    def _pooled(self, name: QualifiedName, types: list[str], digests: Collection[str]) -> QualifiedName:
        listed = sorted(digests)
        return self.page.entity(name, types, memberCount=len(listed), digest=digest("set", list(listed)).hex())

    def hosts(self, digests: Collection[str], most: int = 8) -> list[str]:
        """Describe the distinct machines: platform, CPU, MPI library; the rest as a count."""
        described = sorted({
            encode({"cpu": host.cpu, "mpi": host.mpi, "platform": host.platform})
            for host in (self.known.hosts[key] for key in digests)
        })
        rest = len(described) - most
        return described if rest <= 0 else [*described[:most], f"and {rest} more"]

    def revisions(self) -> None:
        """Link every version of code to the one of the same repository that was captured before it."""
        by_repository: dict[object, list[tuple[int, str]]] = {}
        for key in self._codes:
            captured = self.known.codes[key]
            if captured.code.kind == "git":
                where = captured.code.remote or captured.code.root
                by_repository.setdefault(where, []).append((captured.at, key))
        for versions in by_repository.values():
            versions.sort()
            for (_, earlier), (_, later) in pairwise(versions):
                self.page.revision(self.code(later), self.code(earlier))


def _published(remote: str | None) -> str | None:
    """Give the address of a repository that others can reach; folders of this machine stay out of a page."""
    if remote is None or remote.startswith(("/", ".", "~", "file:")):
        return None
    return remote if "://" in remote or ":" in remote else None
