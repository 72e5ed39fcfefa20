"""The sieve on parameters never loses a task that a condition means."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from provrun.core.canonical import encode
from provrun.core.terms import equal
from provrun.query.resolving import texts

NUMBERS = some.one_of(
    some.integers(-(2**70), 2**70), some.integers(-3, 3), some.floats(), some.sampled_from([0.0, -0.0, 1e16, 2.0**53])
)
VALUES = some.one_of(NUMBERS, some.booleans(), some.none(), some.text(max_size=5))


@given(VALUES, VALUES, some.text(max_size=5), some.dictionaries(some.text(max_size=3), VALUES, max_size=3))
def test_whatever_equals_a_value_passes_its_sieve(held: object, wanted: object, name: str, others: object) -> None:
    assert isinstance(others, dict)
    params = encode({**others, name: held})
    sieve = texts(name, wanted)  # type: ignore[arg-type]  # all of them are values
    if equal(held, wanted):
        assert not sieve or any(text in params for text in sieve)


@given(some.integers(-(2**40), 2**40), some.text(max_size=5))
def test_a_sieve_for_a_number_holds_all_its_forms(number: int, name: str) -> None:
    sieve = texts(name, number)
    assert encode({name: number})[1:-1] in sieve
    assert encode({name: float(number)})[1:-1] in sieve
