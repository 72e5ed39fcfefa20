"""A crate read back: whether its description holds of its files and of its page."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import cast

from provrun.export.crate.facts import Facts
from provrun.export.crate.metadata import NAME, PREVIEW
from provrun.export.rdf import Triple
from provrun.export.view import Wrong

Measure = Callable[[str], tuple[str, int]]


def wrong_crate(
    description: bytes, there: Collection[str], measure: Measure, triples: list[Triple]
) -> Iterator[Wrong]:
    """Give what does not hold of a crate.

    ``there`` are the paths of its files, ``measure`` gives SHA-256 and size of one; ``triples`` are those of its page.
    """
    try:
        entities = {str(one["@id"]): one for one in json.loads(description)["@graph"]}
    except (ValueError, KeyError, TypeError) as error:
        yield Wrong("crate-description-reads", f"{NAME} cannot be read: {error}")
        return
    files = {id: one for id, one in entities.items() if one.get("@type") == "File"}
    for path in sorted(set(files) - set(there)):
        yield Wrong("crate-files-hold", f"{path} is not there")
    for path in sorted(set(there) - set(files) - {NAME, PREVIEW}):
        yield Wrong("crate-files-hold", f"{path} is not described")
    for path in sorted(set(files) & set(there)):
        sha256, size = measure(path)
        if (files[path].get("sha256"), files[path].get("contentSize")) != (sha256, str(size)):
            yield Wrong("crate-files-hold", f"{path} is not what the crate describes")
    yield from _actions(entities, Facts(triples))


def _actions(entities: Mapping[str, Mapping[str, object]], facts: Facts) -> Iterator[Wrong]:
    """Compare each action with its cohort."""
    cohorts = {one.node: one for one in facts.executions}
    actions = {
        id for id, one in entities.items() if one.get("@type") in ("CreateAction", "ActivateAction") and id != "#export"
    }
    for node in sorted(actions ^ set(cohorts)):
        yield Wrong("crate-actions-agree", f"{node} is {'no cohort of the page' if node in actions else 'no action'}")
    for node in sorted(actions & set(cohorts)):
        cohort, said = cohorts[node], cast("dict[str, object]", entities[node])
        wanted = {
            "@type": "CreateAction" if cohort.succeeded else "ActivateAction", "name": cohort.name,
            "startTime": cohort.started, "endTime": cohort.ended, "error": None if cohort.succeeded else cohort.error,
        }
        for key, value in wanted.items():
            if said.get(key) != value:
                yield Wrong("crate-actions-agree", f"{node}: {key} is {said.get(key)!r}, on the page it is {value!r}")
