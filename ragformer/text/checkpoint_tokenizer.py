"""The tokenizer of an imported checkpoint: its tokenizer.json, read by the `tokenizers` package."""

from __future__ import annotations

from pathlib import Path

from ragformer.errors import NotFoundError, WeightsError


class CheckpointTokenizer:
    """A tokenizer.json opened for use; it gives token ids and no way back to the text."""

    def __init__(self, path: Path) -> None:
        try:
            import tokenizers
        except ImportError as error:
            raise NotFoundError(
                f"{path} needs the package tokenizers; run: pip install 'ragformer[checkpoints]'"
            ) from error
        try:
            self._model = tokenizers.Tokenizer.from_buffer(path.read_bytes())
        except FileNotFoundError as error:
            raise WeightsError(f"there is no {path}; is the model folder complete?") from error
        except Exception as error:  # the package raises no narrower one
            raise WeightsError(f"{path} is no tokenizer: {error}") from error
        self._model.no_truncation()
        self._model.no_padding()
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
        return list(self._model.encode(text, add_special_tokens=False).ids)

    def row(self, line: str, most: int) -> list[int]:
        """The ids a model reads of a `model_line`, the symbols around it among at most `most`."""
        return [self.first, *self.encode(line)[: most - 2], self.last]

    def count(self, text: str) -> int:
        """How many tokens `text` takes."""
        return len(self.encode(text))
