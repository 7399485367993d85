"""Query and passage pairs for the encoder, given and mined, as token ids in memory.

Given: `pairs` rows {"query", "positive"} and `qa` rows (a question and its context). Mined from
plain text: a heading with its section, a term with the paragraph that defines it, and a sentence
thinned to a query with its paragraph (the inverse cloze task of Lee et al. 2019, arXiv:1906.00300,
section 4).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ragformer.errors import InputError
from ragformer.text.heldout import is_held_out
from ragformer.text.normalize import model_line
from ragformer.text.tokenizer import PAD, Tokenizer
from ragformer.train.data import jsonl_files, read_rows
from ragformer.train.loop import TILE

Ids = np.ndarray[tuple[int], np.dtype[np.uint16]]

# Batches are drawn a source at a time; a source not named here has weight 1.
WEIGHTS = {
    "mined-sentence": 14.0,
    "mined-heading": 5.0,
    "mined-definition": 2.0,
    "pairs/squad-question-paragraph": 3.0,
    "pairs/squad-question-sentence": 3.0,
    "pairs/squad-question-sentence-lowercase": 2.0,
    "qa/squad-train-part": 6.0,
    "qa/own-documents": 7.0,
    "pairs/medquad": 2.0,
    "pairs/bioasq": 2.0,
    "pairs/arxiv-title-abstract": 2.0,
    "pairs/acl-title-abstract": 2.0,
    "qa/qamr": 0.5,
    "qa/qasrl-gs": 0.0,
    "qa/unanswerable-mined": 0.0,
    "qa/pubmedqa-decision": 0.0,
}


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pair i is queries[i] with passages[i]; equal keys mark the same passage."""

    name: str
    queries: list[Ids]
    passages: list[Ids]
    keys: list[int]

    def ordered(self, order: list[int]) -> Pairs:
        """The same pairs, the order[i]-th as the i-th."""
        return Pairs(
            self.name,
            [self.queries[i] for i in order],
            [self.passages[i] for i in order],
            [self.keys[i] for i in order],
        )


_QUESTION = re.compile(
    r"(?:how|what|when|where|which|who|why|can|do|does|is|are|should)\b", re.IGNORECASE
)
_DEFINITION = re.compile(
    r"(?P<term>(?:(?:An?|The) )?[\w-]+(?: (?!(?:is|are|what|who|where|which|that)\b)[\w-]+){0,3})"
    r" (?P<verb>is|are) (?:an?|the|any|one) "
)
_POINTING = frozenset(
    ["it", "this", "that", "these", "those", "there", "he", "she", "they", "here"]
)


def load_pairs(
    data: Path, tokenizer: Tokenizer, max_tokens: int, paragraphs_per_file: int, seed: int
) -> list[Pairs]:
    """Every source under `data` (pairs/, qa/, text/) with a positive weight; held-out documents
    are left out."""
    sources = []
    for path in [*jsonl_files(data / "pairs"), *jsonl_files(data / "qa")]:
        name = f"{path.parent.name}/{path.name.split('.')[0]}"
        if WEIGHTS.get(name, 1.0) > 0:
            rows = _pair_rows(path) if path.parent.name == "pairs" else _qa_rows(path)
            sources.append(_tokenize(name, rows, tokenizer, max_tokens))
    rng = random.Random(seed)
    mined = {
        "mined-sentence": mine_sentence,
        "mined-heading": mine_heading,
        "mined-definition": mine_definition,
    }
    sections = list(_sections(data / "text", paragraphs_per_file))
    for name, mine in mined.items():
        rows = (pair for section in sections for pair in mine(*section, rng))
        sources.append(_tokenize(name, rows, tokenizer, max_tokens))
    if not any(source.queries for source in sources):
        raise InputError(f"{data} holds no pair to train on")
    return [source for source in sources if source.queries]


def _tokenize(
    name: str, rows: Iterator[tuple[str, str]], tokenizer: Tokenizer, max_tokens: int
) -> Pairs:
    pairs = Pairs(name, [], [], [])
    for query, passage in rows:
        pairs.queries.append(_ids(query, tokenizer, 64))
        pairs.passages.append(_ids(passage, tokenizer, max_tokens))
        pairs.keys.append(hash(passage))
    return pairs


def _ids(text: str, tokenizer: Tokenizer, most: int) -> Ids:
    # Cutting the characters first spares the tokenizer the long tail.
    return np.array(tokenizer.encode(model_line(text[: most * 8]))[:most], dtype=np.uint16)


def pad(rows: list[Ids], device: torch.device) -> tuple[Tensor, Tensor]:
    """ids_BT and keep_BT of rows of different lengths, the rest PAD; T is a multiple of TILE."""
    lengths = np.array([max(1, len(row)) for row in rows])
    width = -(-int(lengths.max()) // TILE) * TILE
    ids = np.full((len(rows), width), PAD, dtype=np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    keep = np.arange(ids.shape[1])[None] < lengths[:, None]
    return torch.from_numpy(ids).to(device), torch.from_numpy(keep).to(device)


def _pair_rows(path: Path) -> Iterator[tuple[str, str]]:
    for row in read_rows(path, "query", "positive"):
        if not is_held_out(row["positive"]):
            yield row["query"], row["positive"]


def _qa_rows(path: Path) -> Iterator[tuple[str, str]]:
    """Answerable questions with their context, cut to the part that holds the answer."""
    for row in read_rows(path, "question", "title", "context", "answers", "answerable"):
        if not row["answerable"] or not row["answers"]:
            continue
        if is_held_out(row["title"], row["context"]):
            continue
        start = max(0, row["answers"][0]["start"] - 300) if len(row["context"]) > 900 else 0
        text = row["context"][start : start + 900]
        yield row["question"], f"{row['title']}. {text}" if row["title"] else text


def _sections(folder: Path, paragraphs_per_file: int) -> Iterator[tuple[str, str, str]]:
    """(title, heading, text) of the first sections of every file, up to so many paragraphs."""
    for path in jsonl_files(folder):
        left = paragraphs_per_file
        for document in read_rows(path, "title", "sections"):
            if is_held_out(document["title"]):
                continue
            for section in document["sections"]:
                left -= section["text"].count("\n\n") + 1
                yield document["title"], section["heading"], section["text"]
            if left < 0:
                break


def mine_heading(
    title: str, heading: str, text: str, rng: random.Random
) -> Iterator[tuple[str, str]]:
    """The heading, with the document's title unless it is a question already, asks for the
    section."""
    if len(text) < 200:
        return
    if _QUESTION.match(heading):
        yield heading, text[:900]
    else:
        yield title if heading in (title, "Abstract", "") else f"{title} {heading}", text[:900]


def mine_definition(
    title: str, heading: str, text: str, rng: random.Random
) -> Iterator[tuple[str, str]]:
    """ "What is a term?" asks for the paragraph that begins by saying what it is."""
    for paragraph in text.split("\n\n"):
        match = _DEFINITION.match(paragraph)
        if match is None or len(paragraph) < 150:
            continue
        first, *others = match["term"].split()
        if first.lower() not in _POINTING:
            article = first.lower() in ("a", "an", "the")
            term = " ".join([first.lower() if article else first, *others])
            yield f"What {match['verb']} {term}?", paragraph[:900]


def mine_sentence(
    title: str, heading: str, text: str, rng: random.Random
) -> Iterator[tuple[str, str]]:
    """One sentence of each paragraph, thinned, asks for the paragraph.

    The sentence stays in the paragraph six times in ten, so that both the same words and other
    words of the same matter count (Lee et al. keep it one time in ten, without a word index).
    """
    for paragraph in text.split("\n\n"):
        sentences = re.split(r"(?<=[.!?])\s+", paragraph)
        if len(sentences) < 3 or len(paragraph) < 250:
            continue
        start = rng.randrange(max(1, len(sentences) - 7))
        window = sentences[start : start + 8]
        chosen = rng.randrange(len(window))
        words = [word for word in window[chosen].split() if rng.random() > 0.4]
        if len(words) < 4:
            continue
        if rng.random() < 0.3:
            rng.shuffle(words)
        if rng.random() > 0.6:
            window = window[:chosen] + window[chosen + 1 :]
        passage = " ".join(window)
        yield " ".join(words), f"{title}. {passage}" if rng.random() < 0.3 else passage
