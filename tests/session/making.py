"""Small session files for the tests of this room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.base.job import Job
from engine.session.records import SampleRecord, Status
from engine.session.writer import SessionWriter
from engine.sites.site import HookPlan, MissingSite, Site
from engine.statistics.experts import ExpertTotals
from engine.statistics.fields import LIVE_FIELDS
from engine.statistics.totals import TOP_DTYPE, SiteTotals

PLAN = HookPlan(
    sites=(
        Site("embedding", None, "embedding", "model.embed_tokens", kind="embedding"),
        Site("layer_0_mlp_gate", 0, "mlp_gate", "model.layers.0.mlp.gate_up_proj", columns=(0, 8), kind="dense"),
        Site("layer_0_hidden", 0, "hidden", "model.layers.0", element=0, kind="block"),
    ),
    missing=(MissingSite((0,), "attn_output", "no such module"),),
    family="tiny",
    layers=1,
    hidden_size=8,
    text_model="model",
    notes=("a note",),
)
SAMPLES = 4


def totals(seed: int, width: int = 8, samples: int = SAMPLES) -> SiteTotals:
    """Totals with every array filled, as a site would have them."""
    random = np.random.default_rng(seed)
    empty = SiteTotals.empty("bfloat16", width, samples, census=True)
    histogram = np.zeros_like(empty.histogram)
    histogram[random.choice(65_536, 500, replace=False)] = random.integers(1, 1_000, 500)
    top = np.zeros(3, TOP_DTYPE)
    top["value"] = [-300.0, 200.0, 100.5]
    top["channel"] = [1, 2, 3]
    arrays = empty.to_arrays()
    arrays.update(
        tokens=np.array(76, np.int64),
        histogram=histogram,
        extremes=np.array([200.0, -300.0]),
        channel_max=random.random(width).astype(np.float32),
        channel_tokens=random.integers(0, 3, (16, width)),
        sample_max=np.array([1.5, np.nan, 300.0, np.nan], np.float32)[:samples],
        top=top,
    )
    return SiteTotals.from_arrays("bfloat16", width, arrays)


def expert_totals() -> ExpertTotals:
    """What three experts saw."""
    return replace(ExpertTotals.empty(3), tokens=np.array([5, 0, 7]), gate_max=np.array([1, np.nan, 3], np.float32))


def fill(path: Path, *, job: Job | None = None) -> SessionWriter:
    """A session with plan, samples, batches, one tick and one checkpoint, still open."""
    writer = SessionWriter.create(path, job or Job(model="tiny"), created=1_700_000_000.0)
    writer.set_meta(plan=PLAN.to_json(), provenance={"weight_hash": "abc"}, corpus={"hash": "def"})
    writer.add_samples(
        (
            SampleRecord(i, "math" if i % 2 else "code", "en", f"line {i}", i == 1, np.arange(i + 1, dtype=np.int32))
            for i in range(SAMPLES)
        ),
        {0: b"Sum", 1: b" \xe2\x82", 2: b"\xac", 3: b"mer"},
    )
    writer.set_batches([(0, 2), (1, 3)])
    live = np.full((len(PLAN.sites), len(LIVE_FIELDS)), np.nan)
    live[2, :8] = (200.0, -300.0, 5.0, 76, 0, 2, 1, 3)
    status = Status(phase="running", samples_done=2, samples_total=4, tokens_done=76, tokens_total=154)
    writer.tick(status, live)
    writer.checkpoint(status, [totals(1), None, totals(2)], np.array([0, 2]), {1: expert_totals()})
    return writer
