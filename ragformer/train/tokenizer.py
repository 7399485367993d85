"""Train the sentencepiece model that encoder and decoder share.

Known: identity normalisation keeps every offset true; splitting digits lets numbers be copied and
compared; byte fallback means no text is unknown. Not known: whether 32k pieces would be better.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sentencepiece

from ragformer.errors import InputError
from ragformer.text.tokenizer import BOS, CONTROL_SYMBOLS, EOS, PAD, UNK
from ragformer.train.data import jsonl_files, read_rows


@dataclass(frozen=True, slots=True)
class Config:
    """data: a folder of text files ({"title", "sections": [{"heading", "text"}]} a line)."""

    data: Path
    out: Path
    vocab_size: int = 16_000
    characters_per_file: int = 6_000_000
    threads: int = 2


def main(config: Config) -> Path:
    """Write config.out (a sentencepiece model) and return its path."""
    config.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        prefix = Path(scratch) / "tokenizer"
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=_lines(config),
                model_prefix=str(prefix),
                model_type="unigram",
                vocab_size=config.vocab_size,
                normalization_rule_name="identity",
                remove_extra_whitespaces=False,
                add_dummy_prefix=False,
                byte_fallback=True,
                split_digits=True,
                pad_id=PAD,
                unk_id=UNK,
                bos_id=BOS,
                eos_id=EOS,
                control_symbols=list(CONTROL_SYMBOLS),
                user_defined_symbols=["\n"],
                num_threads=config.threads,
                max_sentence_length=20_000,
                train_extremely_large_corpus=False,
            )
        except RuntimeError as error:
            raise InputError(
                f"no tokenizer of {config.vocab_size} pieces comes out of {config.data}: {error}"
            ) from error
        config.out.write_bytes(prefix.with_suffix(".model").read_bytes())
    return config.out


def _lines(config: Config) -> Iterator[str]:
    """Paragraphs, the same number of characters from every file, so that no kind drowns another."""
    for path in jsonl_files(config.data):
        left = config.characters_per_file
        for document in read_rows(path, "sections"):
            for section in document["sections"]:
                # A leading space, as within a running text: words then have one form, not two.
                for line in section["text"].split("\n"):
                    if line:
                        yield " " + line
                        left -= len(line)
            if left < 0:
                break
