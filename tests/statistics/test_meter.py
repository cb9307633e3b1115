"""The meter measures every tensor it can, names every one it cannot, and its totals survive stops and resumes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from engine.base.job import Detail
from engine.messages import Message, words
from engine.statistics.backends import BackendError, choose_backend, warm_up
from engine.statistics.fields import LIVE_FIELDS
from engine.statistics.meter import Meter
from engine.statistics.state import state_bytes
from engine.statistics.totals import SiteTotals
from tests.statistics.judge import assert_same_totals, judge
from tests.values import some

WIDTH, SAMPLES = 6, 9


@dataclass
class Problems:
    found: list[tuple[int, str]] = field(default_factory=list)

    def __call__(self, site: int, problem: Message) -> None:
        self.found.append((site, words(problem)))


@pytest.fixture
def problems() -> Problems:
    return Problems()


def new_meter(problems: Problems, *, sites: int = 2, detail: Detail = "standard", backend: str = "auto") -> Meter:
    return Meter(sites, SAMPLES, detail, backend, [True] * sites, problems)


def hidden(seed: int, batch: int, length: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return (torch.randn(batch, length, WIDTH, generator=torch.Generator().manual_seed(seed)) * 60).to(dtype)


def begin(meter: Meter, samples: list[int], lengths: list[int]) -> np.ndarray:
    """Start a right-padded batch of these samples; returns its mask [B, T]."""
    mask = np.arange(max(lengths))[None, :] < np.array(lengths)[:, None]
    row, position = np.nonzero(mask)
    meter.begin_batch(None if mask.all() else np.flatnonzero(mask), np.array(samples)[row], position)
    return mask


def bits(x: torch.Tensor) -> np.ndarray:
    flat = x.reshape(-1, x.shape[-1]).contiguous()
    return flat.view(torch.int16).numpy().view(np.uint16)


def expected(x: torch.Tensor, mask: np.ndarray, samples: list[int]) -> SiteTotals:
    row, position = np.nonzero(mask)
    return judge(bits(x)[mask.ravel()], "bfloat16", np.array(samples)[row], position, samples=SAMPLES)


@pytest.mark.parametrize("layout", ["BTD", "ND", "columns", "transposed"])
def test_any_layout_of_the_same_numbers_is_measured_alike(problems: Problems, layout: str) -> None:
    meter, x = new_meter(problems), hidden(1, 2, 4)
    mask = begin(meter, [3, 5], [4, 2])
    views = {
        "BTD": x,
        "ND": x.reshape(-1, WIDTH),
        "columns": torch.cat([x, x.flip(-1)], -1)[..., :WIDTH],
        "transposed": x.transpose(0, 1).contiguous().transpose(0, 1),
    }
    meter.record(0, views[layout])
    meter.end_batch()
    meter.drain()
    assert_same_totals(some(meter.totals(0)), expected(x, mask, [3, 5]))
    assert meter.totals(1) is None
    assert not problems.found


def test_nothing_is_measured_twice_and_nothing_lost_over_drains(problems: Problems) -> None:
    meter, often = new_meter(problems), new_meter(problems)
    for m, each in ((meter, False), (often, True)):
        for number in range(4):
            begin(m, [2 * number, 2 * number + 1], [3, 5])
            m.record(0, hidden(number, 2, 5))
            m.end_batch()
            if each:
                m.drain()
        m.drain()
    assert_same_totals(some(often.totals(0)), some(meter.totals(0)))


def test_a_resumed_meter_ends_with_the_same_totals(problems: Problems) -> None:
    whole, first, second = (new_meter(problems, detail="compat") for _ in range(3))
    for number in range(4):
        for meter in (whole, first if number < 2 else second):
            begin(meter, [number, number + 4], [5, 5])
            meter.record(0, hidden(number, 2, 5))
            meter.record(1, hidden(number + 9, 2, 5, torch.float32))
            meter.end_batch()
    first.drain()
    for site in (0, 1):
        held = first.totals(site)
        assert held is not None
        second.load(site, SiteTotals.from_arrays(held.dtype, held.width, held.to_arrays()))
    second.drain()
    whole.drain()
    np.testing.assert_allclose(second.live(), whole.live(), rtol=1e-14)
    for site in (0, 1):
        assert_same_totals(some(second.totals(site)), some(whole.totals(site)))


def test_loading_does_not_let_the_meter_write_into_what_was_loaded(problems: Problems) -> None:
    meter = new_meter(problems)
    begin(meter, [0], [4])
    meter.record(0, hidden(0, 1, 4))
    meter.drain()
    other = new_meter(problems)
    other.load(0, some(meter.totals(0)))
    begin(other, [1], [4])
    other.record(0, hidden(1, 1, 4))
    other.drain()
    assert (int(some(meter.totals(0)).tokens), int(some(other.totals(0)).tokens)) == (4, 8)
    assert some(meter.totals(0)).histogram.sum() == 4 * WIDTH


def test_discarding_takes_back_everything_since_the_last_drain(problems: Problems) -> None:
    meter = new_meter(problems)
    begin(meter, [0, 1], [4, 4])
    meter.record(0, hidden(0, 2, 4))
    meter.drain()
    before, live = meter.totals(0), meter.live()
    begin(meter, [2, 3], [4, 4])
    meter.record(0, hidden(1, 2, 4) * 100)
    meter.record(1, hidden(2, 2, 4))
    meter.discard()
    meter.drain()
    np.testing.assert_array_equal(meter.live(), live)
    assert before is not None
    assert_same_totals(some(meter.totals(0)), before)
    assert meter.totals(1) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_what_is_set_aside_is_added_up_in_another_thread_while_the_next_batches_are_measured(
    problems: Problems, dtype: torch.dtype, backend: str
) -> None:
    at_once, aside = (new_meter(problems, detail="compat", backend=backend) for _ in range(2))
    with ThreadPoolExecutor(1) as pool:
        for number in range(8):
            for meter in (at_once, aside):
                begin(meter, [number, (number + 1) % SAMPLES], [5, 3])
                meter.record(number % 2, hidden(number, 2, 5, dtype))
                meter.end_batch()
            np.testing.assert_array_equal(aside.live(rms=False)[:, :2], at_once.live(rms=False)[:, :2])
            aside.set_aside()
            adding = pool.submit(aside.absorb)
            begin(aside, [8], [5])
            aside.record(0, hidden(99 + number, 1, 5, dtype) * 1000)
            adding.result()
            aside.discard()  # only what came after the last setting aside
    at_once.drain()
    np.testing.assert_allclose(aside.live(), at_once.live(), rtol=1e-13)
    for site in (0, 1):
        assert_same_totals(some(aside.totals(site)), some(at_once.totals(site)))
    assert not problems.found


def test_nothing_is_set_aside_over_what_was_not_added_up_yet(problems: Problems) -> None:
    meter = new_meter(problems)
    begin(meter, [0], [4])
    meter.record(0, hidden(0, 1, 4))
    meter.set_aside()
    with pytest.raises(RuntimeError, match="absorbed"):
        meter.set_aside()
    meter.absorb()
    meter.set_aside()


def test_root_mean_squares_stay_as_they_were_until_asked_for(problems: Problems) -> None:
    meter, rms, largest = new_meter(problems), LIVE_FIELDS.index("rms"), LIVE_FIELDS.index("max")
    for number in range(2):
        begin(meter, [number], [4])
        meter.record(0, hidden(number, 1, 4) * 10**number)
    begin(meter, [2], [4])
    first = meter.live()
    meter.record(0, hidden(2, 1, 4) * 100)
    assert meter.live(rms=False)[0, rms] == first[0, rms]
    assert meter.live(rms=False)[0, largest] > first[0, largest]
    meter.set_aside()
    assert meter.live()[0, rms] == first[0, rms], "its squares are not added up yet"
    meter.absorb()
    assert meter.live()[0, rms] > first[0, rms]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_live_scalars_are_those_of_the_totals_with_and_without_a_drain(
    problems: Problems, dtype: torch.dtype, backend: str
) -> None:
    meter = new_meter(problems, sites=3, backend=backend)
    columns = {name: i for i, name in enumerate(LIVE_FIELDS)}
    nothing = meter.live()
    assert nothing.shape == (3, len(LIVE_FIELDS))
    assert np.isnan(nothing[:, columns["max"]]).all()
    assert (nothing[:, columns["sample"]] == -1).all()
    for number in range(3):
        begin(meter, [number, 7 - number], [5, 5])
        x = hidden(number, 2, 5, dtype)
        x[0, 0, 0] = torch.nan
        meter.record(1, x)
        meter.end_batch()
        if number == 1:
            meter.drain()
    live = meter.live()
    meter.drain()
    np.testing.assert_allclose(meter.live(), live, rtol=1e-14)
    totals, row = meter.totals(1), dict(zip(LIVE_FIELDS, live[1], strict=True))
    assert totals is not None
    top = totals.top[0]
    assert (row["max"], row["min"]) == tuple(totals.extremes)
    assert (row["tokens"], row["nonfinite"]) == (30, 3)
    assert (row["sample"], row["position"], row["channel"]) == (top["sample"], top["position"], top["channel"])
    seen = np.concatenate([hidden(n, 2, 5, dtype).double().numpy().ravel()[1:] for n in range(3)])
    assert row["rms"] == pytest.approx(np.sqrt(np.mean(seen**2)), rel=1e-12)
    assert np.isnan(live[0, columns["max"]])


def test_rows_of_experts_are_measured_for_the_tokens_they_come_from(problems: Problems) -> None:
    meter, tokens, k = new_meter(problems), hidden(4, 2, 4), 2
    mask = begin(meter, [3, 5], [4, 2])
    token_index = torch.arange(8).repeat_interleave(k)[
        torch.randperm(8 * k, generator=torch.Generator().manual_seed(0))
    ]
    flat = tokens.reshape(-1, WIDTH)
    meter.record(0, tokens)
    meter.record(1, flat[token_index], token_index)
    meter.end_batch()
    meter.drain()
    row, position = (np.repeat(a, k) for a in np.nonzero(mask))
    wanted = judge(
        np.repeat(bits(tokens)[mask.ravel()], k, axis=0), "bfloat16", np.array([3, 5])[row], position, samples=SAMPLES
    )
    assert_same_totals(some(meter.totals(1)), wanted)
    assert not problems.found


def test_unequal_shares_of_experts_rows_are_named(problems: Problems) -> None:
    meter = new_meter(problems)
    begin(meter, [3, 5], [4, 2])
    meter.record(0, hidden(4, 2, 4))
    meter.record(1, torch.ones(9, WIDTH), torch.zeros(9, dtype=torch.int64))
    assert len(problems.found) == 1
    assert "same number" in problems.found[0][1]


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.ones(2, 4, WIDTH, dtype=torch.float64), "float64"),
        (torch.ones(2, 4, WIDTH, dtype=torch.complex64), "complex64"),
        (torch.ones(2, 4, WIDTH, dtype=torch.int64), "int64"),
        (torch.ones(2, 4, WIDTH, device="meta"), "meta"),
        (torch.ones(2, 4, 0), "empty"),
        (torch.ones(8), "dimensions"),
        (torch.ones(2, 5, WIDTH), "rows"),
    ],
)
def test_tensors_that_cannot_be_measured_are_named_once_and_counted(
    problems: Problems, tensor: torch.Tensor, words: str
) -> None:
    meter = new_meter(problems)
    for number in range(3):
        begin(meter, [number, number + 3], [4, 4])
        meter.record(0, tensor)
        meter.record(1, hidden(number, 2, 4))
        meter.end_batch()
    meter.drain()
    assert [site for site, _ in problems.found] == [0]
    assert words in problems.found[0][1]
    assert sum(meter.skipped.values()) == 3
    assert meter.totals(0) is None
    assert int(some(meter.totals(1)).tokens) == 24


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x.float(), "dtype from bfloat16 to float32"),
        (lambda x: x[..., :3], "width from 6 to 3"),
        (lambda x: x[..., :3].half(), "dtype from bfloat16 to float16 and its width from 6 to 3"),
    ],
)
def test_a_site_that_changes_its_kind_is_named_and_keeps_what_it_had(problems: Problems, change, words: str) -> None:
    meter = new_meter(problems)
    for number, make in enumerate([lambda x: x, change, change, lambda x: x]):
        begin(meter, [number], [4])
        meter.record(0, make(hidden(number, 1, 4)))
        meter.end_batch()
    meter.drain()
    assert [text for _, text in problems.found] == [f"not measured: the tensor changed its {words}"]
    assert int(some(meter.totals(0)).tokens) == 8


def test_a_resumed_site_of_another_kind_is_named(problems: Problems) -> None:
    meter = new_meter(problems)
    meter.load(0, SiteTotals.empty("float32", WIDTH, SAMPLES, census=True))
    begin(meter, [0], [4])
    meter.record(0, hidden(0, 1, 4))
    meter.drain()
    assert "float32 x 6" in problems.found[0][1]


def test_recording_outside_a_batch_is_an_error(problems: Problems) -> None:
    meter = new_meter(problems)
    with pytest.raises(RuntimeError, match="begin_batch"):
        meter.record(0, hidden(0, 1, 4))


@pytest.mark.parametrize(
    ("index", "sample", "position", "word"),
    [
        (None, [0, 0, SAMPLES], [0, 1, 0], "sample numbers"),
        (None, [1, 0], [0, 0], "ascending"),
        (None, [0, 0], [1, 1], "ascending"),
        ([0, 2], [0], [0], "same rows"),
        ([2, 1], [0, 0], [0, 1], "ascending"),
        (None, [0], [1 << 22], "positions"),
    ],
)
def test_a_batch_that_makes_no_sense_is_refused(problems: Problems, index, sample, position, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        new_meter(problems).begin_batch(
            None if index is None else np.array(index), np.array(sample), np.array(position)
        )


def test_states_made_under_inference_mode_can_be_used_outside_of_it(problems: Problems) -> None:
    meter = new_meter(problems, backend="torch")
    with torch.inference_mode():
        begin(meter, [0], [4])
        meter.record(0, hidden(0, 1, 4))
    meter.drain()
    begin(meter, [1], [4])
    meter.record(0, hidden(1, 1, 4).requires_grad_())
    meter.drain()
    assert int(some(meter.totals(0)).tokens) == 8
    assert not some(meter.totals(0)).nonfinite.any()


def test_counters_are_emptied_before_they_can_overflow(problems: Problems, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.statistics.meter.COUNTER_LIMIT", 64 * 8 * WIDTH + 1)
    meter, plain = new_meter(problems), new_meter(problems)
    largest = 0
    for number in range(4):
        for m in (meter, plain):
            begin(m, [number, number + 4], [4, 4])
            m.record(0, hidden(number, 2, 4))
            m.end_batch()
        largest = max(largest, some(meter._accumulators[0]).elements)
    assert largest == 8 * WIDTH
    np.testing.assert_array_equal(meter.live(), plain.live())
    meter.discard()
    meter.drain()
    assert meter.totals(0) is None


def test_unknown_and_unfitting_backends_are_refused_in_one_line(problems: Problems) -> None:
    with pytest.raises(BackendError, match="auto, torch, numba or triton"):
        new_meter(problems, backend="fortran")
    with pytest.raises(BackendError, match="cpu"):
        choose_backend("triton", torch.device("cpu"))
    meter = new_meter(problems, backend="triton")
    begin(meter, [0], [4])
    meter.record(0, hidden(0, 1, 4))
    meter.drain()
    assert len(problems.found) == 1
    assert "torch backend" in problems.found[0][1]
    assert int(some(meter.totals(0)).tokens) == 4


def test_without_numba_the_torch_backend_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.statistics.backends.find_spec", lambda name: None)
    assert choose_backend("auto", torch.device("cpu")).name == "torch"
    with pytest.raises(BackendError, match="pip install"):
        choose_backend("numba", torch.device("cpu"))
    warm_up("auto", torch.device("cpu")).join()


def test_warming_up_leaves_a_compiled_backend(problems: Problems) -> None:
    warm_up("auto", torch.device("cpu")).join()
    backend: Any = choose_backend("auto", torch.device("cpu"))
    assert backend.name == "numba"
    assert len(backend._kernels.sweep_rows.signatures) == 2


def test_the_memory_of_a_large_model_stays_below_200_megabytes(problems: Problems) -> None:
    samples, width = 5_000, 4_096
    assert 36 * 6 * state_bytes(width, samples, census=True) < 200e6
    meter = Meter(1, samples, "compat", "torch", [True], problems)
    begin(meter, [0], [2])
    meter.record(0, torch.ones(1, 2, width))
    state = some(meter._accumulators[0]).state
    tensors = [getattr(state, name) for name in state.__dataclass_fields__]
    found = sum(t.numel() * t.element_size() for t in tensors if isinstance(t, torch.Tensor))
    assert found == state_bytes(width, samples, census=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("backend", ["torch", "auto"])
@pytest.mark.parametrize("detail", ["lean", "standard", "compat"])
def test_nothing_in_the_forward_pass_waits_for_the_device(problems: Problems, backend: str, detail: Detail) -> None:
    meter = new_meter(problems, detail=detail, backend=backend)
    tensors = [hidden(0, 2, 5, dtype).cuda() for dtype in (torch.bfloat16, torch.float32)]
    for turn in range(3):
        begin(meter, [2 * turn, 2 * turn + 1], [5, 3])
        torch.cuda.synchronize()
        # The first turn may allocate, compile and upload; from then on a wait is an error.
        torch.cuda.set_sync_debug_mode("error" if turn else "default")
        try:
            for site, x in enumerate(tensors):
                meter.record(site, x)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        meter.end_batch()
    meter.drain()
    assert int(some(meter.totals(0)).tokens) == 24
    assert not problems.found
