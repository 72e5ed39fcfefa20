"""Templates: what is a placeholder, how it is filled, and what is reported."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provrun.core.canonical import Value, encode
from provrun.core.template import Template, as_text, shell_variable
from provrun.errors import UsageError

VALUES: dict[str, Value] = {
    "x": 5,
    "f": 1e-5,
    "s": "a b'c",
    "none": None,
    "yes": True,
    "list": [1, "b"],
    "brace": "{x} {{x}}",
    "A.result.key": 0.5,
    "my-map.result.gap-ratio": 7,
    "A.rows": "/tmp/rows.jsonl",
    "input.0": "in.txt",
    "λ": "wave",
}


def fill(word: str) -> str:
    return Template.parse([word]).fill(VALUES.__getitem__)[0]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("{x}", "5"),
        ("-x={x},{x}", "-x=5,5"),
        ("{x:05d}", "00005"),
        ("{f:.3f}", "0.000"),
        ("{s:>8}", "   a b'c"),
        ("{f}", "1e-05"),
        ("{s}", "a b'c"),
        ("{none}{yes}{list}", 'nulltrue[1,"b"]'),
        ("{A.result.key} {A.rows} {input.0}", "0.5 /tmp/rows.jsonl in.txt"),
        ("{my-map.result.gap-ratio}", "7"),
        ("{λ}", "wave"),
        ("{{x}}", "{x}"),
        ("{{x:05d}}", "{x:05d}"),
        ("{{unknown}}", "{unknown}"),
        ("{{{x}}}", "{5}"),
        ("${{{x}}}", "${5}"),
        ("${HOME} ${x}", "${HOME} ${x}"),
        ("${{x}}", "${x}"),
        ("$ {x}", "$ 5"),
        ('{"a":{x}}', '{"a":5}'),
        ('{"a":{"b":{x}}}', '{"a":{"b":5}}'),
        ('{"a":1}', '{"a":1}'),
        ("{{x}", "{5"),
        ("{x}}", "5}"),
        ("{print $1}", "{print $1}"),
        ("{} {0} {1..5} {a,b} { x } {x } {x!r} {a-b} {.x}", "{} {0} {1..5} {a,b} { x } {x } {x!r} {a-b} {.x}"),
    ],
)
def test_a_word_is_filled_like_this(word: str, text: str) -> None:
    assert fill(word) == text


def test_each_word_stays_one_word() -> None:
    template = Template.parse(["run", "--name={s}", "", "{s}"])
    assert template.fill(VALUES.__getitem__) == ["run", "--name=a b'c", "", "a b'c"]
    assert template.names == ("s",)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.sampled_from(["{v}", "a{v}b{v}"]))
def test_what_was_filled_is_never_filled_again(value: str, word: str) -> None:
    assert Template.parse([word]).fill({"v": value}.__getitem__) == [word.replace("{v}", value)]


@given(st.text(alphabet='{}$x:0"a', max_size=12))
def test_a_word_without_placeholders_is_itself_but_for_doubled_braces(word: str) -> None:
    template = Template.parse([word or "-"])
    if not template.names and "{{" not in word:
        assert template.fill(VALUES.__getitem__) == [word or "-"]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(), st.lists, max_leaves=4))
def test_values_that_are_no_text_are_filled_as_json(value: Value) -> None:
    assert Template.parse(["{v}"]).fill(lambda _: value) == [encode(value)]


def test_names_are_listed_once_in_order_of_use() -> None:
    assert Template.parse(["{b}{a:03d}", "{b}{A.result}"]).names == ("b", "a", "A.result")


@pytest.mark.parametrize(
    ("word", "value", "message"),
    [("{v:d}", "text", "cannot be filled"), ("{v:d}", [1], "cannot be filled"), ("{v}", "a\0b", "NUL")],
)
def test_a_value_that_does_not_fit_is_refused_with_its_placeholder(word: str, value: Value, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        Template.parse([word]).fill(lambda _: value)
    assert word.strip("{}") in str(raised.value)


@pytest.mark.parametrize(("words", "message"), [([], "no command"), ([""], "no command"), (["a\0"], "NUL")])
def test_what_is_no_command_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Template.parse(words)


def test_all_unknown_names_are_reported_with_the_nearest_known_one() -> None:
    template = Template.parse(["{x} {couplin} {A.result.gap} {A.reslt} {B.rows} {zzz} {x:zz} {couplin}"])
    problems = template.check({"x", "coupling", "index"}, upstream={"A"})
    assert [problem.split(" ")[0].rstrip(":") for problem in problems] == [
        "{couplin}",
        "{A.reslt}",
        "{B.rows}",
        "{zzz}",
        "{x:zz}",
    ]
    assert "did you mean {coupling}?" in problems[0]
    assert "{A.result}" in problems[1]
    assert "{A.rows}" in problems[2]
    assert "{{zzz}}" in problems[3]


@pytest.mark.parametrize("name", ["A.result", "A.result.k", "A.result.a.b", "A.param.x", "A.output.plot", "A.rows"])
def test_what_can_be_read_of_an_upstream_map_is_known(name: str) -> None:
    assert Template.parse([f"{{{name}}}"]).check(set(), upstream={"A"}) == []


@pytest.mark.parametrize("name", ["A.param", "A.rows.x", "A.state", "B.result"])
def test_what_cannot_be_read_of_an_upstream_map_is_reported(name: str) -> None:
    assert len(Template.parse([f"{{{name}}}"]).check(set(), upstream={"A"})) == 1


def test_a_shell_command_is_one_word_whose_values_are_quoted() -> None:
    template = Template.parse(["sort {s} | head -n {x} > out/{x:03d}"], shell=True)
    assert template.fill(VALUES.__getitem__) == ["sort 'a b'\"'\"'c' | head -n 5 > out/005"]


@pytest.mark.parametrize("words", [[], ["echo", "{x}"]])
def test_a_shell_command_of_no_or_several_words_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError, match="exactly one word"):
        Template.parse(words, shell=True)


def test_all_quoted_placeholders_of_a_shell_command_are_reported_with_what_to_write() -> None:
    with pytest.raises(UsageError) as raised:
        Template.parse(["""echo "{x}" '{s}' {f}"""], shell=True)
    assert "{x} stands inside double quotes" in str(raised.value)
    assert "{s} stands inside single quotes" in str(raised.value)
    assert "$P_x" in str(raised.value)
    assert "{f}" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "variable"), [("x", "P_x"), ("A.result.gap-ratio", "P_A_result_gap_ratio"), ("λ", "P__")]
)
def test_a_name_has_a_shell_variable(name: str, variable: str) -> None:
    assert shell_variable(name) == variable


def test_not_a_number_is_filled_as_its_json() -> None:
    assert as_text(math.nan) == '{"$float":"nan"}'
