"""The lessons on the decoder in the box, at toy size: it learns, and says why it answers."""

from __future__ import annotations


def test_adapters_learn_in_a_fiftieth_of_the_numbers(toy) -> None:
    lesson = toy("lora")
    assert lesson.fell("full") < 0.7
    assert lesson.fell("lora") < 0.85
    assert any("82,944 numbers learn, 1.11%" in line for line in lesson.lines)


def test_the_same_facts_in_other_prompts(toy) -> None:
    lesson = toy("prompt")
    rows = [line.split() for line in lesson.lines if "-shot" in line[:9]]
    assert [row[0] for row in rows] == ["zero-shot", "few-shot"]
    assert {len(row) for row in rows} == {1 + 1 + 2 * 3}
    first, middle, last = rows[0][-3:]
    assert first == middle == last, "our decoder reads every passage from one position"
    assert lesson.result.outcome.reached


def test_an_answer_hangs_on_the_passage_it_quotes(toy) -> None:
    lesson = toy("explain")
    assert '"27 days"' in lesson.lines[0]
    assert 'it says "27 days"' not in lesson.lines[1]
    assert any(
        line.startswith('lens, block 4: the likeliest start is "2"') for line in lesson.lines
    )
    assert lesson.result.outcome.value == 1
