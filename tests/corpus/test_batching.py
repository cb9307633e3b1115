"""Batch plans: every sample once, the budget kept, little padding, categories mixed from the start."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.batching import collate, plan_batches
from corpus.samples import Corpus
from corpus.sampling import apportion, choose_samples, seeded_order, split_samples, stratified_order
from corpus.tokenization import tokenize

CATEGORIES = ("math", "code", "web")
lengths_and_categories = st.lists(
    st.tuples(st.integers(0, 600), st.sampled_from(CATEGORIES)), min_size=0, max_size=80
).map(lambda rows: ([n for n, _ in rows], [c for _, c in rows]))


@given(lengths_and_categories, st.integers(1, 2000), st.integers(0, 5))
def test_every_sample_with_a_token_runs_exactly_once(rows, budget, seed) -> None:
    lengths, categories = rows
    plan = plan_batches(lengths, categories, token_budget=budget, seed=seed)
    assert sorted(s for batch in plan.batches for s in batch) == [s for s, n in enumerate(lengths) if n > 0]
    assert all(list(batch) == sorted(batch) and batch for batch in plan.batches)


@given(lengths_and_categories, st.integers(1, 2000), st.integers(0, 5))
def test_the_budget_holds_unless_one_sample_alone_is_longer(rows, budget, seed) -> None:
    lengths, categories = rows
    plan = plan_batches(lengths, categories, token_budget=budget, seed=seed)
    for batch in plan.batches:
        assert len(batch) * max(lengths[s] for s in batch) <= budget or len(batch) == 1
    assert plan.tokens == sum(lengths)
    assert plan.padded_tokens == sum(len(b) * max(lengths[s] for s in b) for b in plan.batches)
    assert 0 <= plan.padding_share < 1


@given(lengths_and_categories, st.integers(1, 2000), st.integers(0, 5))
def test_the_longest_sample_and_the_largest_batch_run_first(rows, budget, seed) -> None:
    lengths, categories = rows
    plan = plan_batches(lengths, categories, token_budget=budget, seed=seed)
    if plan.batches:
        assert max(lengths) in [lengths[s] for s in plan.batches[0]]
        sizes = [len(b) * max(lengths[s] for s in b) for b in plan.batches]
        assert max(sizes) == max(sizes[:2])


@given(lengths_and_categories, st.integers(1, 2000), st.integers(0, 5))
def test_the_same_seed_gives_the_same_plan(rows, budget, seed) -> None:
    lengths, categories = rows
    first = plan_batches(lengths, categories, token_budget=budget, seed=seed)
    again = plan_batches(np.array(lengths, dtype=np.int64), categories, token_budget=budget, seed=seed)
    assert first == again and first.digest == again.digest


def five_thousand() -> tuple[list[int], list[str]]:
    """The paper's mix: seven categories, 93 % of the samples at 4,096 tokens."""
    quotas = {"math": 850, "code": 850, "web": 850, "knowledge": 850, "chinese": 400, "minority": 300, "other": 900}
    categories = [name for name, count in quotas.items() for _ in range(count)]
    caps = np.random.default_rng(0).choice([256, 512, 1024, 2048, 4096], 5000, p=[0.01, 0.01, 0.02, 0.03, 0.93])
    return caps.tolist(), categories


@pytest.mark.parametrize("budget", [4096, 16_384, 65_536])
def test_padding_stays_below_one_percent_on_the_papers_mix(budget: int) -> None:
    lengths, categories = five_thousand()
    assert plan_batches(lengths, categories, token_budget=budget, seed=42).padding_share < 0.01


def test_padding_stays_below_one_percent_when_no_two_lengths_are_equal() -> None:
    generator = np.random.default_rng(1)
    lengths = np.where(generator.random(5000) < 0.93, 4096, generator.integers(60, 4096, 5000))
    plan = plan_batches(lengths, five_thousand()[1], token_budget=16_384, seed=42)
    assert plan.padding_share < 0.01


def test_every_tenth_of_the_papers_mix_holds_all_categories_in_their_shares() -> None:
    lengths, categories = five_thousand()
    plan = plan_batches(lengths, categories, token_budget=16_384, seed=42)
    order = [categories[s] for batch in plan.batches for s in batch]
    for start in range(0, 5000, 500):
        part = order[start : start + 500]
        assert 60 <= part.count("math") <= 110 and 15 <= part.count("minority") <= 45


def test_the_starter_corpus_mixes_categories_in_every_batch(starter: Corpus, demo_tokenizer) -> None:
    tokenized = tokenize(starter, demo_tokenizer, policy="raw", max_length=512)
    plan = plan_batches(tokenized.lengths, tokenized.categories, token_budget=2048, seed=42)
    kinds = [len({tokenized.categories[s] for s in batch}) for batch in plan.batches]
    assert len(plan.batches) >= 5
    assert min(kinds) >= 4
    early = {tokenized.categories[s] for batch in plan.batches[:3] for s in batch}
    assert len(early) == 7


def test_another_seed_gives_another_order_of_the_same_samples() -> None:
    lengths, categories = five_thousand()
    one = plan_batches(lengths, categories, token_budget=16_384, seed=1)
    two = plan_batches(lengths, categories, token_budget=16_384, seed=2)
    assert one.batches != two.batches and one.digest != two.digest
    assert one.padded_tokens == two.padded_tokens


def test_a_budget_below_one_or_lists_of_different_length_are_errors() -> None:
    with pytest.raises(ValueError, match="budget"):
        plan_batches([1], ["web"], token_budget=0, seed=0)
    with pytest.raises(ValueError, match="categories"):
        plan_batches([1, 2], ["web"], token_budget=8, seed=0)


def test_collated_rows_are_the_samples_tokens_padded_on_the_right(starter: Corpus, byte_level) -> None:
    tokenized = tokenize(starter, byte_level, policy="raw", max_length=512)
    batch = collate(tokenized, (2, 5, 11), pad_id=1)
    assert batch.input_ids.dtype == np.int64 and batch.lengths.dtype == np.int64 and batch.samples.dtype == np.int32
    assert batch.samples.tolist() == [2, 5, 11] and batch.padded
    for row, length, sample in zip(batch.input_ids, batch.lengths, batch.samples, strict=True):
        assert row[:length].tolist() == tokenized.tokens(int(sample)).tolist()
        assert (row[length:] == 1).all()
    assert batch.input_ids.shape == (3, batch.lengths.max())


def test_a_batch_of_equal_lengths_is_not_padded(starter: Corpus, byte_level) -> None:
    tokenized = tokenize(starter, byte_level, policy="raw", max_length=32)
    batch = collate(tokenized, (0, 1, 2))
    assert batch.input_ids.shape == (3, 32) and not batch.padded


@given(st.lists(st.sampled_from(CATEGORIES), min_size=1, max_size=60), st.integers(1, 80), st.integers(0, 3))
def test_chosen_samples_keep_the_categories_shares(categories, limit, seed) -> None:
    chosen = choose_samples(categories, limit, seed)
    assert len(chosen) == len(set(chosen)) == min(limit, len(categories))
    for name in set(categories):
        exact = categories.count(name) * len(chosen) / len(categories)
        count = sum(categories[s] == name for s in chosen)
        assert abs(count - exact) <= len(set(categories)) and (count >= 1 or limit < len(set(categories)))


@given(st.dictionaries(st.sampled_from("abcdefg"), st.integers(0, 50)), st.integers(0, 300))
def test_apportioned_shares_add_up_and_never_exceed_what_is_there(available, total) -> None:
    shares = apportion(available, total)
    assert sum(shares.values()) == min(total, sum(available.values()))
    assert all(0 <= count <= available[name] for name, count in shares.items())


@given(st.lists(st.sampled_from(CATEGORIES), min_size=2, max_size=60), st.data())
def test_calibration_and_evaluation_samples_are_disjoint_and_complete(categories, data) -> None:
    wanted = data.draw(st.integers(1, len(categories) - 1))
    split = split_samples(categories, wanted, seed=3)
    assert len(split.calibration) == wanted
    assert sorted(split.calibration + split.evaluation) == list(range(len(categories)))


def test_a_split_that_leaves_one_side_empty_is_an_error() -> None:
    for wanted in (0, 3, 4):
        with pytest.raises(ValueError, match="between 1 and 2"):
            split_samples(["a", "b", "c"], wanted, seed=0)


@given(st.lists(st.sampled_from(CATEGORIES), max_size=60), st.integers(0, 9))
def test_orders_are_permutations(categories, seed) -> None:
    assert sorted(stratified_order(categories, seed)) == list(range(len(categories)))
    assert sorted(seeded_order(len(categories), seed)) == list(range(len(categories)))


def test_seeded_orders_never_change_between_versions() -> None:
    assert seeded_order(8, 42) == [6, 7, 5, 3, 4, 1, 0, 2]
    assert stratified_order(["a", "a", "b", "c", "a", "b"], 42) == [1, 3, 5, 4, 2, 0]
