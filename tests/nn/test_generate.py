"""Generation with a cache writes what full forwards would, within its mask and its bounds."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ragformer.nn.cache import KVCache
from ragformer.nn.generate import generate, keep_only, write_rows
from ragformer.nn.heads import Decoder
from ragformer.nn.lookup import LONGEST_GRAM, Lookup
from ragformer.types import Sampling

PROMPT = [3, 1, 4, 1, 5]


def written(model: Decoder, capacity: int = 32, new: int = 12, **options: object) -> list[int]:
    """What `model` writes after PROMPT, its last token not read yet."""
    cache = KVCache(model.config, 1, capacity)
    with torch.inference_mode():
        model.transformer(torch.tensor([PROMPT[:-1]]), cache=cache)
    sampling = options.pop("sampling", Sampling(max_new_tokens=new))
    return list(generate(model, cache, PROMPT[-1], sampling, **options))


@torch.inference_mode()
def slowly(model: Decoder, new: int) -> list[int]:
    """The same without a cache: the best token after everything so far."""
    ids = list(PROMPT)
    for _ in range(new):
        hidden_1TD = model.transformer(torch.tensor([ids]))
        ids.append(int(model.token_logits(hidden_1TD)[0, -1].argmax()))
    return ids[len(PROMPT) :]


def test_greedy_generation_equals_full_forwards(config, loud):
    model = loud(Decoder(config))
    assert written(model) == slowly(model, 12)


def test_rows_written_together_are_those_written_alone(config, loud):
    model = loud(Decoder(config))
    prompts_BT = torch.tensor([PROMPT, PROMPT[::-1]])
    both_BT = write_rows(model, prompts_BT, 7, Sampling())
    assert both_BT[0].tolist() == slowly(model, 7)
    assert torch.equal(both_BT[1:], write_rows(model, prompts_BT[1:], 7, Sampling()))


def test_drawn_rows_differ_and_a_seed_repeats_them(small_config, loud):
    model, start_BT = loud(Decoder(small_config())), torch.tensor([PROMPT] * 6)
    drawn = [write_rows(model, start_BT, 8, Sampling(temperature=2.0, seed=s)) for s in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert len({tuple(row) for row in drawn[0].tolist()}) > 1


def test_a_seed_repeats_and_another_seed_differs(small_config, loud):
    model = loud(Decoder(small_config()))
    drawn = [
        written(model, sampling=Sampling(max_new_tokens=10, temperature=2.0, seed=seed))
        for seed in (0, 0, 1, 2, 3)
    ]
    assert drawn[0] == drawn[1]
    assert len(set(map(tuple, drawn))) == 4


@dataclass(frozen=True)
class UpTo:
    """Only tokens above the last one, at most `left` of them."""

    last: int
    left: int

    @property
    def done(self) -> bool:
        return self.left == 0

    def allowed(self) -> set[int]:
        return set(range(self.last + 1, 40))

    def advance(self, token: int) -> UpTo:
        return UpTo(token, self.left - 1)


@pytest.mark.parametrize("temperature", [0.0, 3.0])
def test_a_mask_holds_at_every_step_and_ends_the_writing(small_config, loud, temperature):
    model = loud(Decoder(small_config()))
    for seed in range(8):
        sampling = Sampling(max_new_tokens=20, temperature=temperature, seed=seed)
        tokens = written(model, sampling=sampling, mask=UpTo(0, 3))
        assert len(tokens) <= 3
        assert tokens == sorted(set(tokens))
    assert written(model, mask=UpTo(0, 0)) == []


def test_a_mask_that_leaves_nothing_is_an_error(small_config, loud):
    with pytest.raises(ValueError, match="every token is ruled out"):
        written(loud(Decoder(small_config())), mask=UpTo(39, 5))


def test_writing_ends_before_the_stop_token(small_config, loud):
    model = loud(Decoder(small_config()))
    free = written(model)
    stop = free[-1]
    assert written(model, stop=stop) == free[: free.index(stop)]


@pytest.mark.parametrize(("capacity", "count"), [(4, 0), (5, 1), (7, 3), (30, 12)])
def test_writing_ends_when_the_cache_is_full(small_config, loud, capacity, count):
    model = loud(Decoder(small_config()))
    assert written(model, capacity=capacity) == slowly(model, 12)[:count]


def test_position_and_segment_reach_the_model(small_config, loud):
    model = loud(Decoder(small_config(n_segments=2)))
    told = written(model, position=len(PROMPT) - 1, segment=0)
    assert told == written(model)
    moved = [written(model, position=20), written(model, segment=1)]
    assert all(tokens != told for tokens in moved)


@pytest.mark.parametrize("guesses", [False, True])
def test_steps_in_fixed_tensors_write_the_same(config, loud, monkeypatch, guesses):
    model = loud(Decoder(config))

    def write() -> list[int]:
        lookup = Lookup([*range(40), *range(40), *PROMPT]) if guesses else None
        return written(model, capacity=26, new=20, position=9, segment=1, lookup=lookup)

    plain = write()
    monkeypatch.setattr("ragformer.nn.generate.STEPPED_ON", ("cpu",))
    assert write() == plain


def test_keep_only_leaves_the_allowed_logits_as_they_are():
    kept = keep_only(torch.tensor([1.0, 2.0, 3.0]), {0, 2})
    assert kept.tolist() == [1.0, float("-inf"), 3.0]


def test_guesses_change_nothing_that_is_written(config, loud):
    model = loud(Decoder(config))
    for prompt in ([], written(model) * 2, list(range(40)) * 2):
        plain = written(model, capacity=30, new=24)
        assert written(model, capacity=30, new=24, lookup=Lookup([*prompt, *PROMPT])) == plain


def test_guesses_keep_to_a_mask_and_to_a_seed(small_config, loud):
    model = loud(Decoder(small_config()))
    for seed in range(4):
        sampling = Sampling(max_new_tokens=20, temperature=2.0, seed=seed)
        one, other = (
            written(model, sampling=sampling, mask=UpTo(0, 3), lookup=lookup)
            for lookup in (None, Lookup([*range(1, 30), *PROMPT]))
        )
        assert one == other


def test_what_is_read_ahead_fits_the_cache(small_config, loud):
    model = loud(Decoder(small_config()))
    plain = written(model, capacity=9, new=50)
    lookup = Lookup([*PROMPT, *plain, *PROMPT])
    assert len(plain) == 5
    assert written(model, capacity=9, new=50, lookup=lookup) == plain


def test_right_guesses_are_read_together(small_config, loud, tokens_a_step):
    model = loud(Decoder(small_config()))
    plain = written(model, capacity=30, new=20)
    steps = tokens_a_step(model)
    lookup = Lookup([*PROMPT, *plain, *PROMPT])
    assert written(model, capacity=30, new=20, lookup=lookup) == plain
    assert len(steps) - 1 < 20 / 3  # the first read the prompt
    assert sorted(set(steps))[-2:] == [4, 8]  # more, the more were right


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(0, 6))
def test_a_guess_is_what_followed_the_same_tokens_last(tokens, most):
    guess = Lookup(tokens).guess(most)
    assert len(guess) <= most
    if not guess:
        return
    text = tokens + guess
    fits = [
        at
        for n in range(2, LONGEST_GRAM + 1)
        for at in range(n, len(tokens))
        if tokens[at - n : at] == tokens[-n:] and text[at : at + len(guess)] == guess
    ]
    assert fits


def test_nothing_is_guessed_of_tokens_that_are_new():
    assert Lookup([1, 2, 3, 4]).guess(4) == []
    assert Lookup([]).guess(4) == []
