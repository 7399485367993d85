"""A stranger's chat template: whatever it does ends in a prompt or in a sentence."""

from __future__ import annotations

import pytest

from ragformer.errors import WeightsError
from ragformer.fence import Fence
from ragformer.pdf.child import memory_is_limited
from ragformer.text.chat_template import ChatTemplate, Part

pytest.importorskip("jinja2")

HELLO = [{"role": "user", "content": "Hello."}]
BOTH = [{"role": "system", "content": "Be brief."}, *HELLO]


def test_what_is_a_message_and_what_the_template_is_told_apart() -> None:
    source = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    assert ChatTemplate(source, {}).parts(BOTH) == [
        Part("<system>", False),
        Part("Be brief.", True),
        Part("<user>", False),
        Part("Hello.", True),
    ]


def test_where_the_system_may_not_speak_the_user_says_it() -> None:
    source = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ 1 / 0 }}{% endif %}{{ m.content }}"
        "{% endfor %}"
    )
    assert ChatTemplate(source, {}).parts(BOTH) == [Part("Be brief.\n\nHello.", True)]


@pytest.mark.parametrize(
    "source",
    [
        "{{ 1 / 0 }}",
        "{{ 2.0 ** 100000 }}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{{ 'x'.encode('no such') }}",
        "{{ cycler() }}",
        "{{ messages[7].content }}",
        "{{ ''.__class__.__mro__ }}",
        "{% include '/etc/passwd' %}",
        "{{ raise_exception('no') }}",
        "it leaves the message out",
        "{{ messages[0].content }}{{ messages[0].content }}",
        "{% for i in range(2000) %}{{ ' ' * 1000 }}{% endfor %}{{ messages[0].content }}",
    ],
)
def test_one_that_fails_is_said(source: str) -> None:
    with pytest.raises(WeightsError, match="chat template fails: "):
        ChatTemplate(source, {}).parts(HELLO)


@pytest.mark.parametrize("source", ["{% for %}", "{{" + "(" * 5000 + "1" + ")" * 5000 + "}}"])
def test_one_that_is_none_is_said(source: str) -> None:
    with pytest.raises(WeightsError, match="chat template is none: "):
        ChatTemplate(source, {}).parts(HELLO)


NESTED = "{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3
DOUBLING = "{% set n = namespace(t='x') %}" + "{% set n.t = n.t ~ n.t %}" * 50


@pytest.mark.parametrize("source", [NESTED, "{{ 9 ** (9 ** 9) % 7 }}"])
def test_one_that_does_not_end_is_ended(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second not even while it is compiled."""
    monkeypatch.setattr("ragformer.text.chat_template.FENCE", Fence(0.05, 512))
    with pytest.raises(WeightsError, match=r"chat template takes more than 0\.05 s or 512 MB"):
        ChatTemplate(source, {}).parts(HELLO)


@pytest.mark.skipif(not memory_is_limited(), reason="nothing bounds a child's memory here")
@pytest.mark.parametrize("source", [DOUBLING, "{{ 'x' * 8000000000 }}"])
def test_one_that_fills_the_memory_fails(source: str) -> None:
    with pytest.raises(WeightsError, match="chat template"):
        ChatTemplate(source, {}).parts(HELLO)


def test_a_template_is_run_once_for_all_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    template = ChatTemplate("<{{ messages[0].content }}>", {})
    template.parts(HELLO)
    monkeypatch.setattr("ragformer.text.chat_template.fenced", None)
    said = [{"role": "user", "content": "<Again>"}]
    assert template.parts(said) == [Part("<", False), Part("<Again>", True), Part(">", False)]
