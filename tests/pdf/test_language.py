"""A language is named when there is enough of it."""

from __future__ import annotations

import pytest

from ragformer.pdf.language import detect_language

SAMPLES = {
    "en": "The fox is one of the animals that are known to jump, and this was seen.",
    "de": "Der Fuchs ist eines der Tiere, die nicht nur über den Hund springen, und das ist gut.",
    "fr": "Le renard est un des animaux qui sont connus pour sauter par dessus les chiens.",
    "es": "El zorro es uno de los animales que se conocen por saltar y las personas lo ven.",
    "it": "La volpe è una degli animali che sono noti per il salto della siepe, anche nel bosco.",
    "pt": "A raposa é um dos animais que não foram vistos com uma ovelha, mas os cães são mais.",
    "nl": "De vos is een van de dieren die niet over het hek springen, maar zijn ook gezien.",
    "sv": "Räven är ett av de djur som inte hoppar över det staket och har en vän på gården.",
    "pl": "Lis jest jednym ze zwierząt i nie skacze na psa, ale się chowa, to jest dla nich dom.",
    "ru": "Лиса перепрыгнула через ленивую собаку и убежала в лес, где её никто не видел.",
    "ja": "狐は犬を飛び越えて森の中に消えました。誰も見ていませんでした。",
    "zh": "狐狸跳过了懒狗，消失在森林里，没有人看见它。今天的天气很好。",
    "ko": "여우는 게으른 개를 뛰어넘어 숲속으로 사라졌습니다.",
    "ar": "قفز الثعلب فوق الكلب الكسول واختفى في الغابة",
}


@pytest.mark.parametrize("language", SAMPLES)
def test_a_sentence_is_recognised(language: str) -> None:
    assert detect_language(SAMPLES[language]) == language


@pytest.mark.parametrize(
    "text", ["", "12 34 56", "Yes", "Kraftwerk Optima GmbH 2040 XY-7", "x" * 99]
)
def test_too_little_to_tell(text: str) -> None:
    assert detect_language(text) == ""
