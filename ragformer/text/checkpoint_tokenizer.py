"""Tokenizers of imported checkpoints: a tokenizer.json, read by the `tokenizers` package."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragformer.errors import NotFoundError, WeightsError
from ragformer.fence import Fence, OverrunError, fenced
from ragformer.text.chat_template import Part
from ragformer.text.tokenizer import SPACE_SYMBOL

if TYPE_CHECKING:
    import tokenizers


def _open(path: Path, change: Callable[[bytes], bytes] = bytes) -> tokenizers.Tokenizer:
    """The tokenizer in the file, of whose bytes `change` makes others."""
    try:
        import tokenizers
    except ImportError as error:
        raise NotFoundError(
            f"{path} needs the package tokenizers; run: pip install 'ragformer[checkpoints]'"
        ) from error
    try:
        model = tokenizers.Tokenizer.from_buffer(change(path.read_bytes()))
    except FileNotFoundError as error:
        raise WeightsError(f"there is no {path}; is the model folder complete?") from error
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # its panics are no Exception, its errors nothing narrower
        raise WeightsError(f"{path} is no tokenizer: {error}") from error
    model.no_truncation()
    model.no_padding()
    return model


def _ids(model: tokenizers.Tokenizer, text: str) -> list[int]:
    """Token ids of `text`, with no symbols around it."""
    try:
        return list(model.encode(text, add_special_tokens=False).ids)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # as above: a pattern that is too much work panics
        raise WeightsError(f"the model's tokenizer fails on a text: {error}") from error


def _without_blank(data: bytes) -> bytes:
    """The same tokenizer.json, putting no blank in front of a text: Llama 2's does."""
    if not any(word in data for word in (b"Prepend", b"Metaspace", b"add_prefix_space")):
        return data
    told: dict[str, Any] = json.loads(data)
    for name, parts in (("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers")):
        whole = told.get(name) or {}
        steps = [step for step in whole.get(parts, [whole]) if step.get("type") != "Prepend"]
        for step in steps:
            step |= {"Metaspace": _NEVER, "ByteLevel": _NO_SPACE}.get(step.get("type"), {})
        told[name] = {"type": "Sequence", parts: steps} if any(steps) else None
    return json.dumps(told).encode()


def _without_symbols(data: bytes) -> bytes:
    """The same and no token added to the vocabulary, so that no text is one: encode_special_tokens
    would leave those that are not marked special, as Qwen3's "</think>"."""
    told: dict[str, Any] = json.loads(_without_blank(data))
    return json.dumps(told | {"added_tokens": []}).encode()


# The largest, of 260,000 tokens, take some seconds.
FENCE = Fence(seconds=30.0, memory_mb=4096)
# Words, figures, other scripts, and runs in which a pattern may lose itself.
_TRIAL = (
    "The notice period (see § 4.2) isn't 1,000.50 € until 2024-03-12.\n\n\tÜber “naïve” 東京 🙂 "
    + "".join(run * 100 for run in ("a", "ab ", "7", " ", "\n", "-", "Ü"))
)

_NO_SPACE = {"add_prefix_space": False}
_NEVER = {"prepend_scheme": "never", **_NO_SPACE}


class CheckpointTokenizer:
    """The tokenizer of an encoder; it gives token ids and no way back to the text."""

    def __init__(self, path: Path) -> None:
        self._model = _open(path)
        # A "[SEP]" that stands in a document is text, not the symbol.
        self._model.encode_special_tokens = True
        self.path = path
        self.vocab_size: int = max(self._model.get_vocab().values(), default=0) + 1
        # The symbols around every text: [CLS] and [SEP] in BERT.
        self.first, self.last = self._around()

    def _around(self) -> tuple[int, int]:
        ids = self._model.encode("").ids
        if len(ids) != 2:
            raise WeightsError(f"{self.path} puts {len(ids)} symbols around a text, not 2")
        return ids[0], ids[1]

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, without the symbols around it."""
        return _ids(self._model, text)

    def row(self, line: str, most: int) -> list[int]:
        """The ids a model reads of a `model_line`, the symbols around it among at most `most`."""
        return [self.first, *self.encode(line)[: most - 2], self.last]

    def count(self, text: str) -> int:
        """How many tokens `text` takes."""
        return len(self.encode(text))


class ChatTokenizer:
    """The tokenizer of a decoder: text and prompts to token ids, and the bytes of each token.

    Readings of one file: in a template its symbols count, in a text "<|im_end|>" is ten characters
    like any others. What stands behind something gets no blank in front that is not its own.
    """

    def __init__(self, path: Path) -> None:
        self._symbols = _open(path)
        self._behind, self._plain = _open(path, _without_blank), _open(path, _without_symbols)
        self._added = frozenset(self._symbols.get_added_tokens_decoder())
        self.path = path
        self.vocab_size: int = max(self._symbols.get_vocab().values(), default=0) + 1

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, none of them a symbol."""
        return _ids(self._plain, text)

    def encode_parts(self, parts: Iterable[Part]) -> list[int]:
        """Token ids of a prompt: symbols where the template says so and nowhere else."""
        ids: list[int] = []
        for part in parts:
            ids += self.encode(part.text) if part.content else self._template(part.text, not ids)
        return ids

    def _template(self, text: str, first: bool) -> list[int]:
        """Token ids of a part of a template, where `first` is whether nothing stands before it."""
        ids = _ids(self._symbols, text)
        if first or (ids and ids[0] in self._added):
            return ids
        return _ids(self._behind, text)

    def symbol(self, text: str) -> int | None:
        """The id of a symbol by its text."""
        found: int | None = self._symbols.token_to_id(text)
        return found

    def text_of(self, token: int) -> str | None:
        """How a token is written in the vocabulary, a symbol as in `symbol`."""
        found: str | None = self._symbols.id_to_token(token)
        return found

    @cached_property
    def token_bytes(self) -> dict[int, bytes]:
        """The bytes each token writes; symbols are left out."""
        told: dict[str, Any] = json.loads(self._symbols.to_str())
        added = {token["id"]: token for token in told["added_tokens"]}
        byte_level = "ByteLevel" in json.dumps([told.get("decoder"), told.get("pre_tokenizer")])
        found = {}
        for text, token in self._symbols.get_vocab().items():
            if token in added:
                if not added[token]["special"]:
                    found[token] = text.encode()
            elif byte_level:
                found[token] = bytes(_BYTE_OF.get(character, 0x3F) for character in text)
            elif len(text) == 6 and text.startswith("<0x"):
                found[token] = bytes.fromhex(text[3:5])
            else:
                found[token] = text.replace(SPACE_SYMBOL, " ").encode()
        return found


def try_tokenizer(path: Path, chat: bool) -> None:
    """Read the file and some text by it, a decoder's (chat) or an encoder's, where it can do no
    harm. Raises WeightsError where it fails, makes nothing of a text or does not end."""
    try:
        counts = fenced(count_trial, str(path), chat, fence=FENCE)
    except OverrunError as error:
        raise OverrunError(
            f"{path} takes {error} to read {len(_TRIAL)} characters; is it the model's own?"
        ) from error
    if not all(counts):
        raise WeightsError(f"{path} makes no tokens of a text; is it the model's own?")


def count_trial(path: str, chat: bool) -> list[int]:
    """How many tokens it makes of a text, and of one in a template."""
    if not chat:
        return [CheckpointTokenizer(Path(path)).count(_TRIAL)]
    tokenizer = ChatTokenizer(Path(path))
    of_template = tokenizer.encode_parts([Part(_TRIAL, False)])
    return [len(tokenizer.encode(_TRIAL)), len(of_template), len(tokenizer.token_bytes)]


def _byte_table() -> dict[str, int]:
    """The character that stands for each byte in a byte-level vocabulary.

    Printable bytes stand for themselves, the others for the characters from U+0100 on, in order.
    Source: Radford et al. 2019 (GPT-2), the released encoder.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    shown = {chr(byte): byte for byte in printable}
    return shown | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _byte_table()
