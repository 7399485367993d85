"""A foreign tokenizer: its ids between its two symbols, and no text makes a symbol."""

from __future__ import annotations

import builtins
import json

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from ragformer.errors import NotFoundError, WeightsError
from ragformer.fence import Fence
from ragformer.text.chat_template import Part
from ragformer.text.checkpoint_tokenizer import ChatTokenizer, CheckpointTokenizer, try_tokenizer

PAD, UNK, CLS, SEP, MASK = range(5)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory, write_tokenizer):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return CheckpointTokenizer(path)


@given(st.text(max_size=80), st.integers(2, 40))
def test_a_row_is_the_first_ids_between_the_symbols(tokenizer, text, most):
    ids = tokenizer.encode(text)
    assert tokenizer.count(text) == len(ids)
    assert not {PAD, CLS, SEP, MASK} & set(ids)
    assert max(ids, default=0) < tokenizer.vocab_size
    row = tokenizer.row(text, most)
    assert row == [CLS, *ids[: most - 2], SEP]
    assert len(row) <= most


def test_text_is_neither_padded_nor_cut_nor_read_as_a_symbol(tokenizer):
    assert tokenizer.count("the " * 50) == 50
    assert tokenizer.encode("The THE") == tokenizer.encode("the the")
    assert tokenizer.encode("[SEP]") == tokenizer.encode("[ sep ]")


def test_without_its_package_the_way_out_is_said(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "tokenizers":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(NotFoundError, match=r"pip install 'ragformer\[checkpoints\]'"):
        CheckpointTokenizer(tmp_path / "tokenizer.json")


def test_a_damaged_file_is_refused(tmp_path, write_tokenizer):
    path = tmp_path / "tokenizer.json"
    with pytest.raises(WeightsError, match=r"there is no .*tokenizer\.json"):
        CheckpointTokenizer(path)
    path.write_text("{}")
    with pytest.raises(WeightsError, match=r"tokenizer\.json is no tokenizer: .+"):
        CheckpointTokenizer(path)
    write_tokenizer(path)
    bare = json.loads(path.read_text()) | {"post_processor": None}
    path.write_text(json.dumps(bare))
    with pytest.raises(WeightsError, match="puts 0 symbols around a text, not 2"):
        CheckpointTokenizer(path)


REPLACED = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
PREPENDED = {"type": "Prepend", "prepend": "▁"}
BLANK_FIRST = {
    "llama 2": {"normalizer": {"type": "Sequence", "normalizers": [PREPENDED, REPLACED]}},
    "llama 2, newer": {
        "pre_tokenizer": {
            "type": "Metaspace",
            "replacement": "▁",
            "prepend_scheme": "first",
            "split": False,
        }
    },
    "gpt-2, some": {
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": True,
            "use_regex": True,
        },
    },
}


@pytest.fixture(params=BLANK_FIRST)
def blank_first(request, tmp_path):
    """The folder's tokenizer.json, which puts a blank in front of a text; characters and bytes."""
    form = BLANK_FIRST[request.param]
    byte_level = "ByteLevel" in json.dumps(form)
    pieces = [
        "<unk>",
        "<s>",
        *(tokenizers.pre_tokenizers.ByteLevel.alphabet() if byte_level else ""),
    ]
    pieces += [] if byte_level else [chr(n) for n in range(0x21, 0x7F)] + ["▁"]
    model = tokenizers.Tokenizer(
        tokenizers.models.BPE({piece: n for n, piece in enumerate(pieces)}, [], unk_token="<unk>")
    )
    model.add_special_tokens(["<s>"])
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(model.to_str()) | form))
    return path


def test_a_prompt_in_parts_has_the_tokens_of_the_whole(blank_first):
    """A blank that a tokenizer puts in front of a text is in front of the whole, not each part."""
    parts = [Part("<s>[A] ", False), Part("What is it?", True), Part(" [/A]", False)]
    whole = "".join(part.text for part in parts)
    reference = tokenizers.Tokenizer.from_file(str(blank_first))
    expected = reference.encode(whole, add_special_tokens=False).ids
    assert ChatTokenizer(blank_first).encode_parts(parts) == expected


def test_a_text_is_the_bytes_of_its_tokens(blank_first):
    tokenizer = ChatTokenizer(blank_first)
    for text in ('"', " [1]", "What is it?"):
        assert b"".join(map(tokenizer.token_bytes.get, tokenizer.encode(text))) == text.encode()


@pytest.mark.parametrize("special", [True, False])
def test_a_symbol_is_one_in_a_template_only(blank_first, special):
    """Qwen3's "</think>" is a token that was added, and not marked special."""
    read = tokenizers.Tokenizer.from_file(str(blank_first))
    read.add_tokens([tokenizers.AddedToken("</think>", special=special, normalized=False)])
    read.save(str(blank_first))
    tokenizer = ChatTokenizer(blank_first)
    added = tokenizer.symbol("</think>")
    assert tokenizer.vocab_size == added + 1
    assert added not in tokenizer.encode("so </think> it is")
    said = [Part("so </think> it", content) for content in (False, True)]
    assert [tokenizer.encode_parts([part]).count(added) for part in said] == [1, 0]


def replacing(pattern, content):
    return {"normalizer": {"type": "Replace", "pattern": pattern, "content": content}}


def write_changed(path, write_tokenizer, change):
    write_tokenizer(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replacing({"Regex": r"(([a-z ])+)+\d"}, "x"), "tokenizer fails on a text: .*limit"),
        (replacing({"Regex": r"[\s\S]"}, ""), "makes no tokens of a text"),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AA"}}, "is no tokenizer"),
        ({"pre_tokenizer": {"type": "X"}}, "is no tokenizer"),
    ],
)
@pytest.mark.parametrize("chat", [False, True])
def test_a_strangers_tokenizer_is_tried_where_it_can_do_no_harm(
    tmp_path, write_tokenizer, change, said, chat
):
    path = tmp_path / "tokenizer.json"
    write_tokenizer(path)
    try_tokenizer(path, chat)
    with pytest.raises(WeightsError, match=said):
        try_tokenizer(write_changed(path, write_tokenizer, change), chat)


def test_one_that_takes_too_long_is_ended(tmp_path, write_tokenizer, monkeypatch):
    monkeypatch.setattr("ragformer.text.checkpoint_tokenizer.FENCE", Fence(0.0, 4096))
    write_tokenizer(tmp_path / "tokenizer.json")
    with pytest.raises(WeightsError, match="takes more than 0 s or 4096 MB to read"):
        try_tokenizer(tmp_path / "tokenizer.json", chat=False)


def test_a_panic_over_a_text_is_a_sentence(tmp_path, write_tokenizer):
    """It is no Exception, and would end a page or a service."""
    change = replacing({"Regex": r"(([a-z ])+)+\d"}, "x")
    path = write_changed(tmp_path / "tokenizer.json", write_tokenizer, change)
    with pytest.raises(WeightsError, match="tokenizer fails on a text"):
        ChatTokenizer(path).encode("a very long line " * 20)
