"""``ro-crate-metadata.json``: a Process Run Crate in which each cohort is one action.

A cohort stands for many executions, so the crate claims neither a workflow run nor a provenance run: it says how many
executions an action stands for, and leaves single ones to the page of provenance.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from provrun.export.crate.about import NO_LICENSE, About, summary
from provrun.export.crate.facts import Execution, Facts

PROCESS = "https://w3id.org/ro/wfrun/process/0.5"
ROCRATE = "https://w3id.org/ro/crate/1.1"
CONTEXT = [f"{ROCRATE}/context", "https://w3id.org/ro/terms/workflow-run/context"]
NAME = "ro-crate-metadata.json"
PREVIEW = "ro-crate-preview.html"
Entity = dict[str, object]

FORMATS: dict[str, tuple[str, str, str]] = {
    ".ttl": ("text/turtle", "https://www.w3.org/TR/turtle/", "Turtle"),
    ".jsonld": ("application/ld+json", "https://www.w3.org/TR/json-ld11/", "JSON-LD"),
    ".json": ("application/json", "https://www.rfc-editor.org/rfc/rfc8259", "JSON"),
    ".csv": ("text/csv", "https://www.rfc-editor.org/rfc/rfc4180", "CSV"),
    ".parquet": ("application/vnd.apache.parquet", "https://parquet.apache.org/docs/file-format/", "Parquet"),
    ".patch": ("text/x-diff", "https://git-scm.com/docs/diff-format", "Git patch"),
    ".txt": ("text/plain", "https://www.rfc-editor.org/rfc/rfc3676", "Text"),
    ".md": ("text/markdown", "https://spec.commonmark.org/0.31.2/", "Markdown"),
    ".cff": ("application/yaml", "https://citation-file-format.github.io/", "Citation File Format"),
    ".gz": ("application/gzip", "https://www.rfc-editor.org/rfc/rfc1952", "gzip"),
    ".jsonl": ("application/jsonl", "https://jsonlines.org/", "JSON lines"),
    ".html": ("text/html", "https://html.spec.whatwg.org/", "HTML"),
    ".pdf": ("application/pdf", "https://www.nationalarchives.gov.uk/PRONOM/fmt/276", "PDF"),
    ".png": ("image/png", "https://www.w3.org/TR/png/", "PNG"),
    ".svg": ("image/svg+xml", "https://www.w3.org/TR/SVG2/", "SVG"),
    ".jpg": ("image/jpeg", "https://www.w3.org/Graphics/JPEG/", "JPEG"),
}
_OTHER = ("application/octet-stream", "https://www.rfc-editor.org/rfc/rfc2046", "Binary data")


@dataclass(frozen=True)
class Written:
    """A file of the crate: where it lies in it, what it is, and its bytes in numbers.

    ``about`` is the node of the page that it shows: a version of code, an environment, a map, a figure.
    """

    path: str
    says: str
    size: int
    sha256: str
    about: str | None = None


def metadata(facts: Facts, about: About, files: Sequence[Written], variables: dict[str, dict[str, str]]) -> str:
    """Write the description of a crate; ``variables`` are those of each environment, by its node."""
    graph = _Graph(facts, about, files, variables)
    graph.add_all()
    document = {"@context": CONTEXT, "@graph": list(graph.entities.values())}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


class _Graph:
    def __init__(
        self, facts: Facts, about: About, files: Sequence[Written], variables: dict[str, dict[str, str]]
    ) -> None:
        self.facts = facts
        self.about = about
        self.files = files
        self.variables = variables
        self.entities: dict[str, Entity] = {}
        self.showing: dict[str, list[str]] = {}
        for file in files:
            if file.about is not None:
                self.showing.setdefault(file.about, []).append(file.path)
        self.tables = {one.name: self.showing.get(one.node, []) for one in facts.maps}

    def add(self, id: str, type: str | list[str], **about: object) -> str:
        """Add an entity once; what is None or empty is not said."""
        said = {key: _single(value) for key, value in about.items() if value not in (None, "", [])}
        self.entities.setdefault(id, {"@id": id, "@type": type, **said})
        return id

    def add_all(self) -> None:
        facts, about = self.facts, self.about
        self.add(
            NAME, "CreativeWork", conformsTo=_to(ROCRATE), about=_to("./"), description="The description of this crate"
        )
        person = self._person()
        license = self._license()
        root: Entity = {"@id": "./", "@type": "Dataset"}
        self.entities["./"] = root
        files = [self._file(one) for one in self.files]
        actions = [self._action(one, person) for one in facts.executions]
        writer = self.add(
            "https://w3id.org/provrun", "SoftwareApplication", name="provrun", url="https://w3id.org/provrun",
            softwareVersion=about.version,
        )
        export = self.add(
            "#export", "CreateAction", name="Writing of this crate",
            description=f"provrun {about.version} wrote the page of provenance and the files beside it.",
            endTime=facts.last, agent=_to(person), instrument=_to(writer), object=_all(self.tables_of_maps()),
            result=_all(one.path for one in self.files if one.about is None),
            actionStatus="http://schema.org/CompletedActionStatus",
        )
        organisation = next((one for one in self.entities.values() if one["@type"] == "Organization"), None)
        root |= {
            "name": about.titled(facts), "description": summary(facts), "datePublished": facts.last,
            "conformsTo": _to(self.add(PROCESS, "CreativeWork", name="Process Run Crate", version="0.5")),
            "license": _to(license), "author": _to(person),
            "publisher": _to(str(organisation["@id"]) if organisation else person),
            "identifier": facts.page, "keywords": ["provenance", "PROV-O"],
            "hasPart": _single(_all(files)), "mentions": _single(_all([*actions, export])),
        }

    def tables_of_maps(self) -> list[str]:
        """Give the tables of all maps."""
        return [path for paths in self.tables.values() for path in paths]

    def _person(self) -> str:
        about = self.about
        name, url = about.organisation
        family, given = about.names
        organisation = None
        if name:
            organisation = self.add(url or "#affiliation", "Organization", name=name, url=url)
        return self.add(
            f"https://orcid.org/{about.orcid}" if about.orcid else "#author", "Person",
            name=" ".join(filter(None, (given, family))) or "The author", familyName=family, givenName=given,
            affiliation=_to(organisation) if organisation else None,
        )

    def _license(self) -> str:
        url = self.about.license_url
        if url is None:
            return self.add("#license", "CreativeWork", name="No licence", description=NO_LICENSE)
        name = self.about.spdx or url
        return self.add(url, "CreativeWork", name=name, description=f"The licence {name}", identifier=url)

    def _file(self, file: Written) -> str:
        suffix = "." + file.path.rpartition(".")[2].lower() if "." in file.path else ""
        media, specification, name = FORMATS.get(suffix, _OTHER)
        self.add(specification, "WebSite", name=name, url=specification)
        about: Entity = {"about": _to(self._name(file.about))} if file.about else {}
        return self.add(
            file.path, "File", name=file.path.rpartition("/")[2], description=file.says,
            encodingFormat=[media, _to(specification)], contentSize=str(file.size), sha256=file.sha256, **about,
        )

    def _action(self, execution: Execution, person: str) -> str:
        facts = self.facts
        made = [self._collection(one, execution) for one in facts.made(execution.node)]
        table = self.tables.get(execution.map or "", []) if execution.succeeded else []
        status = "Completed" if execution.succeeded else "Failed"
        return self.add(
            execution.node, "CreateAction" if execution.succeeded else "ActivateAction", name=execution.name,
            description=self._described(execution), startTime=execution.started, endTime=execution.ended,
            agent=_to(person), instrument=_to(self._code(execution)),
            object=_all(self._read(execution)), result=_all([*made, *table]),
            actionStatus=f"http://schema.org/{status}ActionStatus",
            error=None if execution.succeeded else execution.error,
            environment=_all(self._variables(execution)),
        )

    def _described(self, execution: Execution) -> str:
        facts = self.facts
        whole = next((one for one in facts.maps if one.name == execution.map), None)
        plan = whole.plan if whole is not None else None
        template = facts.recipe(plan)
        shared = "codes and environments of several kinds" if execution.tail else "code, environment and shared inputs"
        return (
            f"A cohort: {execution.attempts} executions that share {shared}."
            f"{f' Each applies {template} to one set of parameters.' if template else ''}"
            " The page of provenance has the details."
        )

    def _code(self, execution: Execution) -> str:
        facts, node = self.facts, execution.plan
        if node is None:
            return self.add("#code", "SoftwareSourceCode", name="Unknown code", version="unknown", url="provenance.ttl")
        tree, commit = facts.text(node, "tree"), facts.text(node, "commit")
        digest = facts.text(node, "digest") or ""
        members = facts.number(node, "memberCount")
        revision = commit.rpartition(":")[2][:12] if commit else digest[:12]
        dirty = " with changes" if facts.text(node, "dirty") == "true" else ""
        return self.add(
            self._name(node), "SoftwareSourceCode", sameAs=node,
            name=f"{members} versions of code" if members else f"Code at {revision}{dirty}",
            version=f"{revision}{dirty}",
            # Code that no address is known of is described on the page, and there only.
            url=facts.text(node, "repository") or "provenance.ttl", codeRepository=facts.text(node, "repository"),
            identifier=[one for one in (tree, commit) if one], hasPart=_all(self.showing.get(node, [])),
        )

    def _name(self, node: str) -> str:
        """Name a version of code by an address, as the profile wants it: where an archive would have it."""
        facts = self.facts
        if not facts.is_a(node, "CodeVersion", "CodeSet"):
            return node
        tree, commit = facts.text(node, "tree"), facts.text(node, "commit")
        if tree is None:
            return f"https://w3id.org/provrun/code/{facts.text(node, 'digest')}"
        return f"https://archive.softwareheritage.org/{tree}{f';anchor={commit}' if commit else ''}"

    def _read(self, execution: Execution) -> list[str]:
        """Give what an action used: parameters, input files, results of other maps, the environment's list."""
        facts = self.facts
        known = facts.parameters(execution.node)
        described = "Values that its parameter sets have" if known else "Values in the whole map"
        found = [
            self.add(one.node, "PropertyValue", name=one.name, value=one.values, description=described)
            for one in known or facts.parameters(execution.whole or "")
        ]
        for node in facts.nodes(execution.node, "prov:used"):
            if facts.is_a(node, "InputFile"):
                sha256 = facts.text(node, "sha256") or ""
                found.append(self.add(
                    node, "CreativeWork", name=f"Input file {sha256[:12]}", sha256=sha256,
                    size=facts.text(node, "size"), description="An input that is not part of the crate",
                ))
            elif facts.is_a(node, "Tool"):
                found.append(self.add(
                    node, "CreativeWork", name=f"Program {facts.text(node, 'name')}", sha256=facts.text(node, "sha256"),
                    version=facts.text(node, "version"), description="A program that is not part of the crate",
                ))
            elif facts.is_a(node, "InputFiles"):
                found.append(self.add(
                    node, "CreativeWork", name=f"{facts.number(node, 'memberCount')} input files",
                    size=facts.text(node, "size"), description="Inputs that are not part of the crate",
                ))
        for map in facts.upstream(execution.node):
            found += self.tables.get(map, [])
        for node in execution.environments:
            found += self.showing.get(node, [])
        return list(dict.fromkeys(found))

    def _collection(self, node: str, execution: Execution) -> str:
        facts = self.facts
        members = facts.number(node, "memberCount")
        older = facts.is_a(node, "SupersededResults")
        table = self.tables.get(execution.map or "", [])
        return self.add(
            node, "CreativeWork",
            name=f"{members} results{' that were replaced by a later run' if older else ''}",
            isPartOf=None if older else _all(table),
        )

    def _variables(self, execution: Execution) -> Iterable[str]:
        for node in execution.environments:
            # A digest or a name does not say which registry has the image, as an entity of the image would have to.
            if (image := self.facts.text(node, "container")) is not None:
                yield self.add(f"{node}.container", "PropertyValue", name="container", value=image)
            for name, value in sorted(self.variables.get(node, {}).items()):
                yield self.add(f"{node}.{name}", "PropertyValue", name=name, value=value)


def _to(id: str) -> Entity:
    return {"@id": id}


def _single(values: object) -> object:
    """Give a list of one as the one, as the recommendations have it."""
    return values[0] if isinstance(values, list) and len(values) == 1 else values


def _all(ids: Iterable[str]) -> list[Entity]:
    return [_to(id) for id in dict.fromkeys(ids)]
