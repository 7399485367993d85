"""Our decoder as a reader: question and passages in, the likeliest answers with their places out.

Decoding is greedy or beamed generation under a mask. At the first step the decoder may point at
any passage token but white space or write <no_answer>; after a copied token it may copy the next
one or write <quote>, which ends the answer. Nothing else can be generated, so an answer is always
a run of one passage's characters.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from ragformer.answer.confidence import Confidence, load_confidence
from ragformer.answer.edges import whole_words
from ragformer.answer.prefill import prefill
from ragformer.answer.reading import (
    MAX_QUESTION_TOKENS,
    SEGMENT_ANSWER,
    Reading,
    Source,
    Tokenized,
    make_reading,
    make_source,
    tokenize,
)
from ragformer.answer.starts import in_likeliest_sentence, may_start
from ragformer.config import model_folder
from ragformer.nn.cache import KVCache
from ragformer.nn.checkpoint import load_weights, weights_id
from ragformer.nn.config import model_config
from ragformer.nn.constrain import CitedQuote, PassageWalk, Range, Vocabulary
from ragformer.nn.device import bf16_is_faster, pick_device
from ragformer.nn.generate import Mask, generate
from ragformer.nn.heads import Decoder
from ragformer.nn.kept import Kept
from ragformer.text.overlap import Rarity, question_stems
from ragformer.text.tokenizer import MAX_MARKS, NO_ANSWER, QUOTE, Tokenizer, mark_id
from ragformer.types import Sampling

MAX_ANSWER_TOKENS = 40
MAX_QUOTE_TOKENS = 700
MAX_PROMPT_TOKENS = 4096
BEAMS = 6


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer: characters start..end of passage `passage` (from 0), `whole_words` and never
    empty, and its log-likelihood."""

    passage: int
    start: int
    end: int
    log_likelihood: float


@dataclass(frozen=True, slots=True)
class Read:
    """What reading found. candidates: best first, at least one unless there was nothing to copy.

    no_answer: log-likelihood of there being no answer. share: probability that an answer, if there
    is one, starts in the sentence the candidates are of. n_passages: how many were read (whole
    ones only; those that did not fit were left out from the end).
    """

    candidates: tuple[Candidate, ...]
    no_answer: float
    share: float
    n_passages: int
    n_tokens: int

    @property
    def margin(self) -> float:
        """How much likelier the best answer is than none, in nats; -inf without a candidate."""
        if not self.candidates:
            return float("-inf")
        return self.candidates[0].log_likelihood - self.no_answer


@dataclass(frozen=True, slots=True)
class OpenPrompt:
    """A prompt that has been read: every passage's text and joins, the layout of those that fit,
    cache and hidden states."""

    texts: tuple[str, ...]
    joins: tuple[tuple[int, ...], ...]
    reading: Reading
    sources: tuple[Source, ...]
    cache: KVCache
    hidden_1SD: Tensor

    def holds(self, passage: int, start: int, end: int) -> bool:
        """Whether start..end of the passage show something and lie in one part of it."""
        visible = bool(self.texts[passage][start:end].strip())
        return visible and not any(start <= join < end for join in self.joins[passage])


class Reader:
    """A loaded decoder that answers from passages. `id` names its weights."""

    def __init__(
        self,
        model: Decoder,
        tokenizer: Tokenizer,
        identity: str,
        confidence: Confidence | None = None,
        bf16: bool | None = None,
        free: bool = False,
    ) -> None:
        """bf16: whether prompts are read in bfloat16, as the decoder was trained; None for yes
        where it is faster. free: whether short answers are written by `write_freely`, where `find`
        copies them. `kept`: prompts to be had again; set it where questions come again."""
        self.confidence = confidence
        self.free = free
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.id = identity
        self.rarity = Rarity(tokenizer)
        self.device = next(model.parameters()).device
        self._bf16 = bf16
        self.kept: Kept[tuple[KVCache, Tensor]] | None = None

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """What quotes are written with: a refusal does without it."""
        return Vocabulary(self.tokenizer.token_bytes())

    def sources(self, question: str, passages: Sequence[tuple[str, str]]) -> list[Source]:
        """The passages (context line, text) tokenized and compared, as many of the first as fit.

        A passage is whole or left out: one longer than the decoder's positions is left out, and
        so is everything from where the prompt would grow past 4,096 tokens or 32 marks.
        """
        stems = question_stems(question, self.rarity)
        room = MAX_PROMPT_TOKENS - MAX_QUESTION_TOKENS - 2
        longest = self.model.config.max_seq_len - MAX_QUESTION_TOKENS - MAX_ANSWER_TOKENS - 2
        kept = []
        for index, (line, text) in enumerate(passages[:MAX_MARKS]):
            source = make_source(index, line, text, stems, self._cut)
            if source.n_tokens > longest:
                continue
            room -= source.n_tokens
            if room < 0:
                break
            kept.append(source)
        return kept

    def _cut(self, text: str) -> Tokenized:
        return tokenize(text, self.tokenizer)

    def read(self, question: str, passages: Sequence[tuple[str, str]]) -> Read:
        """The likeliest answers to `question` in `passages`, each (context line, text)."""
        return self.find(self.open(question, passages))

    @torch.inference_mode()
    def open(
        self,
        question: str,
        passages: Sequence[tuple[str, str]],
        joins: Sequence[Sequence[int]] | None = None,
        anew: bool = False,
    ) -> OpenPrompt:
        """Prefill: read the question and as many whole passages as fit into a cache.

        joins: for each passage the places of the characters that stand between two of its parts
        (two pages, say): no answer has one inside. anew: also where the prompt is `kept`.
        """
        sources = self.sources(question, passages)
        reading = make_reading(question, sources, self.tokenizer)
        kept = self.kept if not anew else None
        known = kept.get(reading.key) if kept else None
        cache, prompt_1SD = known or self._prefilled(reading)
        if kept and not known:
            kept.put(reading.key, (cache, prompt_1SD), cache.n_bytes + prompt_1SD.nbytes)
        texts = tuple(text for _, text in passages)
        at = tuple(map(tuple, joins)) if joins is not None else ((),) * len(texts)
        return OpenPrompt(texts, at, reading, tuple(sources), cache, prompt_1SD)

    def _prefilled(self, reading: Reading) -> tuple[KVCache, Tensor]:
        """The prompt's cache and hidden states, float32 [1, S, D]."""
        cache = KVCache(self.model.config, 1, len(reading.ids), device=self.device)
        if self._bf16 is None:
            self._bf16 = self.device.type == "cuda" or bf16_is_faster()
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._bf16):
            return cache, prefill(self.model, reading, cache).float()

    @torch.inference_mode()
    def relevance(self, question: str, passages: Sequence[tuple[str, str]]) -> list[float]:
        """For each passage, the log-probability that the answer starts in it, were it in one.

        One that was not read, being too long or one too many, counts as the average of the others.
        """
        prompt = self.open(question, passages)
        places_S = self._start_logits(prompt)
        nats = [float("nan")] * len(passages)
        for source in prompt.sources:
            here = [at is not None and at[0] == source.index for at in prompt.reading.places]
            nats[source.index] = float(places_S[torch.tensor(here)].logsumexp(0).clamp(min=-100.0))
        nats_P = torch.log_softmax(torch.tensor(nats).nan_to_num(nan=_mean(nats)), 0)
        return nats_P.tolist()

    def starts(self, prompt: OpenPrompt, prior: Sequence[float] = ()) -> Tensor:
        """As `_start_logits`, -inf where no answer may start; prior: see `find`."""
        allowed_S = torch.tensor(may_start(prompt), device=self.device)
        open_S = self._start_logits(prompt).masked_fill(~allowed_S, -torch.inf)
        if not prior or not allowed_S.any():
            return open_S
        nats = [prior[at[0]] if at is not None else 0.0 for at in prompt.reading.places]
        moved_S = open_S + torch.tensor(nats, device=self.device)
        moved_S += open_S.logsumexp(0) - moved_S.logsumexp(0)
        return moved_S

    def _start_logits(self, prompt: OpenPrompt) -> Tensor:
        """For each token of the prompt how well an answer starts there, float32 [S]."""
        hidden_1SD = prompt.hidden_1SD
        return self.model.place_logits(hidden_1SD[:, -1:], hidden_1SD)[0, 0].float()

    @torch.inference_mode()
    def find(self, prompt: OpenPrompt, prior: Sequence[float] = ()) -> Read:
        """The likeliest answers in an open prompt.

        prior: for each passage given, what speaks for it beforehand, in nats; nothing when empty.
        It moves where an answer starts, never how likely there is one.
        """
        reading, prompt_1SD = prompt.reading, prompt.hidden_1SD
        open_S = self.starts(prompt, prior)
        if not torch.isfinite(open_S).any():
            return Read((), 0.0, 0.0, len(prompt.sources), len(reading.ids))
        pieces_11V = self.model.token_logits(prompt_1SD[:, -1:], NO_ANSWER + 1)
        none_1 = pieces_11V[0, :, NO_ANSWER].float()
        first_S1 = torch.log_softmax(torch.cat([open_S, none_1]), -1)
        anywhere_S, none = first_S1[:-1], float(first_S1[-1])
        first_S = anywhere_S.masked_fill(~in_likeliest_sentence(prompt, anywhere_S), -torch.inf)
        share = float((first_S.logsumexp(0) - anywhere_S.logsumexp(0)).exp())
        candidates = self._beams(prompt, first_S)
        return Read(tuple(candidates), none, share, len(prompt.sources), len(reading.ids))

    def write_quote(self, prompt: OpenPrompt, text: str, quote: Range) -> Iterator[str | int]:
        """Write the characters quote.start..quote.end of the passage `text`, piece by piece, and
        its mark, token for token under the mask of `CitedQuote`.

        The pieces joined are the quote; last comes the number of its mark, from 1.
        """
        data = text.encode()
        start, end = (len(text[:offset].encode()) for offset in (quote.start, quote.end))
        passages = [b""] * quote.passage + [data]
        walk = PassageWalk(passages, self.vocabulary, [Range(quote.passage, start, end)])
        marks = [mark_id(i + 1) for i in range(quote.passage + 1)]
        pieces = codecs.getincrementaldecoder("utf-8")()
        for token in self.write(prompt, MAX_QUOTE_TOKENS, CitedQuote(walk, marks)):
            if token in marks:
                yield marks.index(token) + 1
            elif piece := pieces.decode(self.vocabulary.bytes_of[token]):
                yield piece

    def write(self, prompt: OpenPrompt, n: int, mask: Mask | None = None) -> Iterator[int]:
        """At most n token ids behind the prompt and <quote>, the likeliest that `mask` allows."""
        return generate(
            self.model,
            prompt.cache.repeat(1, n),
            QUOTE,
            Sampling(max_new_tokens=n),
            position=prompt.reading.answer_position + 1,
            segment=SEGMENT_ANSWER,
            mask=mask,
        )

    def _beams(self, prompt: OpenPrompt, first_S: Tensor) -> list[Candidate]:
        """Start at the likeliest places; at each step every beam may end, and goes on if it can.

        A beam has one way to go on and one to end, so following it scores every answer that starts
        there: the best answer over the chosen starts is exact.
        """
        reading = prompt.reading
        n_beams = min(BEAMS, int(torch.isfinite(first_S).sum()))
        if n_beams == 0:
            return []
        scores_B, places_B = first_S.topk(n_beams)
        prompt_BSD = prompt.hidden_1SD.expand(n_beams, -1, -1)
        cache = prompt.cache.repeat(n_beams, MAX_ANSWER_TOKENS)
        starts, scores = places_B.tolist(), scores_B.clone()
        found: list[Candidate] = []
        for step in range(MAX_ANSWER_TOKENS):
            going_B, ending_B = self._step(reading, cache, prompt_BSD, places_B, step)
            ended = (scores + ending_B).tolist()
            for beam, start in enumerate(starts):
                if (candidate := _candidate(prompt, start, start + step, ended[beam])) is not None:
                    found.append(candidate)
                else:  # nor is what goes on from here an answer
                    scores[beam] = -torch.inf
            scores = scores + going_B
            # Scores only fall: once all that go on are below the best that ended, it stays best.
            if float(scores.max()) <= max(c.log_likelihood for c in found):
                break
            places_B = (places_B + 1).clamp(max=len(reading.ids) - 1)
        return _best_of_each_start(found)

    def _step(
        self, reading: Reading, cache: KVCache, prompt_BSD: Tensor, places_B: Tensor, step: int
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities, for each beam at its place, of copying on and of ending there."""
        ids = torch.tensor(reading.ids, device=self.device)
        n = len(places_B)
        position = reading.answer_position + 1 + step
        hidden_B1D = self.model.transformer(
            ids[places_B][:, None],
            positions_BT=torch.full((n, 1), position, device=self.device),
            segments_BT=torch.full((n, 1), SEGMENT_ANSWER, device=self.device),
            cache=cache,
        )
        following_B = (places_B + 1).clamp(max=len(reading.ids) - 1)
        following_B1D = prompt_BSD.gather(
            1, following_B[:, None, None].expand(-1, -1, prompt_BSD.shape[-1])
        )
        bonus = self.model.pointer_next
        on_B = self.model.place_logits(hidden_B1D, following_B1D)[:, 0, 0].float() + bonus
        end_B = self.model.token_logits(hidden_B1D, QUOTE + 1)[:, 0, QUOTE].float()
        pairs = zip(places_B.tolist(), following_B.tolist(), strict=True)
        open_B = torch.tensor([_joined(reading, a, b) for a, b in pairs], device=self.device)
        on_B = on_B.masked_fill(~open_B, -torch.inf)
        both_B2 = torch.log_softmax(torch.stack([on_B, end_B], dim=-1), dim=-1)
        return both_B2[:, 0], both_B2[:, 1]


def _mean(values: Sequence[float]) -> float:
    """The mean of the values that are numbers, 0 when none is."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else 0.0


def _joined(reading: Reading, place: int, following: int) -> bool:
    """Whether `following` is the next token of the same passage."""
    here, there = reading.places[place], reading.places[following]
    return following > place and here is not None and there is not None and here[0] == there[0]


def _candidate(prompt: OpenPrompt, first: int, last: int, score: float) -> Candidate | None:
    """The answer from token `first` to token `last`; None unless one part of a passage holds it."""
    places = prompt.reading.places
    if last >= len(places) or score == float("-inf"):
        return None
    start, end = places[first], places[last]
    if start is None or end is None or start[0] != end[0]:
        return None
    low, high = whole_words(prompt.texts[start[0]], start[1], end[2])
    return Candidate(start[0], low, high, score) if prompt.holds(start[0], low, high) else None


def _best_of_each_start(found: list[Candidate]) -> list[Candidate]:
    """The likeliest candidate of every start, best first; ties: earlier passage and place."""
    ordered = sorted(found, key=lambda c: (-c.log_likelihood, c.passage, c.start, c.end))
    kept: dict[tuple[int, int], Candidate] = {}
    for candidate in ordered:
        kept.setdefault((candidate.passage, candidate.start), candidate)
    return list(kept.values())


def load_decoder(
    path: Path | None = None, *, confidence: bool = True, free: bool = False
) -> Reader:
    """The decoder in the folder `path`, or the one in the box; on the GPU where there is one.

    confidence: whether to load confidence.json too, where it is. free: as for Reader.
    """
    folder = model_folder("decoder", path)
    model = Decoder(model_config(folder, "decoder"))
    load_weights(model, folder)
    fitted = confidence and (folder / "confidence.json").exists()
    tokenizer = Tokenizer(folder / "tokenizer.model")
    return Reader(
        model.to(pick_device()),
        tokenizer,
        weights_id(folder),
        load_confidence(folder) if fitted else None,
        free=free,
    )
