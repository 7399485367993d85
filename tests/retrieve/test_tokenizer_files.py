"""Older checkpoints' tokenizers: the same ids as `transformers` and sentencepiece give."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragformer.errors import WeightsError
from ragformer.retrieve.tokenizer_files import tokenizer_file
from ragformer.text.checkpoint_tokenizer import ChatTokenizer, CheckpointTokenizer

transformers = pytest.importorskip("transformers")

SAID = [
    "The boiler is covered for 5 years, and a repair takes 8 working days on average.",
    "She said: \u201cWe'll leave at nine, won't we?\u201d It's 1,234.50 euros (incl. VAT).",
    "Straße, naïve café, façade; Ångström. 日本語のテキスト 😀 e\u0301",
    "  two  blanks,\ttabs\nand\r\nlines \n\n\n end  ",
    "def f(x):\n    return x ** 2  # don't\n",
]
TEXTS = st.text(max_size=60) | st.sampled_from(SAID)
_slow = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vocab.json and merges.txt learned from SAID."""
    folder = tmp_path_factory.mktemp("bytes")
    learned = tokenizers.ByteLevelBPETokenizer()
    learned.train_from_iterator(SAID * 4, vocab_size=400, min_frequency=2, show_progress=False)
    learned.save_model(str(folder))
    return folder


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer.model as Llama 2's, learned from SAID."""
    return _sentencepiece(tmp_path_factory.mktemp("sentences"))


def _sentencepiece(folder: Path, **changes: Any) -> Path:
    with (folder / "tokenizer.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(SAID * 4),
            model_writer=file,
            **{
                "model_type": "bpe",
                "vocab_size": 400,
                "byte_fallback": True,
                "normalization_rule_name": "identity",
                "remove_extra_whitespaces": False,
                "split_digits": True,
                "minloglevel": 2,
            }
            | changes,
        )
    return folder


def _chat(folder: Path, scratch: Path, **told: Any) -> ChatTokenizer:
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return ChatTokenizer(tokenizer_file(folder, scratch))


@pytest.mark.parametrize("kind", ["GPT2Tokenizer", "Qwen2Tokenizer"])
def test_byte_level_ids_are_those_of_the_reference(
    byte_level: Path, tmp_path: Path, kind: str
) -> None:
    added = {"400": {"content": "<|im_end|>", "special": True}}
    told = {"tokenizer_class": kind, "eos_token": "<|im_end|>", "added_tokens_decoder": added}
    ours = _chat(byte_level, tmp_path, **told)
    theirs = getattr(transformers, kind).from_pretrained(byte_level)
    assert ours.symbol("<|im_end|>") == theirs.convert_tokens_to_ids("<|im_end|>") == 400

    @given(TEXTS)
    def same(text: str) -> None:
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)

    same()


def test_the_kind_is_told_by_the_config_where_the_tokenizer_says_none(
    byte_level: Path, tmp_path: Path
) -> None:
    (byte_level / "config.json").write_text('{"model_type": "qwen2"}')
    named = _chat(byte_level, tmp_path, tokenizer_class="Qwen2TokenizerFast")
    assert _chat(byte_level, tmp_path).encode(SAID[3]) == named.encode(SAID[3])
    with pytest.raises(WeightsError, match="vocabulary of a CodeGenTokenizer, and no tokenizer"):
        _chat(byte_level, tmp_path, tokenizer_class="CodeGenTokenizer")


@pytest.mark.parametrize("number", [5, 401])
def test_an_added_token_has_the_next_number_or_is_refused(
    byte_level: Path, tmp_path: Path, number: int
) -> None:
    """The tokenizers package would give it another without a word."""
    added = {str(number): {"content": "<|im_end|>"}}
    with pytest.raises(WeightsError, match="do not follow its vocabulary"):
        _chat(byte_level, tmp_path, tokenizer_class="GPT2Tokenizer", added_tokens_decoder=added)


def test_sentencepieces_ids_are_those_of_the_reference(sentences: Path, tmp_path: Path) -> None:
    ours = _chat(sentences, tmp_path)
    read = tokenizers.Tokenizer.from_file(str(tokenizer_file(sentences, tmp_path)))
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(sentences / "tokenizer.model"))
    assert (ours.symbol("<unk>"), ours.symbol("<s>"), ours.symbol("</s>")) == (0, 1, 2)

    @given(TEXTS.filter(lambda text: "<" not in text and "\0" not in text and "▁" not in text))
    def same(text: str) -> None:
        assert read.encode(text).ids == theirs.encode(text)
        assert read.decode(theirs.encode(text)) == text

    same()
    assert ours.encode("<s>") != [1], "text is no symbol"


def test_word_pieces_are_those_of_the_reference(
    tmp_path: Path, write_tokenizer: Callable[[Path], None]
) -> None:
    write_tokenizer(tmp_path / "whole.json")
    vocab = json.loads((tmp_path / "whole.json").read_text())["model"]["vocab"]
    (tmp_path / "vocab.txt").write_text("\n".join(sorted(vocab, key=vocab.get)) + "\n")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    ours = CheckpointTokenizer(tokenizer_file(tmp_path, scratch))
    theirs = transformers.BertTokenizer.from_pretrained(tmp_path)

    @given(TEXTS.filter(lambda text: "[" not in text))
    def same(text: str) -> None:
        assert [ours.first, *ours.encode(text), ours.last] == theirs.encode(text)

    same()
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert CheckpointTokenizer(tokenizer_file(tmp_path, scratch)).encode("A") != ours.encode("A")


def test_a_tokenizer_json_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "vocab.txt").write_text("")
    assert tokenizer_file(tmp_path, tmp_path / "scratch") == tmp_path / "tokenizer.json"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "there is no tokenizer.json in .*, nor a tokenizer.model"),
        ({"tokenizer.model": b"\x0a\xff"}, "tokenizer.model is no model of sentencepiece"),
        ({"tokenizer.model": b""}, "tokenizer.model is no model of sentencepiece"),
        ({"vocab.json": b"[]", "merges.txt": b""}, "vocab.json does not hold a JSON object"),
        ({"vocab.json": b'{"a": "b"}', "merges.txt": b""}, "does not number its tokens"),
        ({"vocab.json": b'{"a": 1, "b": 1}', "merges.txt": b""}, "does not number its tokens"),
        ({"vocab.json": b'{"a": 0}', "merges.txt": b"a b c"}, "a line that is no pair"),
        ({"vocab.json": b'{"a": 0}', "merges.txt": b"\xff"}, "merges.txt is no UTF-8"),
        ({"vocab.txt": b"[UNK]\n[CLS]"}, r"vocab.txt lacks \[SEP\]"),
        ({"vocab.txt": b"\n" * 2**25}, "vocab.txt takes 33,554,432 bytes, more than any"),
        ({"tokenizer.model": b"\x0a\xec\x07\x0a\xe9\x07" + b"x" * 1001}, "a piece has 1,001 ch"),
    ],
)
def test_what_is_damaged_is_named(tmp_path: Path, files: dict[str, bytes], said: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=said) as caught:
        tokenizer_file(tmp_path, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes", [{"model_type": "unigram"}, {"normalization_rule_name": "nmt_nfkc"}]
)
def test_a_sentencepiece_of_another_kind_is_refused(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    _sentencepiece(tmp_path, **{"vocab_size": 330, **changes})
    with pytest.raises(WeightsError, match="is no BPE that takes every text as it stands"):
        tokenizer_file(tmp_path, tmp_path)


@given(st.binary(max_size=60))
@_slow
def test_no_bytes_break_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(WeightsError):
        tokenizer_file(tmp_path, tmp_path)


def test_cut_anywhere_it_is_refused_or_whole_pieces(sentences: Path, tmp_path: Path) -> None:
    whole = (sentences / "tokenizer.model").read_bytes()
    for at in range(0, len(whole), 97):
        (tmp_path / "tokenizer.model").write_bytes(whole[:at])
        with pytest.raises(WeightsError):
            tokenizer_file(tmp_path, tmp_path)
