"""Tokenizers in the files of older checkpoints, as the tokenizer.json that does the same.

    tokenizer.model            sentencepiece, of its BPE kind: Llama 2
    vocab.json and merges.txt  byte-level BPE: GPT-2, SmolLM, Qwen2
    vocab.txt                  WordPiece: BERT

What is special is said by tokenizer_config.json, special_tokens_map.json and added_tokens.json.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ragformer.errors import WeightsError
from ragformer.nn.config import check_file, read_config, read_optional_config
from ragformer.text.checkpoint_tokenizer import (
    ChatTokenizer,
    CheckpointTokenizer,
    try_tokenizer,
)
from ragformer.text.tokenizer import SPACE_SYMBOL

Kind = TypeVar("Kind", CheckpointTokenizer, ChatTokenizer)

Form = dict[str, Any]
FILE = "tokenizer.json"

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6  # kinds of sentencepiece's pieces
_BPE_KIND = 2
_LONGEST_PIECE = 1000  # they are cut at every place; by default sentencepiece makes none over 16
_BERT_SYMBOLS = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls")}
_BERT_SYMBOLS |= {"mask_token": "[MASK]"}
_END_OF_TEXT = {"eos_token": "<|endoftext|>"}
_USUAL_CLASS = {"gpt2": "GPT2Tokenizer", "qwen2": "Qwen2Tokenizer", "qwen3": "Qwen2Tokenizer"}
_QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2 cuts a text before its merges. Source: the released model's tokenizer.json."""


def checkpoint_tokenizer(kind: type[Kind], folder: Path, scratch: Path, n_embedded: int) -> Kind:
    """The folder's tokenizer, tried first where it can do no harm; scratch: as for
    `tokenizer_file`. n_embedded: tokens that the model has vectors for.

    Raises WeightsError for one that is damaged, does not end or knows more tokens than that.
    """
    file = tokenizer_file(folder, scratch)
    try_tokenizer(file, chat=kind is ChatTokenizer)
    tokenizer = kind(file)
    if tokenizer.vocab_size > n_embedded:
        raise WeightsError(
            f"the tokenizer of {folder} knows {tokenizer.vocab_size} tokens, its config.json says"
            f" {n_embedded}"
        )
    return tokenizer


def tokenizer_file(folder: Path, scratch: Path) -> Path:
    """The folder's tokenizer.json, or one written to the folder `scratch` that does the same.

    Raises WeightsError for files that are damaged, of a kind not known, or none at all.
    """
    if (folder / FILE).is_file():
        return folder / FILE
    if (folder / "tokenizer.model").is_file():
        form = _of_sentencepiece(folder)
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        form = _of_byte_level(folder)
    elif (folder / "vocab.txt").is_file():
        form = _of_word_pieces(folder)
    else:
        raise WeightsError(
            f"there is no {FILE} in {folder}, nor a tokenizer.model, vocab.json with merges.txt, or"
            " vocab.txt; is the model folder complete?"
        )
    path = scratch / FILE
    path.write_text(json.dumps({"version": "1.0", **form}), "utf-8")
    return path


def _of_byte_level(folder: Path) -> Form:
    told = read_optional_config(folder / "tokenizer_config.json")
    vocab = _numbered(folder / "vocab.json")
    lines = _text(folder / "merges.txt").split("\n")
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    if not all(len(pair) == 2 for pair in pairs):
        raise WeightsError(f"{folder / 'merges.txt'} has a line that is no pair")
    kind = told.get("tokenizer_class")
    if kind is None:
        kind = _USUAL_CLASS.get(read_config(folder / "config.json").get("model_type", ""))
    blank = told.get("add_prefix_space") is True
    as_bytes: Form = {"type": "ByteLevel", "add_prefix_space": blank, "trim_offsets": False}
    normalizer: Form | None = None
    match str(kind).removesuffix("Fast"):
        case "GPT2Tokenizer":
            cut = as_bytes | {"use_regex": True}
        case "Qwen2Tokenizer":
            words: Form = {"type": "Split", "pattern": {"Regex": _QWEN_WORDS}}
            words |= {"behavior": "Isolated", "invert": False}
            steps = [words, as_bytes | {"use_regex": False}]
            normalizer, cut = {"type": "NFC"}, {"type": "Sequence", "pretokenizers": steps}
        case other:
            raise WeightsError(
                f"{folder} has the vocabulary of a {other}, and no {FILE} that says how it cuts a"
                " text; save the tokenizer anew with a newer transformers"
            )
    return {
        "added_tokens": _added(folder, vocab, _END_OF_TEXT),
        "normalizer": normalizer,
        "pre_tokenizer": cut,
        "decoder": {**as_bytes, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocab, "merges": pairs},
    }


def _of_word_pieces(folder: Path) -> Form:
    told = read_optional_config(folder / "tokenizer_config.json")
    lines = _text(folder / "vocab.txt").rstrip("\n").split("\n")
    vocab = {line.rstrip("\r"): number for number, line in enumerate(lines)}
    symbols = {name: _named(told.get(name)) or usual for name, usual in _BERT_SYMBOLS.items()}
    first, last = symbols["cls_token"], symbols["sep_token"]
    for symbol in (symbols["unk_token"], first, last):
        if symbol not in vocab:
            raise WeightsError(f"{folder / 'vocab.txt'} lacks {symbol}")
    around = [{"SpecialToken": {"id": symbol, "type_id": 0}} for symbol in (first, last)]
    whole = [around[0], {"Sequence": {"id": "A", "type_id": 0}}, around[1]]
    ids = {s: {"id": s, "ids": [vocab[s]], "tokens": [s]} for s in (first, last)}
    return {
        "added_tokens": _added(folder, vocab, _BERT_SYMBOLS),
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": told.get("tokenize_chinese_chars") is not False,
            "strip_accents": told.get("strip_accents"),
            "lowercase": told.get("do_lower_case") is not False,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": whole,
            "pair": [*whole, {"Sequence": {"id": "B", "type_id": 1}}, around[1]],
            "special_tokens": ids,
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": symbols["unk_token"],
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }


def _of_sentencepiece(folder: Path) -> Form:
    path = folder / "tokenizer.model"
    check_file(path)
    try:
        pieces, is_bpe, blank_first = _sentencepiece(path)
    except (ValueError, struct.error, TypeError, LookupError, AttributeError) as error:
        raise WeightsError(f"{path} is no model of sentencepiece: {error}") from error
    if not is_bpe:
        raise WeightsError(
            f"{path} is no BPE that takes every text as it stands; save the tokenizer anew with a"
            f" newer transformers, which writes {FILE}"
        )
    vocab = {text: number for number, (text, _, _) in enumerate(pieces)}
    unknown = next((text for text, _, kind in pieces if kind == _UNKNOWN), None)
    own = [text for text, _, kind in pieces if kind == _USER_DEFINED]
    symbols = {text: text for text, _, kind in pieces if kind in (_CONTROL, _UNKNOWN)}
    added = {vocab[text]: _token(vocab[text], text, special=False) for text in own}
    added |= {token["id"]: token for token in _added(folder, vocab, symbols)}
    blank = {"type": "Prepend", "prepend": SPACE_SYMBOL}
    replaced = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE_SYMBOL}
    back = {"type": "Replace", "pattern": {"String": SPACE_SYMBOL}, "content": " "}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    steps = [back, {"type": "ByteFallback"}, {"type": "Fuse"}, *[strip] * blank_first]
    return {
        "added_tokens": [added[number] for number in sorted(added)],
        "normalizer": {"type": "Sequence", "normalizers": [*[blank] * blank_first, replaced]},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": steps},
        "model": {
            "type": "BPE",
            "unk_token": unknown,
            "fuse_unk": True,
            "byte_fallback": any(kind == _BYTE for _, _, kind in pieces),
            "vocab": vocab,
            "merges": _merges({t: score for t, score, kind in pieces if kind == _NORMAL}, vocab),
        },
    }


def _merges(score_of: Mapping[str, float], vocab: Mapping[str, int]) -> list[tuple[str, str]]:
    """Every pair of pieces that makes a third, the one of the best score first, as sentencepiece
    joins them."""
    found = []
    for text, score in score_of.items():
        halves = ((text[:i], text[i:]) for i in range(1, len(text)))
        pairs = [pair for pair in halves if pair[0] in score_of and pair[1] in score_of]
        pairs.sort(key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
        found += [(-score, pair) for pair in pairs]
    found.sort(key=lambda scored: scored[0])
    return [pair for _, pair in found]


def _sentencepiece(path: Path) -> tuple[list[tuple[str, float, int]], bool, bool]:
    """Text, score and kind of each piece; whether it is a BPE that changes no text; whether it puts
    a blank in front. Source: sentencepiece_model.proto of sentencepiece."""
    pieces: list[tuple[str, float, int]] = []
    trainer: dict[int, Any] = {}
    normalizer: dict[int, Any] = {}
    for number, value in _fields(path.read_bytes()):
        if number == 1:
            piece = {3: _NORMAL, 2: b"\0\0\0\0", **dict(_fields(value))}
            (score,) = struct.unpack("<f", piece[2])
            pieces.append((piece[1].decode(), score, piece[3]))
            if len(pieces[-1][0]) > _LONGEST_PIECE:
                raise ValueError(f"a piece has {len(pieces[-1][0]):,} characters")
        elif number == 2:
            trainer = dict(_fields(value))
        elif number == 3:
            normalizer = dict(_fields(value))
    if not pieces:
        raise ValueError("it has no pieces")
    mapped, squeezed, escaped = normalizer.get(2), normalizer.get(4, 1), normalizer.get(5, 1)
    plain = not mapped and not squeezed and bool(escaped)
    return pieces, trainer.get(3, 1) == _BPE_KIND and plain, bool(normalizer.get(3, 1))


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a Protocol Buffers message: whole numbers as such, all
    else as bytes. Raises ValueError where it is none."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        match key & 7:
            case 0:
                value, at = _varint(message, at)
                yield key >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(message, at)
            case 5:
                size = 4
            case kind:
                raise ValueError(f"a field is of kind {kind}")
        if at + size > len(message):
            raise ValueError("it is cut off")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number that begins there, seven bits a byte, the lowest first; and where it ends."""
    value = 0
    for n, byte in enumerate(message[at : at + 10]):
        value |= (byte & 0x7F) << 7 * n
        if byte < 0x80:
            return value, at + n + 1
    raise ValueError("it is cut off")


def _added(folder: Path, vocab: Mapping[str, int], usual: Mapping[str, str]) -> list[Form]:
    """The tokens that stand for themselves, by their ids; usual: symbols by their names, where the
    files say nothing else of that name."""
    told = read_optional_config(folder / "tokenizer_config.json")
    symbols = {**usual, **_symbols(read_optional_config(folder / "special_tokens_map.json"))}
    symbols |= _symbols(told)
    number_of = {**_numbered(folder / "added_tokens.json", need=False), **vocab}
    found = {
        number_of[text]: _token(number_of[text], text)
        for text in symbols.values()
        if text in number_of
    }
    for text, number in number_of.items():
        if text not in vocab and number not in found:
            found[number] = _token(number, text, special=False)
    listed = told.get("added_tokens_decoder")
    for number, values in listed.items() if isinstance(listed, dict) else ():
        content = _named(values)
        if not number.isdecimal() or content is None:
            raise WeightsError(f"an added token in {folder / 'tokenizer_config.json'} is none")
        flags = values.items() if isinstance(values, dict) else ()
        said = {name: flag for name, flag in flags if name in _FLAGS and isinstance(flag, bool)}
        found[int(number)] = _token(int(number), content) | said
    for number, token in found.items():
        if vocab.get(token["content"], number) != number:
            raise WeightsError(f"{token['content']} has two numbers in {folder}")
    new = [number for number in sorted(found) if found[number]["content"] not in vocab]
    if new != list(range(len(vocab), len(vocab) + len(new))):  # numbered anew without a word
        raise WeightsError(f"the added tokens of {folder} do not follow its vocabulary")
    return [found[number] for number in sorted(found)]


_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def _token(number: int, text: str, special: bool = True) -> Form:
    return {"id": number, "content": text, **dict.fromkeys(_FLAGS, False), "special": special}


def _symbols(told: Mapping[str, Any]) -> dict[str, str]:
    """The symbols a config names, by what they are for."""
    more = told.get("additional_special_tokens")
    named = {name: _named(value) for name, value in told.items() if name.endswith("_token")}
    named |= {f"more {n}": _named(v) for n, v in enumerate(more if isinstance(more, list) else ())}
    return {name: text for name, text in named.items() if text is not None}


def _named(value: Any) -> str | None:
    """A token's text, said alone or among its flags."""
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else None


def _numbered(path: Path, need: bool = True) -> dict[str, int]:
    """A vocabulary: tokens and their numbers, each its own; none where there need be no file."""
    told = read_config(path) if need else read_optional_config(path)
    numbers = told.values()
    if not all(type(n) is int and n >= 0 for n in numbers) or len(set(numbers)) < len(told):
        raise WeightsError(f"{path} does not number its tokens")
    return dict(told)


def _text(path: Path) -> str:
    check_file(path)
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise WeightsError(f"{path} is no UTF-8") from error
