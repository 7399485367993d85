"""What a model is shown is as long as the text, so that offsets stay true."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ragformer.text.normalize import for_model, model_line

anything = st.text(st.characters() | st.sampled_from("\n\t\r\u00a0 \ud800\udfff"))


@given(anything)
def test_every_character_stays_in_its_place(text):
    shown = for_model(text)
    assert len(shown) == len(text)
    assert not set(shown) & set("\n\t\r\u00a0")
    for character, seen in zip(text, shown, strict=True):
        wanted = " " if character in "\n\t\r\u00a0" else character
        assert seen == ("\ufffd" if "\ud800" <= character <= "\udfff" else wanted)


@given(anything)
def test_a_line_is_the_shown_text_after_a_space(text):
    assert model_line(text) == " " + for_model(text)


def test_half_a_character_does_not_stop_the_tokenizer(tokenizer):
    ids, spans = tokenizer.offsets(model_line("caf\udce9 at nine"))
    assert tokenizer.decode(ids) == " caf\ufffd at nine"
    assert spans[-1][1] == 13
