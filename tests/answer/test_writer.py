"""Replies written side by side, and prompts that begin like one before, are what each is alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_checkpoint import draw_words, write_checkpoint

from ragformer.answer.checkpoints import import_decoder
from ragformer.answer.prose import answer_in_prose
from ragformer.answer.remote import Reply
from ragformer.answer.speaker import local_speaker, speaker_of
from ragformer.answer.writer import Writer, load_writer, tokens_at_once
from ragformer.config import load_settings
from ragformer.nn.cache import KVCache
from ragformer.nn.config import TransformerConfig
from ragformer.store.store import Store
from ragformer.types import WAITING, Answer, Passage

NOTICE = "The notice period is two months. Notice is given in writing, by post or by mail."
FEES = "Fees are due on 1 May. The fee is 1,250 euros, and it is paid at once."
QUESTIONS = ["When are fees due?", "How long is it?", "How is notice given, and who gives it?"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an imported decoder."""
    folder = tmp_path_factory.mktemp("imported")
    texts = [NOTICE, FEES, f'It says: "{FEES}" [2]. ' * 3]
    import_decoder(write_checkpoint(tmp_path_factory.mktemp("qwen"), texts, 2048), folder)
    return folder


@pytest.fixture(scope="module")
def load(folder: Path) -> Iterator[Callable[[], Writer]]:
    """load(): a writer that has written nothing."""
    with pytest.MonkeyPatch.context() as patch:
        draw_words(patch, 50)
        yield lambda: load_writer(folder)


@pytest.fixture(scope="module")
def passages(add_passage: Callable[..., Passage]) -> list[Passage]:
    return [add_passage([NOTICE], name="notice.pdf"), add_passage([FEES], name="fees.pdf")]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Callable[[Writer], list[tuple[int, type]]]:
    """steps(writer): a list that grows by each step's tokens and its kind of cache."""

    def watch(writer: Writer) -> list[tuple[int, type]]:
        taken: list[tuple[int, type]] = []
        forward = writer.model.transformer.forward

        def noted(ids_BT: Any, **rest: Any) -> Any:
            taken.append((ids_BT.shape[1], type(rest["cache"])))
            return forward(ids_BT, **rest)

        monkeypatch.setattr(writer.model.transformer, "forward", noted)
        return taken

    return watch


def reply(writer: Writer, question: str, passages: list[Passage]) -> Iterator[str | Reply]:
    shown = "\n".join(passage.text for passage in passages) * 3
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": shown}]
    messages[1]["content"] += question
    return writer.write(messages, passages)


def test_replies_by_turns_are_those_of_each_alone(
    load: Callable[[], Writer],
    passages: list[Passage],
    steps: Callable[[Writer], list[tuple[int, type]]],
) -> None:
    wanted = [[p for p in reply(load(), q, passages) if p != WAITING] for q in QUESTIONS]
    writer = load()
    taken = steps(writer)
    replies = [reply(writer, question, passages) for question in QUESTIONS]
    written: list[list[str | Reply]] = [[] for _ in QUESTIONS]
    going = set(range(len(QUESTIONS)))
    while going:
        for n in sorted(going):
            piece = next(replies[n], None)
            while piece not in (WAITING, None):
                written[n].append(piece)
                piece = next(replies[n], None)
            going -= {n} if piece is None else set()
    assert written == wanted
    assert len({"".join(map(str, pieces[:-1])) for pieces in wanted}) == len(QUESTIONS)
    assert sum(kind is not KVCache for _, kind in taken) > 10


def test_a_prompt_that_begins_like_one_before_is_read_from_there(
    load: Callable[[], Writer],
    passages: list[Passage],
    steps: Callable[[Writer], list[tuple[int, type]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ragformer.answer.writer.PREFILL", (64,))
    wanted = list(reply(load(), QUESTIONS[1], passages))
    writer = load()
    list(reply(writer, QUESTIONS[0], passages))
    taken = steps(writer)
    again = list(reply(writer, QUESTIONS[1], passages))
    assert [p for p in again if p != WAITING] == [p for p in wanted if p != WAITING]
    prompt_tokens = wanted[-1].usage["prompt_tokens"]
    assert prompt_tokens > 128
    assert sum(tokens for tokens, _ in taken) < prompt_tokens
    assert 0 < writer.prefixes.kept.n_bytes <= writer.prefixes.kept.most_bytes


@pytest.mark.parametrize(
    ("layers", "width", "tokens"), [(4, 256, 512), (24, 896, 256), (12, 1536, 128), (32, 4096, 64)]
)
def test_a_large_decoder_reads_fewer_tokens_before_others_have_their_turn(
    layers: int, width: int, tokens: int
) -> None:
    heads = width // 64
    config = TransformerConfig(1000, width, layers, heads, heads, d_ff=4 * width, max_seq_len=4096)
    assert tokens_at_once(config) == tokens


def test_each_dtype_that_is_set_is_a_writer_of_its_own(folder: Path, home: Path) -> None:
    packed = []
    for dtype in ("float32", "int8"):
        settings = dataclasses.replace(load_settings(), writer_dtype=dtype)
        speaker = speaker_of(settings, folder)
        assert speaker is not None
        packed.append(speaker.count.__self__.model.packed_head is not None)  # type: ignore[attr-defined]
    assert packed == [False, True]


def test_nothing_is_shown_while_it_waits(
    store: Store, load: Callable[[], Writer], passages: list[Passage]
) -> None:
    *pieces, answer = answer_in_prose(QUESTIONS[0], passages, store, local_speaker(load()))
    assert isinstance(answer, Answer)
    assert pieces.count(WAITING) > 10
    assert "".join(map(str, pieces)) == answer.text
