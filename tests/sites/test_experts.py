"""Experts: tokens, largest gate and largest input of each, with the token that carries it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.stored import UnsoundError
from engine.sites.experts import ExpertRows
from engine.sites.hooks import attach
from engine.statistics.expert_meter import ExpertMeter
from engine.statistics.experts import ExpertTotals, merge_experts
from engine.statistics.totals import TotalsMismatchError
from tests.sites.capture import planned
from tests.sites.families import tokens

FAMILIES = ("qwen3_moe", "gpt_oss", "deepseek_v3", "nemotron_h", "gemma4_moe")


def _measure(name: str, batches: list[list[int]], lengths: list[int], ids: torch.Tensor) -> ExpertMeter:
    """All samples in batches, right-padded, through the product's hooks."""
    model, plan = planned(name)
    meter = ExpertMeter()
    text_model = model.get_submodule(plan.text_model)
    nothing = lambda *_: None  # noqa: E731
    with torch.inference_mode(), attach(model, plan, nothing, nothing, meter.record):
        for batch in batches:
            longest = max(lengths[sample] for sample in batch)
            places = np.arange(longest)[None, :] < np.array([lengths[sample] for sample in batch])[:, None]
            row, position = np.nonzero(places)
            padded = not places.all()
            meter.begin_batch(np.flatnonzero(places) if padded else None, np.array(batch)[row], position)
            mask = torch.from_numpy(places.astype(np.int64))
            text_model(input_ids=ids[batch, :longest] * mask, attention_mask=mask if padded else None, use_cache=False)
    meter.drain()
    return meter


# (layer, "gate" or "input", expert, sample, position) -> the largest |x| of that row.
Rows = dict[tuple[int, str, int, int, int], float]


def _by_hand(name: str, lengths: list[int], ids: torch.Tensor) -> tuple[dict[int, ExpertTotals], Rows]:
    """The same from each sample alone, one (token, expert) pair at a time; and the maxima of all rows."""
    model, plan = planned(name)
    found: dict[int, ExpertTotals] = {}
    maxima: Rows = {}
    text_model = model.get_submodule(plan.text_model)
    sample = 0

    def rows_of(layer: int, rows: ExpertRows) -> None:
        totals = found.setdefault(layer, ExpertTotals.empty(rows.experts))
        gates = rows.gate if rows.gate is not None else [None] * len(rows.token_index)
        for token, expert, gate in zip(rows.token_index.tolist(), rows.expert_index.tolist(), gates, strict=True):
            totals.tokens[expert] += 1
            for what, x in (("gate", gate), ("input", rows.tokens[token])):
                if x is None:
                    continue
                maxima[layer, what, expert, sample, token] = largest = float(x.abs().max())
                kept = getattr(totals, f"{what}_max")
                kept[expert] = np.fmax(kept[expert], largest)

    nothing = lambda *_: None  # noqa: E731
    with torch.inference_mode(), attach(model, plan, nothing, nothing, rows_of):
        for sample, length in enumerate(lengths):
            text_model(input_ids=ids[sample : sample + 1, :length], attention_mask=None, use_cache=False)
    return found, maxima


@pytest.mark.parametrize("name", FAMILIES)
def test_every_expert_is_counted_with_its_largest_rows(name: str) -> None:
    lengths = [9, 4, 7, 9]
    ids = tokens(4, 9)
    meter = _measure(name, [[0, 1], [2], [3]], lengths, ids)
    expected, rows = _by_hand(name, lengths, ids)
    assert meter.layers == tuple(sorted(expected))
    for layer, totals in expected.items():
        found = meter.totals(layer)
        assert found is not None
        assert found.tokens.sum() == sum(lengths) * 2
        np.testing.assert_array_equal(found.tokens, totals.tokens)
        np.testing.assert_allclose(found.gate_max, totals.gate_max, rtol=1e-4)
        np.testing.assert_allclose(found.input_max, totals.input_max, rtol=1e-4)
        # Of rows that are nearly equally large, which is the largest is up to the kernels; any other is not there.
        for what in ("gate", "input"):
            for expert, (sample, position) in enumerate(getattr(found, f"{what}_address").tolist()):
                largest = getattr(totals, f"{what}_max")[expert]
                assert (sample < 0) == np.isnan(largest)
                if sample >= 0:
                    assert rows[layer, what, expert, sample, position] == pytest.approx(largest, rel=1e-4)


def test_an_expert_that_no_token_reaches_is_reported() -> None:
    model, plan = planned("qwen3_moe")
    lengths, ids = [1], tokens(1, 1)
    meter = _measure("qwen3_moe", [[0]], lengths, ids)
    for layer in meter.layers:
        totals = meter.totals(layer)
        assert totals is not None and len(totals.never_hit) == 2
        assert np.isnan(totals.gate_max[totals.never_hit]).all()
        assert (totals.gate_address[totals.never_hit] == -1).all()
    assert plan.layers == len(meter.layers) and model is not None


def _rows(values: list[float], experts: list[int]) -> ExpertRows:
    order = sorted(range(len(experts)), key=experts.__getitem__)
    column = torch.tensor(values)[:, None]
    index = torch.tensor(order)
    return ExpertRows(column, column[index], index, torch.tensor(experts)[index], 3)


def test_non_finite_rows_count_as_tokens_and_not_as_maxima() -> None:
    meter = ExpertMeter()
    meter.begin_batch(None, np.zeros(4, int), np.arange(4))
    meter.record(5, _rows([float("nan"), 2.0, float("inf"), -3.0], [0, 0, 1, 2]))
    meter.drain()
    totals = meter.totals(5)
    assert totals is not None
    np.testing.assert_array_equal(totals.tokens, [2, 1, 1])
    np.testing.assert_array_equal(totals.gate_max, np.array([2, np.nan, 3], np.float32))
    np.testing.assert_array_equal(totals.input_address, [[0, 1], [-1, -1], [0, 3]])


def test_ties_go_to_the_lowest_sample_and_position_in_any_order_of_batches() -> None:
    for order in ((0, 1), (1, 0)):
        meter = ExpertMeter()
        for sample in order:
            meter.begin_batch(None, np.full(3, sample), np.arange(3))
            meter.record(0, _rows([1.0, -4.0, 4.0], [2, 2, 2]))
        meter.drain()
        totals = meter.totals(0)
        assert totals is not None
        assert totals.gate_address[2].tolist() == [0, 1]


def test_discarding_forgets_only_what_was_not_drained() -> None:
    meter = ExpertMeter()
    meter.begin_batch(None, np.zeros(1, int), np.zeros(1, int))
    meter.record(0, _rows([1.0], [0]))
    meter.drain()
    meter.record(0, _rows([9.0], [0]))
    meter.discard()
    meter.drain()
    totals = meter.totals(0)
    assert totals is not None
    assert totals.tokens.tolist() == [1, 0, 0] and totals.gate_max[0] == 1


parts = st.lists(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 2.0, 3.0]), st.integers(0, 2)), min_size=1, max_size=6),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(parts, st.randoms())
def test_merging_parts_in_any_order_equals_measuring_the_whole(
    samples: list[list[tuple[float, int]]], shuffled: object
) -> None:
    whole, pieces = ExpertMeter(), []
    for number, sample in enumerate(samples):
        rows = _rows([value for value, _ in sample], [expert for _, expert in sample])
        part = ExpertMeter()
        for meter in (whole, part):
            meter.begin_batch(None, np.full(len(sample), number), np.arange(len(sample)))
            meter.record(0, rows)
        part.drain()
        pieces.append(part.totals(0))
    whole.drain()
    shuffled.shuffle(pieces)  # type: ignore[attr-defined]
    merged = ExpertTotals.empty(3)
    for piece in pieces:
        assert piece is not None
        merged = merge_experts(merged, ExpertTotals.from_arrays(piece.to_arrays()))
    expected = whole.totals(0)
    assert expected is not None
    for field, array in expected.to_arrays().items():
        np.testing.assert_array_equal(merged.to_arrays()[field], array)


def test_totals_of_different_layers_do_not_merge() -> None:
    with pytest.raises(TotalsMismatchError, match="3 and 4 experts"):
        merge_experts(ExpertTotals.empty(3), ExpertTotals.empty(4))
    with pytest.raises(UnsoundError, match="gate_max"):
        ExpertTotals.from_arrays({**ExpertTotals.empty(3).to_arrays(), "gate_max": np.zeros(2, np.float32)})
