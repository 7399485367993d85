"""How many paragraphs and tokens a second does the encoder embed, alone or beside a peer?

A peer is run by sentence-transformers itself, as its users run it: the same texts and threads, its
own batches of 32 sorted by length, float32. The two take turns, A B A B ..., and are compared pair
by pair, so that a machine whose speed drifts is as unkind to one as to the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ragformer.bench.machine import machine, median_of
from ragformer.errors import InputError, NotFoundError
from ragformer.eval.cases import read_retrieval, sample
from ragformer.retrieve.embed import load_encoder

WARM_UP = 64  # texts that each side embeds before the clock starts


def run(
    path: Path,
    limit: int | None = None,
    repeats: int = 3,
    seed: int = 0,
    peer: Path | None = None,
    encoder: Path | None = None,
) -> dict[str, Any]:
    """Embed the distinct paragraphs of a reading file or retrieval folder `repeats` times.

    limit, seed: how many of them, and which. peer: a sentence-transformers folder. Tokens are each
    side's own. times_peer: paragraphs/s of the encoder over those of the peer.
    """
    corpus = dict.fromkeys(item.text for item in read_retrieval(path).corpus)
    texts = sample([text for text in corpus if text.strip()], limit, seed)
    if not texts:
        raise InputError(f"{path} holds no paragraph to embed; check the file")
    loaded = load_encoder(encoder)
    sides: list[Callable[[Sequence[str]], object]] = [loaded.encode]
    counts = [loaded.count_tokens(texts)]
    if peer is not None:
        other = load_sentence_transformer(peer, str(loaded.device))
        sides.append(lambda part: other.encode(list(part)))
        counts.append(count_tokens(other, texts))
    seconds = time_in_turns(sides, texts, repeats)
    figures = {
        "suite": "embed",
        "machine": machine(),
        "encoder": loaded.id,
        "paragraphs": len(texts),
        "repeats": repeats,
        **_rates(seconds[0], len(texts), counts[0]),
    }
    if peer is not None:
        figures["peer"] = {"path": str(peer), **_rates(seconds[1], len(texts), counts[1])}
        pairs = zip(*seconds, strict=True)
        figures["times_peer"] = median_of([theirs / ours for ours, theirs in pairs])
    return figures


def time_in_turns(
    sides: Sequence[Callable[[Sequence[str]], object]],
    texts: Sequence[str],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Seconds [side][repeat] that each side takes for the texts, one side after the other."""
    for embed in sides:
        embed(texts[:WARM_UP])
    seconds: list[list[float]] = [[] for _ in sides]
    for _ in range(repeats):
        for embed, taken in zip(sides, seconds, strict=True):
            start = clock()
            embed(texts)  # vectors on the CPU: nothing is left running on a GPU
            taken.append(clock() - start)
    return seconds


def _rates(seconds: Sequence[float], n_texts: int, n_tokens: int) -> dict[str, Any]:
    return {
        "tokens": n_tokens,
        "paragraphs_per_second": median_of([n_texts / taken for taken in seconds]),
        "tokens_per_second": median_of([n_tokens / taken for taken in seconds]),
    }


def load_sentence_transformer(folder: Path, device: str) -> Any:
    """The encoder in `folder` as sentence-transformers itself runs it, in float32."""
    if not (folder / "modules.json").is_file():  # or the library asks the network for it
        raise InputError(f"there is no {folder}/modules.json; give a sentence-transformers folder")
    try:
        import sentence_transformers
    except ImportError as error:
        raise NotFoundError(
            "a peer needs the package sentence-transformers; run: pip install 'ragformer[bench]'"
        ) from error
    model = sentence_transformers.SentenceTransformer(
        str(folder), device=device, local_files_only=True
    )
    return model.float().eval()


def count_tokens(model: Any, texts: Sequence[str]) -> int:
    """How many tokens it computes for the texts, padding left out."""
    rows = model.tokenizer(list(texts), truncation=True, max_length=model.max_seq_length)
    return sum(map(len, rows["input_ids"]))
