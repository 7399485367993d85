"""A stranger's chat template: whatever it does ends in a prompt or in a sentence."""

from __future__ import annotations

import pytest

from ragformer.errors import WeightsError
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
    ],
)
def test_one_that_fails_is_said(source: str) -> None:
    with pytest.raises(WeightsError, match="chat template fails: "):
        ChatTemplate(source, {}).parts(HELLO)


@pytest.mark.parametrize("source", ["{% for %}", "{{" + "(" * 5000 + "1" + ")" * 5000 + "}}"])
def test_one_that_is_none_is_said(source: str) -> None:
    with pytest.raises(WeightsError, match="chat template is none: "):
        ChatTemplate(source, {})
