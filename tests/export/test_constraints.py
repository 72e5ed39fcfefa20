"""PROV-CONSTRAINTS: the checkers agree with cases that others wrote, and no page breaks what they check."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import prov
import pytest
from prov.model import ProvDocument
from rdflib import Graph

from fixtures.constraints import violations
from fixtures.constraints_of_documents import refusals
from fixtures.study import Study
from fixtures.told import tell_all

CASES = Path(prov.__file__).parent / "tests" / "unification"
FILES = sorted(
    [*CASES.glob("*.json"), *(CASES / "constraints").glob("*.xml"), *(CASES / "constraints").glob("*.provx")]
)
OUTSIDE = {
    "bundle-fail1.xml": "prov cannot read it",
    "bundle-success1.xml": "prov cannot read it",
    "bundle-success2.xml": "prov cannot read it",
    "delegation-fail4.xml": "whether a delegation without an activity may be the one with one; pages have one each",
    "delegation-fail5.xml": "whether a delegation without an activity may be the one with one; pages have one each",
    "mention-fail3.xml": "mentions are no part of the recommendation, and pages have none",
    "mention-fail4.xml": "mentions are no part of the recommendation, and pages have none",
    "usage-fail1.xml": "the recommendation lets an activity use an entity more than once",
    "usage-fail5.xml": "the recommendation lets an activity use an entity more than once",
    "usage-fail6.xml": "the recommendation lets an activity use an entity more than once",
    "usage-fail7.xml": "the recommendation lets an activity use an entity more than once",
}
PREFIXES = """
@prefix prov: <http://www.w3.org/ns/prov#> . @prefix e: <http://example.org/> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
e:a a prov:Activity ; prov:startedAtTime "2026-01-01T10:00:00+00:00"^^xsd:dateTime ;
    prov:endedAtTime "2026-01-01T11:00:00+00:00"^^xsd:dateTime .
e:b a prov:Activity ; prov:startedAtTime "2026-01-01T12:00:00+00:00"^^xsd:dateTime ;
    prov:endedAtTime "2026-01-01T13:00:00+00:00"^^xsd:dateTime .
e:x a prov:Entity . e:y a prov:Entity .
"""
# The order of events, by the numbers of the recommendation: what holds, and what does not.
ORDERS = {
    "30 start-precedes-end": ("", 'e:c a prov:Activity ; prov:startedAtTime "2026-01-02T00:00:00+00:00"^^xsd:dateTime ;'
                                  ' prov:endedAtTime "2026-01-01T00:00:00+00:00"^^xsd:dateTime .'),
    "33, 34, 37 usage and generation within, generation-precedes-usage": (
        "e:x prov:wasGeneratedBy e:a . e:b prov:used e:x .", "e:x prov:wasGeneratedBy e:b . e:a prov:used e:x ."
    ),
    "32 wasInformedBy-ordering": ("e:b prov:wasInformedBy e:a .", "e:a prov:wasInformedBy e:b ."),
    "42 derivation-generation-generation": (
        "e:x prov:wasGeneratedBy e:a . e:y prov:wasGeneratedBy e:b ; prov:wasDerivedFrom e:x .",
        "e:x prov:wasGeneratedBy e:b . e:y prov:wasGeneratedBy e:a ; prov:wasDerivedFrom e:x .",
    ),
    "42 strictly": (
        "e:x prov:wasGeneratedBy e:a . e:y prov:wasGeneratedBy e:a ; prov:wasDerivedFrom e:x .",
        "e:x prov:wasGeneratedBy e:a ; prov:wasDerivedFrom e:y ."
        " e:y prov:wasGeneratedBy e:a ; prov:wasDerivedFrom e:x .",
    ),
}  # fmt: skip


@pytest.mark.parametrize("file", [file for file in FILES if file.name not in OUTSIDE], ids=lambda file: file.name)
def test_a_case_of_others_is_accepted_or_refused_as_its_name_says(file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        document = ProvDocument.deserialize(str(file), format="json" if file.suffix == ".json" else "xml")
    assert (refusals(document) == []) == ("success" in file.name or "PASS" in file.name)


def test_the_cases_are_all_there() -> None:
    assert len(FILES) >= 174
    assert {file.name for file in FILES} > OUTSIDE.keys()


@pytest.mark.parametrize("number", ORDERS)
def test_events_are_in_the_order_that_the_recommendation_asks_for(number: str) -> None:
    holds, broken = ORDERS[number]

    def ordered(text: str) -> list[str]:
        return [one for one in violations(Graph().parse(data=PREFIXES + text)) if "in one form only" not in one]

    assert ordered(holds) == []
    assert ordered(broken) != []


def test_no_page_breaks_what_the_cases_are_about(study: Study, write: Callable[..., str]) -> None:
    tell_all(study)
    page = ProvDocument.deserialize(StringIO(write("provjson")), format="json")
    assert len(list(page.get_records())) > 100
    assert refusals(page) == []
