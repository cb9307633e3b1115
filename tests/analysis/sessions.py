"""A small session with known contents, written by the real writer: what the analysis must find is planted in it.

Blocks 0..4 of width 16, twelve samples in three categories. Channel 5 of the first token of every sample is massive
after blocks 1, 2 and 3 (about -4,000, negative), small after block 4; channel 9 is large in every token of block 2.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.base.job import Detail, Job
from engine.session.records import Phase, SampleRecord, Status
from engine.session.writer import SessionWriter
from engine.sites.site import HookPlan, Site
from engine.statistics.totals import SiteTotals
from tests.statistics.judge import decode, judge

LAYERS, WIDTH, SAMPLES = 5, 16, 12
LENGTHS = np.array([7, 5, 9, 4, 6, 8, 5, 7, 6, 4, 9, 5])
CATEGORIES = ["math", "code", "web"] * 4
MASSIVE_CHANNEL, LARGE_CHANNEL = 5, 9
MASSIVE_LAYERS = (1, 2, 3)


def plan() -> HookPlan:
    """The paper's sites of a five-block model."""
    sites = [Site("embedding", None, "embedding", "embed_tokens")]
    for layer in range(LAYERS):
        for component in ("attn_output", "mlp_gate", "mlp_output", "hidden"):
            sites.append(Site(f"layer_{layer}_{component}", layer, component, f"layers.{layer}"))
    sites.append(Site("final_norm", None, "final_norm", "norm"))
    return HookPlan(tuple(sites), (), "llama", LAYERS, WIDTH, "model")


def to_bits(numbers: np.ndarray, dtype: str) -> np.ndarray:
    """The patterns of these numbers in `dtype`: uint32 for float32, else uint16 (bfloat16 by truncation)."""
    if dtype == "float16":
        return numbers.astype(np.float16).view(np.uint16)
    wide = numbers.astype(np.float32).view(np.uint32)
    return wide if dtype == "float32" else (wide >> 16).astype(np.uint16)


def addresses() -> tuple[np.ndarray, np.ndarray]:
    """Sample and position of every token, in order."""
    sample = np.repeat(np.arange(SAMPLES), LENGTHS)
    position = np.concatenate([np.arange(length) for length in LENGTHS])
    return sample, position


def activations(dtype: str) -> dict[str, np.ndarray]:
    """Site name -> bits [tokens, width]."""
    draws = np.random.default_rng(7)
    sample, position = addresses()
    result = {}
    for number, site in enumerate(plan().sites):
        numbers = draws.normal(0, 0.5 + 0.02 * number, (len(sample), WIDTH))
        if site.component == "hidden" and site.layer in MASSIVE_LAYERS:
            first = position == 0
            numbers[first, MASSIVE_CHANNEL] = -4000 - 16 * sample[first] - 256 * (site.layer == 2)
        if site.name == "layer_2_hidden":
            numbers[:, LARGE_CHANNEL] = 130 + draws.normal(0, 1, len(sample))
        if site.name == "layer_2_mlp_gate":
            numbers[3, 3] = 60_000  # a gate does not count for M
        result[site.name] = to_bits(numbers, dtype)
    return result


def write_session(
    path: Path,
    dtype: str = "bfloat16",
    *,
    detail: Detail = "compat",
    done: list[int] | None = None,
    phase: Phase = "finished",
    change: dict[str, np.ndarray] | None = None,
    model: str = "some/Tiny-Model",
    pieces: dict[int, bytes] | None = None,
    categories: list[str] | None = None,
) -> Path:
    """The session file: `done` samples (all by default) measured, in the order 11, 10, ..., 0."""
    order = np.array(done if done is not None else range(SAMPLES)[::-1], np.int64)
    sample, position = addresses()
    chosen = np.isin(sample, order)
    bits = {**activations(dtype), **(change or {})}
    writer = SessionWriter.create(path, Job(model=model, detail=detail), created=1.0)
    writer.add_samples(
        [
            SampleRecord(
                n, (categories or CATEGORIES)[n], "en", f"x:{n}", False, np.arange(LENGTHS[n], dtype=np.int32) + 100 * n
            )
            for n in range(SAMPLES)
        ],
        pieces or {i: f"t{i} ".encode() for i in range(1300)},
    )
    writer.set_meta(plan=plan().to_json(), provenance={"dtype": dtype}, corpus={"name": "starter", "hash": "ab"})
    totals = [
        measured(bits[site.name][chosen], dtype, sample[chosen], position[chosen], detail, site)
        for site in plan().sites
    ]
    tokens = int(LENGTHS[order].sum())
    status = Status(phase=phase, samples_done=len(order), tokens_done=tokens, samples_total=SAMPLES)
    half = len(order) // 2
    writer.checkpoint(status, totals, order[:half])
    writer.checkpoint(status, totals, order[half:])
    writer.set_status(status)
    writer.close(final=True)
    return path


def measured(
    bits: np.ndarray, dtype: str, sample: np.ndarray, position: np.ndarray, detail: str, site: Site
) -> SiteTotals:
    """The totals of a site by the judge, with the per-sample maxima taken here."""
    census = site.component != "mlp_gate"
    totals = judge(bits, dtype, sample, position, samples=SAMPLES, detail=detail, census=census)
    magnitude = np.abs(decode(bits, dtype))
    magnitude[~np.isfinite(magnitude)] = np.nan
    maxima = np.full(SAMPLES, np.nan, np.float32)
    for number in np.unique(sample):
        of_sample = magnitude[sample == number]
        if np.isfinite(of_sample).any():
            maxima[number] = np.nanmax(of_sample)
    return replace(totals, sample_max=maxima)


def values(dtype: str, name: str) -> np.ndarray:
    """The numbers of a site as float64 [tokens, width]."""
    return decode(activations(dtype)[name], dtype)
