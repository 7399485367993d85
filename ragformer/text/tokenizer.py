"""Text to token ids and back, with every token's place in the text.

The model is a sentencepiece unigram model (Kudo 2018, arXiv:1804.10959) trained without any
normalisation, so decode(encode(x)) == x for every str without lone surrogates. The control
symbols below have ids but no text: nothing a document says can produce one.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import sentencepiece

from ragformer.errors import InputError, WeightsError

PAD, UNK, BOS, EOS = 0, 1, 2, 3
MAX_MARKS = 32
CONTROL_SYMBOLS = (
    "<mask>",
    "<question>",
    "<passage>",
    "<quote>",
    "<answer>",
    "<no_answer>",
    *(f"<mark_{i}>" for i in range(1, MAX_MARKS + 1)),
)
MASK, QUESTION, PASSAGE, QUOTE, ANSWER, NO_ANSWER = range(4, 10)
FIRST_MARK = 10
LONGEST_PIECE = 16
"""Characters in the longest piece of a sentencepiece vocabulary (its trainer's default)."""

# sentencepiece writes a space as U+2581, so a U+2581 in the text must travel as its UTF-8 bytes.
SPACE_SYMBOL = "\u2581"


def mark_id(mark: int) -> int:
    """The token id of mark [1] to [32]."""
    if not 1 <= mark <= MAX_MARKS:
        raise InputError(f"mark {mark} is not between 1 and {MAX_MARKS}")
    return FIRST_MARK + mark - 1


class Tokenizer:
    """A sentencepiece model opened for use."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise WeightsError(f"there is no tokenizer at {path}; is the models folder complete?")
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (RuntimeError, OSError) as error:
            raise WeightsError(f"{path} is not a sentencepiece model: {error}") from error
        for offset, symbol in enumerate(CONTROL_SYMBOLS):
            if self._model.piece_to_id(symbol) != MASK + offset:
                raise WeightsError(f"{path} has no {symbol} at id {MASK + offset}")
        self.path = path
        self.vocab_size: int = self._model.vocab_size()

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`; never a control symbol, never an unknown token."""
        if SPACE_SYMBOL not in text:
            return list(self._model.encode(text))
        ids: list[int] = []
        for n, part in enumerate(text.split(SPACE_SYMBOL)):
            ids += self._space_symbol_ids if n else []
            ids += self._model.encode(part)
        return ids

    def row(self, line: str, most: int) -> list[int]:
        """The ids a model reads of a `model_line`: the first `most`."""
        # Only these characters can reach the first tokens; the rest is not worth cutting.
        return self.encode(line[: most * LONGEST_PIECE + 1])[:most]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; control symbols have none."""
        return str(self._model.decode(list(ids)))

    def offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids with each token's characters start..end (half open) in `text`.

        The bytes of one character that falls back to bytes all get that character's span.
        """
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        base = 0
        for n, part in enumerate(text.split(SPACE_SYMBOL)):
            if n:
                ids += self._space_symbol_ids
                spans += [(base, base + 1)] * len(self._space_symbol_ids)
                base += 1
            part_ids, part_spans = self._part_offsets(part)
            ids += part_ids
            spans += [(base + start, base + end) for start, end in part_spans]
            base += len(part)
        return ids, spans

    def _part_offsets(self, part: str) -> tuple[list[int], list[tuple[int, int]]]:
        mapping = self._model.encode(part, return_type="offset_mapping")
        # All but the last byte of a character that fell back to bytes come with an empty span.
        spans = [(start, max(end, start + 1)) for start, end in mapping["offsets"]]
        return list(mapping["ids"]), spans

    def count(self, text: str) -> int:
        """How many tokens `text` takes."""
        return len(self.encode(text))

    def token_bytes(self) -> dict[int, bytes]:
        """The UTF-8 bytes each token writes; control symbols are left out."""
        model = self._model
        found = {}
        for i in range(self.vocab_size):
            if model.is_byte(i):
                found[i] = bytes([int(model.id_to_piece(i)[3:5], 16)])
            elif not model.is_control(i) and not model.is_unknown(i):
                found[i] = model.id_to_piece(i).replace(SPACE_SYMBOL, " ").encode()
        return found

    def surprisal_of(self, token: int) -> float:
        """-log p of a piece under the unigram model, in nats; 0 for symbols and bytes.

        Summed over a word's pieces it says how rare the word is: an inverse document frequency
        that needs no table of its own.
        """
        silent = self._model.is_control(token) or self._model.is_byte(token)
        return 0.0 if silent else -float(self._model.get_score(token))

    @cached_property
    def surprisal(self) -> list[float]:
        """`surprisal_of` every token."""
        return [self.surprisal_of(token) for token in range(self.vocab_size)]

    @cached_property
    def _space_symbol_ids(self) -> list[int]:
        return [self._model.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE_SYMBOL.encode()]
