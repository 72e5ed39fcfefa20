"""Who publishes a crate and under which conditions, for people and for repositories of data."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from provrun.export.crate.facts import Facts

_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*\Z")
_ORGANISATION = re.compile(r"(.*?)\s*<(https?://[^>\s]+)>\s*\Z")
NO_LICENSE = "No licence was chosen: all rights are reserved."


@dataclass(frozen=True)
class About:
    """What only the author knows; empty where nothing was said.

    ``license`` is an SPDX identifier or an address; ``affiliation`` is a name, with its address in angle brackets.
    """

    title: str = ""
    author: str = ""
    orcid: str = ""
    affiliation: str = ""
    license: str = ""
    version: str = ""

    @property
    def organisation(self) -> tuple[str, str | None]:
        """Split the affiliation into its name and address."""
        found = _ORGANISATION.match(self.affiliation)
        return (found[1] or found[2], found[2]) if found else (self.affiliation, None)

    @property
    def license_url(self) -> str | None:
        """Give the address of the licence."""
        if "://" in self.license:
            return self.license
        return f"https://spdx.org/licenses/{self.license}" if self.license else None

    @property
    def spdx(self) -> str | None:
        """Give the SPDX identifier of the licence, if it was given as one."""
        return self.license if _SPDX.match(self.license) else None

    @property
    def names(self) -> tuple[str, str]:
        """Split the author's name into family and given names."""
        if "," in self.author:
            family, _, given = self.author.partition(",")
            return family.strip(), given.strip()
        given, _, family = self.author.strip().rpartition(" ")
        return family, given

    def titled(self, facts: Facts) -> str:
        """Give the title, else one made of the names of the maps."""
        if self.title:
            return self.title
        names = [one.name for one in facts.maps]
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        return f"Results and provenance of {', '.join(names[:4])}{more}"


def summary(facts: Facts) -> str:
    """Say in two sentences what the crate holds."""
    planned = sum(one.counts["planned"] for one in facts.maps)
    attempts = sum(one.counts["attempts"] for one in facts.maps)
    good = sum(one.counts["succeeded"] + one.counts["reused"] for one in facts.maps)
    maps = f"{len(facts.maps)} map{'s' if len(facts.maps) != 1 else ''}"
    return (
        f"{good} results of {planned} tasks in {maps}, made by {attempts} recorded executions. "
        "The page of provenance says which code, parameters, inputs and environment each came from."
    )


def citation(about: About, facts: Facts) -> str:
    """Write CITATION.cff."""
    lines = [
        "cff-version: 1.2.0", "message: Please cite this data set as below.", "type: dataset",
        f"title: {json.dumps(about.titled(facts), ensure_ascii=False)}",
        f"abstract: {json.dumps(summary(facts), ensure_ascii=False)}", f"date-released: '{facts.last[:10]}'",
    ]
    if about.spdx:
        lines.append(f"license: {about.spdx}")
    elif about.license_url:
        lines.append(f"license-url: {json.dumps(about.license_url)}")
    lines.append("authors:")
    if about.author:
        family, given = about.names
        person = {"family-names": family, "given-names": given, "affiliation": about.organisation[0]}
        person["orcid"] = f"https://orcid.org/{about.orcid}" if about.orcid else ""
        said = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in person.items() if value]
    else:
        said = [f"name: {json.dumps(about.organisation[0] or 'The author', ensure_ascii=False)}"]
    lines += [f"{'  - ' if number == 0 else '    '}{text}" for number, text in enumerate(said)]
    lines += [
        "identifiers:", "  - type: other", f"    value: {json.dumps(facts.page)}",
        "    description: the page of provenance", "keywords:", "  - provenance", "  - PROV-O",
    ]
    return "\n".join(lines) + "\n"


def zenodo(about: About, facts: Facts) -> str:
    """Write .zenodo.json."""
    family, given = about.names
    creator = {
        "name": (f"{family}, {given}" if given else family) or about.organisation[0] or "The author",
        "affiliation": about.organisation[0], "orcid": about.orcid,
    }
    document: dict[str, object] = {
        "title": about.titled(facts), "description": summary(facts), "upload_type": "dataset",
        "creators": [{key: value for key, value in creator.items() if value}],
        "publication_date": facts.last[:10], "keywords": ["provenance", "PROV-O", "RO-Crate"],
    }
    if about.spdx:
        document |= {"access_right": "open", "license": about.spdx.lower()}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
