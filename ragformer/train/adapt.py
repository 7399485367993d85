"""Teach a collection's encoder the collection: questions mined from its own chunks, hard negatives.

    chunks -> questions -> tune -> weights aside -> vectors aside -> held-out nDCG -> keep, or drop

Until the one transaction that keeps them, nothing that is asked sees the new weights or vectors.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ragformer.cluster.layout import is_sharded
from ragformer.config import model_folder
from ragformer.errors import ConfigError, DivergedError, InputError
from ragformer.eval.metrics import ndcg_at
from ragformer.library import OWN_ENCODERS, Library, open_library
from ragformer.nn.checkpoint import save_weights, sync, weight_files, weights_id
from ragformer.retrieve.embed import Encoder, load_encoder, pad_rows, passage_text
from ragformer.retrieve.embed_chunks import EMBED_AT_ONCE, embed_stored
from ragformer.retrieve.retrieve import fuse_rankings, rank
from ragformer.store.keep_vectors import refresh
from ragformer.store.store import Store
from ragformer.store.vectors import VectorIndex
from ragformer.text.normalize import model_line
from ragformer.train.loop import Log, backward
from ragformer.train.own_pairs import (
    Miner,
    Question,
    hard_negatives,
    held_out_questions,
    split_passages,
)
from ragformer.train.spread import Spread
from ragformer.train.stage import Plan, Stage
from ragformer.types import Passage

FEWEST_CHUNKS = 50
FEWEST_QUESTIONS = 10
MOST_CHUNKS = 4000
"""To learn from, a few minutes' worth; of a larger collection a sample is taken."""
NEIGHBOURS = 8
"""Chunks side by side in a batch: negatives that are hard to tell."""
HARDEST = 6
"""Negatives of a chunk that a batch takes one of."""
SCALE = 30.0
"""Of cosines in the softmax: where the temperature of the encoder's own training starts."""
DECAY = 0.98
"""Of the average of weights: a run is a few hundred steps."""
WORK = "adapt"  # in a collection's folder: how far a run is


@dataclass(frozen=True, slots=True)
class Config:
    """collection, home: as for `open_library`. minutes: of tuning, the rest comes on top.

    questions: held out to measure by, at most.
    """

    collection: str | None = None
    home: Path | None = None
    minutes: float = 3.0
    steps: int = 100_000
    rate: float = 2e-4
    batch: int = 32
    max_tokens: int = 128
    questions: int = 500
    save_every: int = 25
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Adapted:
    """What came of it. encoder_id: of the encoder in use from now on. questions: held-out ones
    asked; before, after: their metrics over all chunks, by name, {} where nothing was measured."""

    status: Literal["kept", "rolled_back", "undone", "unchanged"]
    encoder_id: str
    chunks: int
    questions: int
    before: dict[str, float]
    after: dict[str, float]
    seconds: float


def main(config: Config) -> Iterator[str | Adapted]:
    """Tune, measure, and keep or drop; yields lines of progress and, last, the Adapted.

    A run that was cut off goes on where it stopped, unless the collection has changed since.
    Raises InputError for a collection too small, StoreBusyError while another process indexes.
    """
    started = time.monotonic()
    with _opened(config) as library:
        store = library.store
        n_chunks = len(store.chunk_ids())
        if n_chunks < FEWEST_CHUNKS:
            raise InputError(
                f"collection {library.name} is too small to learn from, with {n_chunks} of the "
                f"{FEWEST_CHUNKS} chunks it takes; index more documents first"
            )
        with store.indexing():
            run = _Run(config, library)
            yield f"{n_chunks:,} chunks: {len(run.questions)} questions held out to measure by"
            before = measure(store, run.encoder, run.questions)
            tuned = load_encoder((yield from run.tune()))
            yield from _embed_aside(store, tuned)
            after = measure(store, tuned, run.questions)
            kept = is_better(before, after)
            encoder = tuned if kept else run.encoder
            # The collection changes here, in one transaction: before it the old encoder works,
            # after it the new one.
            store.drop_vectors_except(encoder.id, own=True if kept else None)
            _tidy(library)
        seconds = time.monotonic() - started
        status: Literal["kept", "rolled_back"] = "kept" if kept else "rolled_back"
        yield Adapted(status, encoder.id, n_chunks, len(run.questions), before, after, seconds)


def undo(config: Config) -> Iterator[str | Adapted]:
    """Go back to the encoder in the box; yields lines of progress and, last, the Adapted."""
    started = time.monotonic()
    with _opened(config) as library:
        store, encoder = library.store, load_encoder()
        n_chunks = len(store.chunk_ids())
        taught = store.own_encoder is not None
        if taught:
            with store.indexing():
                yield from _embed_aside(store, encoder)
                store.drop_vectors_except(encoder.id, own=False)
                _tidy(library)
        seconds = time.monotonic() - started
        status: Literal["undone", "unchanged"] = "undone" if taught else "unchanged"
        yield Adapted(status, encoder.id, n_chunks, 0, {}, {}, seconds)


def _opened(config: Config) -> Library:
    library = open_library(config.collection, config.home)
    if is_sharded(library.folder):
        raise InputError(
            f"collection {library.name} is kept in shards, and only one store can be taught; index "
            "its files into another collection with -c and without --engine ray, and teach that"
        )
    if library.settings.encoder is not None:
        raise ConfigError(
            f"the encoder is set to {library.settings.encoder} "
            f"({library.settings.origins['encoder']}), which comes before a collection's own; "
            "take that setting away to teach this collection"
        )
    return library


def _embed_aside(store: Store, encoder: Encoder) -> Iterator[str]:
    """Give every chunk a vector of this encoder too; what a run before has done is not repeated."""
    due = store.chunks_without_vectors(encoder.id)
    step = max(EMBED_AT_ONCE, len(due) // 10)
    done = told = 0
    for n in embed_stored(store, encoder, due):
        done += n
        if done - told >= step or done == len(due):
            told = done
            yield f"embedded {done:,} of {len(due):,} chunks"


def measure(store: Store, encoder: Encoder, questions: Sequence[Question]) -> dict[str, float]:
    """nDCG@10 of the questions over all chunks, found by vectors, and with words as in search."""
    index = VectorIndex.build(*store.vectors(encoder.id))
    values: dict[str, list[float]] = {"vectors/ndcg@10": [], "fused/ndcg@10": []}
    vectors_QD = encoder.encode_queries([question.text for question in questions])
    for question, vector_D in zip(questions, vectors_QD, strict=True):
        found = rank(store, index, vector_D, question.text)
        grades = dict.fromkeys(question.gold, 1)
        for name, hits in zip(values, (found["vectors"], fuse_rankings(found, 10)), strict=True):
            values[name].append(ndcg_at([key for key, _ in hits], grades, 10))
    return {name: float(np.mean(column)) for name, column in values.items()}


def is_better(before: dict[str, float], after: dict[str, float]) -> bool:
    """Whether no metric fell and one rose."""
    return all(after[name] >= before[name] for name in before) and after != before


def embedded_text(passage: Passage) -> str:
    """What the passage's vector is of."""
    return passage_text(passage.document.title, passage.heading_path, passage.text)


def ranking_loss(queries_BD: Tensor, passages_PD: Tensor, right_BP: Tensor) -> Tensor:
    """Query i must pick passage i among all P >= B; use it where negatives are given by hand.

    right_BP: True where another passage is right too: it is left out. Source: Karpukhin et al.
    2020, arXiv:2004.04906, section 3.2.
    """
    logits_BP = queries_BD @ passages_PD.T * SCALE
    others_BP = ~torch.eye(*logits_BP.shape, dtype=torch.bool, device=logits_BP.device)
    logits_BP = logits_BP.masked_fill(right_BP & others_BP, -torch.inf)
    return F.cross_entropy(logits_BP, torch.arange(len(logits_BP), device=logits_BP.device))


class _Run:
    """One adapting of one collection: what is learned from, what is held out, how far it is.

    The folder `adapt` beside the collection's encoders holds run.json, which names what the run
    is about, and the state of the tuning; no text.
    """

    def __init__(self, config: Config, library: Library) -> None:
        self.config, self.store, self.encoder = config, library.store, library.encoder
        self.store.check_encoder(self.encoder.id)
        self.source = model_folder("encoder", library.own_encoder)
        self.encoders, self.work = library.folder / OWN_ENCODERS, library.folder / WORK
        ids = self.store.chunk_ids()
        passages = self.store.passages([(int(key), 0.0) for key in ids])
        self.text_of = {p.chunk_id: embedded_text(p) for p in passages}
        self.miner = Miner(passages)
        learned, held = split_passages(passages, config.seed)
        rng = random.Random(config.seed)
        taught = [p for p in learned if self.miner.any_of(p, rng)]
        chosen = rng.sample(range(len(taught)), min(len(taught), MOST_CHUNKS))
        self.learned = [taught[i] for i in sorted(chosen)]
        self.questions = held_out_questions(self.miner, held, config.questions, config.seed)
        if min(len(self.questions), len(self.learned)) < FEWEST_QUESTIONS:
            raise InputError(
                f"the text of collection {library.name} gives {len(self.learned)} questions to "
                f"learn from and {len(self.questions)} to measure by, and it takes "
                f"{FEWEST_QUESTIONS} of each; index documents with more prose"
            )
        # The id of a chunk never comes back, so equal ids mean equal chunks.
        chunks = hashlib.sha256(ids.tobytes()).hexdigest()
        self.about = {"encoder": self.encoder.id, "chunks": chunks, "seed": config.seed}
        noted = self._noted()
        if any(noted.get(name) != value for name, value in self.about.items()):
            shutil.rmtree(self.work, ignore_errors=True)
            self._note("")

    def _noted(self) -> dict[str, Any]:
        try:
            noted = json.loads((self.work / "run.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) else {}

    def _note(self, tuned: str) -> None:
        """Write down what the run is about, and the id of the tuned encoder once there is one."""
        self.work.mkdir(mode=0o700, exist_ok=True)
        scratch = self.work / "run.partial"
        scratch.write_text(json.dumps(self.about | {"tuned": tuned}), encoding="utf-8")
        sync(scratch)
        scratch.replace(self.work / "run.json")

    def tune(self) -> Generator[str, None, Path]:
        """The folder of the tuned encoder, made unless a run before has made it."""
        if done := self._noted().get("tuned"):
            folder = self.encoders / str(done)
            if folder.is_dir():
                return folder
        yield f"looking for hard negatives of {len(self.learned):,} chunks"
        negatives = hard_negatives(
            self.store, self.encoder, self.miner, self.learned, self.config.seed
        )
        tuned = load_encoder(self.source)  # a copy to change: the old one is measured against
        yield from self._train(tuned, negatives)
        return self._save(tuned)

    def _train(self, tuned: Encoder, negatives: dict[int, list[int]]) -> Iterator[str]:
        config, model = self.config, tuned.model
        plan = Plan(
            "adapt",
            self.work / "tune.pt",
            config.minutes,
            config.steps,
            config.rate,
            weight_decay=0.0,
            decay=DECAY,
            save_every=config.save_every,
        )
        stage = Stage(plan, model, averaged=model)
        if stage.resumed:
            yield f"going on after step {stage.budget.step}"
        log = Log(self.work / "tune.csv", model, tuned.device)
        rng = random.Random(config.seed + 3 + stage.budget.step)
        try:
            yield from stage.train(lambda: self._step(tuned, negatives, rng), log, Spread())
        except DivergedError:
            stage.average.copy_to(model)
        trial_ND = tuned.encode([self.text_of[p.chunk_id] for p in self.learned[:EMBED_AT_ONCE]])
        if not np.isfinite(trial_ND).all():  # ruined: the old weights are no better, and dropped
            model.load_state_dict(self.encoder.model.state_dict())

    def _step(
        self, tuned: Encoder, negatives: dict[int, list[int]], rng: random.Random
    ) -> tuple[Tensor, int]:
        """Learn from a batch of fresh questions; its loss, and how many tokens it read."""
        questions, keys = self._draw(rng)
        wrong = [rng.choice(some[:HARDEST]) for key in keys if (some := negatives.get(key))]
        passages = [question.passage for question in questions] + [self.text_of[k] for k in wrong]
        columns = [*keys, *wrong]
        right_BP = torch.tensor([[key in q.gold for key in columns] for q in questions])
        prefixes = tuned.form.query_prefix, tuned.form.passage_prefix
        ids = [
            self._ids(tuned, prefix, texts)
            for prefix, texts in zip(prefixes, ([q.text for q in questions], passages), strict=True)
        ]
        with torch.autocast(tuned.device.type, dtype=torch.bfloat16, enabled=tuned.bf16):
            queries_BD, passages_PD = (tuned.model(*pair) for pair in ids)
        loss = ranking_loss(queries_BD, passages_PD, right_BP.to(tuned.device))
        return backward(loss), sum(int(keep_BT.sum()) for _, keep_BT in ids)

    def _draw(self, rng: random.Random) -> tuple[list[Question], list[int]]:
        """Questions and their chunks' ids: chunks side by side, from random places."""
        n = len(self.learned)
        found: dict[int, Question] = {}
        while len(found) < min(self.config.batch, n // 2):
            start = rng.randrange(n)
            for passage in self.learned[start : start + NEIGHBOURS]:
                if question := self.miner.any_of(passage, rng):
                    found[passage.chunk_id] = question
        return list(found.values()), list(found)

    def _ids(self, tuned: Encoder, prefix: str, texts: list[str]) -> tuple[Tensor, Tensor]:
        most = min(self.config.max_tokens, tuned.form.max_tokens)
        rows = [tuned.tokenizer.row(model_line(prefix + text), most) for text in texts]
        ids_BT, keep_BT = pad_rows(rows, most)
        return ids_BT.to(tuned.device), keep_BT.to(tuned.device)

    def _save(self, tuned: Encoder) -> Path:
        """Write the encoder whole, then give it its name; returns its folder."""
        scratch = self.work / "encoder"
        shutil.rmtree(scratch, ignore_errors=True)
        weights = set(weight_files(self.source))
        for file in self.source.iterdir():
            if file.is_file() and file not in weights and file.suffix != ".md":  # its card
                scratch.mkdir(mode=0o700, exist_ok=True)
                shutil.copyfile(file, scratch / file.name)
        save_weights(tuned.model, scratch, None if tuned.form.float32 else torch.bfloat16)
        for file in scratch.iterdir():
            file.chmod(0o600)
            sync(file)
        name = weights_id(scratch)
        self.encoders.mkdir(mode=0o700, exist_ok=True)
        shutil.rmtree(self.encoders / name, ignore_errors=True)
        scratch.replace(self.encoders / name)
        self._note(name)
        return self.encoders / name


def _tidy(library: Library) -> None:
    """Remove what the encoder in use does not need, by this run or one that was cut off, and bring
    the file of its vectors in line."""
    refresh(library.store, library.encoder_id)
    library.store.checkpoint()
    shutil.rmtree(library.folder / WORK, ignore_errors=True)
    own = library.store.own_encoder
    for folder in (library.folder / OWN_ENCODERS).glob("*"):
        if folder.name != own and folder.is_dir():
            shutil.rmtree(folder)
