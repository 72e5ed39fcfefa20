"""Pages read back: the quick reader takes nothing for something else than a whole parser does."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pyoxigraph
import pytest

from fixtures.study import Study
from fixtures.told import tell
from provrun.errors import ProvrunError
from provrun.export.rdf import Iri, Literal, Triple
from provrun.export.reading import NotRead, _Unknown, read_page, read_turtle

Write = Callable[..., str]
HEAD = "@prefix p: <urn:x:p#> .\n@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .\n\n"


def whole(text: str) -> set[Triple]:
    """Read Turtle by a parser that was not written here."""
    found = set()
    for quad in pyoxigraph.parse(text, format=pyoxigraph.RdfFormat.TURTLE):
        value = quad.object
        if isinstance(value, pyoxigraph.Literal):
            assert value.language is None
            term: Iri | Literal = Literal(value.value, value.datatype.value)
        else:
            assert isinstance(value, pyoxigraph.NamedNode)
            term = Iri(value.value)
        assert isinstance(quad.subject, pyoxigraph.NamedNode)
        found.add(Triple(quad.subject.value, quad.predicate.value, term))
    return found


@pytest.mark.parametrize("format", ["turtle", "nt"])
def test_the_quick_reader_reads_what_is_exported(study: Study, write: Write, format: str) -> None:
    tell(study)
    study.submit("odd", [{"a b": "\x01\ufffe\"<&>", "c": "\u2028\t\n\\"}, {"a b": "x", "c": "ü𝄞"}])
    text = write(format)
    assert set(read_turtle(text)) == whole(text)


@pytest.mark.parametrize(
    "text",
    [
        'p:a p:b """long""" .', "p:a p:b 1.5 .", "p:a p:b 1e5 .", 'p:a p:b "x"@en .', "p:a p:b true .", "_:x p:b p:c .",
        "p:a p:b [] .", "p:a p:b (1) .", "<rel> p:b p:c .", "p:a p:b 'x' .", "p:a p:b p:c # why\n.", "p: p:b p:c .",
        "p:a%20b p:b p:c .", "p:a p:b p:a\\-b .", "p:a p:b <urn:\\u0041> .", 'p:a p:b "\\U0001F600" .', "BASE <urn:x>",
        "PREFIX q: <urn:q>", 'p:a p:b "\\ud800" .', "q:a p:b p:c .", "p:a p:b p:c", "p:a p:b .", "p:a p:b p:c ; .",
        "p:a p:b p:é .", "p:a p:b:c p:d .", "<< p:a p:b p:c >> p:d p:e .", "p:a p:b p:c. p:d p:e p:f .", "a a a .",
    ],
)
def test_of_what_it_does_not_know_it_says_so(text: str) -> None:
    with pytest.raises(_Unknown):
        read_turtle(HEAD + text)


def test_whatever_it_accepts_means_what_a_whole_parser_says(study: Study, write: Write) -> None:
    tell(study)
    text = write("turtle")
    blocks = text.split("\n\n")
    chosen = random.Random(7)
    pieces = [*'a"\\.;, \n<>1#@\'é-', "^^", "p:", "_:", "e5"]
    accepted = 0
    for _ in range(3000):
        one = chosen.choice(blocks[1:])
        place = chosen.randrange(len(one))
        cut = place + chosen.randrange(3)
        edited = f"{blocks[0]}\n\n{one[:place]}{chosen.choice(pieces)}{one[cut:]}"
        try:
            read = set(read_turtle(edited))
        except _Unknown:
            continue
        accepted += 1
        assert read == whole(edited), edited
    assert accepted > 300


def test_a_page_that_is_turtle_of_another_hand_is_read_whole(study: Study, write: Write, tmp_path: Path) -> None:
    tell(study)
    text = write("turtle")
    path = tmp_path / "page.ttl"
    path.write_text(f"# by hand\n{text}")
    assert set(read_page(path)) == set(read_turtle(text))


@pytest.mark.parametrize(
    ("name", "text"), [("page.ttl", "no page"), ("page.jsonld", "{"), ("page.txt", ""), ("page.xml", "<a/>")]
)
def test_what_is_no_page_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(NotRead) as caught:
        read_page(tmp_path / name)
    assert isinstance(caught.value, ProvrunError)
    assert caught.value.exit == 1
