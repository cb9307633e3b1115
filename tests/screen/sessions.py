"""Synthetic sessions for the screen's tests: a real session file with plausible totals and hostile tokens.

- `SessionScript`  writes one session step by step: plan, corpus, ticks, checkpoints, end
- `HOSTILE`        pieces that break terminals and markup
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.base.job import Job
from engine.messages import as_written
from engine.session.library import boot_identity
from engine.session.records import SampleRecord, Status
from engine.session.tables import Tables
from engine.session.writer import SessionWriter
from engine.sites.site import HookPlan, Site
from engine.statistics.fields import LIVE_FIELDS
from engine.statistics.totals import TOP_DTYPE, SiteTotals

CATEGORIES = ("math", "code", "web", "knowledge", "chinese", "minority", "other")
PAPER = ("attn_output", "mlp_gate", "mlp_output", "hidden")
HOSTILE: tuple[bytes, ...] = (
    b"\x1b]0;owned\x07",
    b"\x1b[2J\x1b[H",
    b"\x1b]52;c;b3duZWQ=\x07",
    b"[/]",
    b"[@click=app.quit]x[/]",
    b"[/foo",
    b"\r\n",
    b"\t",
    b"\xe4\xb8",
    "é́́́́".encode(),
    "👍🏽‍🔬".encode(),
    "🇩🇪".encode(),
    "\u202eevil\u200b\ufe0f\u20e3".encode(),
    b"\x00\x07\x9b31m",
    "深度學習".encode(),
)
WORDS = (b"Summer", b" is", b" warm", b".", b" Winter", b" the", b" quick", b" fox", b" jumps", b"\n", b" over")


class SessionScript:
    """One session, written as an engine would write it, but in as many steps as a test wants."""

    def __init__(
        self,
        path: Path,
        *,
        layers: int = 30,
        components: Sequence[str] = PAPER,
        samples: int = 14,
        width: int = 64,
        massive: int | None = 11,
        seed: int = 0,
        model: str = "HuggingFaceTB/SmolLM2-135M-Instruct",
        hostile: bool = True,
    ) -> None:
        self.path, self.layers, self.components = path, layers, tuple(components)
        self.width, self.massive = width, massive
        self.random = np.random.default_rng(seed)
        self._saved = False
        self.samples = [self._sample(number, hostile) for number in range(samples)]
        self.tokens_total = sum(len(s.token_ids) for s in self.samples)
        self.plan = self._plan()
        self.live = np.full((len(self.plan.sites), len(LIVE_FIELDS)), np.nan)
        self.live[:, 3:5], self.live[:, 5:], self.live[:, 8] = 0, -1, 0
        self.status = Status(
            phase="starting",
            pid=os.getpid(),
            host=socket.gethostname(),
            boot=boot_identity(),
            started=time.time(),
            heartbeat=time.time(),
            samples_total=samples,
            tokens_total=self.tokens_total,
            batches_total=samples,
        )
        self.writer = SessionWriter.create(path, Job(model=model, dtype="bfloat16", device="cpu"))

    def load(self) -> SessionScript:
        """The plan, the corpus and the vocabulary are known; the run begins."""
        pieces = WORDS + HOSTILE
        self.writer.set_meta(
            plan=self.plan.to_json(),
            provenance={"dtype": "bfloat16", "device_map": {"": "cpu"}},
            corpus={"name": "starter"},
        )
        self.writer.add_samples(self.samples, dict(enumerate(pieces)))
        self.writer.set_batches([[s.number] for s in self.samples])
        self.status = self.status.changed(phase="running", message=None)
        self.writer.set_status(self.status)
        return self

    def tick(self, share: float = 1.0, *, growth: float = 1.0) -> SessionScript:
        """New live scalars for a share of the sites; progress moves on a little."""
        changed = self.random.random(len(self.plan.sites)) < share
        for number in np.flatnonzero(changed):
            self.live[number, :8] = self._live_row(int(number), growth)
        done = min(self.status.samples_done + 1, len(self.samples))
        tokens = int(self.tokens_total * done / len(self.samples))
        self.status = self.status.changed(
            samples_done=done,
            batches_done=done,
            tokens_done=tokens,
            padded_tokens=tokens // 20,
            tokens_per_second=1234.0,
            running_seconds=tokens / 1234.0,
            heartbeat=time.time(),
        )
        self.writer.tick(self.status, self.live)
        return self

    def checkpoint(self) -> SessionScript:
        """Totals of every site, all samples seen."""
        totals = [self._totals(number) for number in range(len(self.plan.sites))]
        new = np.arange(0 if self._saved else len(self.samples))
        self._saved = True
        self.writer.checkpoint(self.status, totals, new)
        return self

    def finish(self, phase: str = "finished", detail: str = "") -> SessionScript:
        """The run has ended."""
        how = as_written(detail) if detail else None
        self.status = self.status.changed(phase=phase, message=how, ended=self.status.started + 42)
        self.writer.set_status(self.status)
        self.writer.close(final=True)
        return self

    def event(self, kind: str, text: str, *, after: float, site: int | None = None) -> SessionScript:
        """Something happened so many seconds after the start."""
        with sqlite3.connect(self.path) as db:  # in one go, for a screen that reads at any moment
            coded = as_written(text)
            said = (coded.code, json.dumps(coded.data))
            Tables(db).insert("events", self.status.started + after, self.status.tokens_done, kind, *said, site)
        return self

    def _plan(self) -> HookPlan:
        sites = [Site("embedding", None, "embedding", "embed_tokens", kind="embedding")]
        for layer in range(self.layers):
            sites += [Site(f"layer_{layer}_{c}", layer, c, f"layers.{layer}.{c}") for c in self.components]
        sites.append(Site("final_norm", None, "final_norm", "norm", kind="norm"))
        return HookPlan(tuple(sites), (), "llama", self.layers, self.width, "model", residual="pre")

    def _sample(self, number: int, hostile: bool) -> SampleRecord:
        count = 20 + 3 * number
        last = len(WORDS) + (len(HOSTILE) if hostile else 0)
        ids = self.random.integers(0, last, count).astype(np.int32)
        ids[0] = len(WORDS) + number % len(HOSTILE) if hostile and number else 0
        category = CATEGORIES[number % len(CATEGORIES)]
        return SampleRecord(number, category, "", f"starter:{number}", False, ids)

    def magnitude(self, number: int) -> float:
        """A plausible M_site: grows with depth, jumps at the massive layer, dies at the last."""
        site = self.plan.sites[number]
        if site.layer is None:
            return 1.5 if site.component == "embedding" else 46.5
        base = {"hidden": 20.0, "mlp_output": 8.0, "attn_output": 3.0, "mlp_gate": 12.0}.get(site.component, 5.0)
        value = base * (1 + site.layer / 4)
        if site.component == "hidden" and self.massive is not None and self.massive <= site.layer < self.layers - 1:
            value = 23_168.0
        if site.component == "mlp_output" and site.layer == self.massive:
            value = 23_040.0
        return value

    def _live_row(self, number: int, growth: float) -> list[float]:
        magnitude = self.magnitude(number)
        if magnitude < 20_000:
            magnitude *= growth * float(self.random.uniform(0.9, 1.0))
            return [magnitude * 0.8, -magnitude, magnitude / 30, 100, 0, number % len(self.samples), 3, number % 64]
        return [magnitude, -magnitude / 40, magnitude / 300, 100, 0, 0, 0, 50]

    def _totals(self, number: int) -> SiteTotals:
        magnitude, is_massive = self.magnitude(number), self.magnitude(number) > 20_000
        totals = SiteTotals.empty("bfloat16", self.width, len(self.samples), census=True)
        values = (self.random.standard_t(4, 20_000) * (1.2 if is_massive else magnitude / 40)).astype(np.float32)
        limit = 60.0 if is_massive else magnitude / 2
        values = np.clip(values, -limit, limit)
        values[0] = magnitude if is_massive else -magnitude
        if is_massive:  # the first token of every other sample carries nearly as much in the same channel
            places = values[50 :: 4 * self.width][: len(self.samples)]
            places[:] = magnitude * np.linspace(0.98, 0.5, len(self.samples))[: len(places)]
            values[[0, 50]] = values[[50, 0]]
            values[50] = magnitude
        patterns = (values.view(np.uint32) >> 16).astype(np.int64)
        totals.histogram[:] = np.bincount(patterns, minlength=65_536)
        totals.tokens[...] = len(values) // self.width
        # The population must be a whole number of tokens.
        spare = len(values) % self.width
        if spare:
            totals.histogram[:] -= np.bincount(patterns[-spare:], minlength=65_536)
        kept = (patterns << 16).astype(np.uint32).view(np.float32)[: len(values) - spare].astype(np.float64)
        totals.extremes[:] = kept.max(), kept.min()
        rows = kept.reshape(-1, self.width)
        totals.channel_max[:] = np.abs(rows).max(axis=0)
        totals.channel_tokens[:] = np.stack([(np.abs(rows) > 100 * 2.0**k).sum(axis=0) for k in range(16)])
        biggest = np.abs(rows).max(axis=1)
        token_patterns = (biggest.astype(np.float32).view(np.uint32) >> 16).astype(np.int64)
        totals.token_maxima[:] = np.bincount(token_patterns, minlength=32_768)
        shares = (
            np.linspace(0.98, 0.5, len(self.samples))
            if is_massive
            else self.random.uniform(0.2, 1.0, len(self.samples))
        )
        maxima = (magnitude * shares).astype(np.float32)
        totals.sample_max[:] = (maxima.view(np.uint32) & 0xFFFF0000).view(np.float32)
        totals.sample_max[0] = magnitude
        top = np.zeros(100, TOP_DTYPE)
        order = _largest(np.abs(kept), 100)
        top["value"] = kept[order]
        top["sample"] = np.arange(100) % len(self.samples)
        top["position"] = np.arange(100) // len(self.samples)
        top["channel"] = order % self.width
        return _with(totals, top, float(np.sort(np.abs(rows[0]))[(self.width - 1) // 2]))


def _largest(magnitudes: np.ndarray, count: int) -> np.ndarray:
    """Places of the largest, the largest first and of equal ones the first: a stable sort of the few that can be."""
    least = np.partition(magnitudes, -count)[-count]
    candidates = np.flatnonzero(magnitudes >= least)
    return candidates[np.argsort(-magnitudes[candidates], kind="stable")][:count]


def _with(totals: SiteTotals, top: np.ndarray, peak_median: float) -> SiteTotals:
    arrays = dict(totals.to_arrays())
    arrays["top"], arrays["peak_median"] = top, np.asarray(peak_median)
    return SiteTotals.from_arrays(totals.dtype, totals.width, arrays)


def running(path: Path, **options: object) -> SessionScript:
    """A session in the middle of its run: everything known, live numbers, one checkpoint."""
    script = SessionScript(path, **options).load()  # type: ignore[arg-type]
    for _ in range(4):
        script.tick()
    return script.checkpoint()


def finished(path: Path, **options: object) -> SessionScript:
    """A session whose run is over."""
    script = SessionScript(path, **options).load()  # type: ignore[arg-type]
    for _ in range(len(script.samples)):
        script.tick()
    script.checkpoint()
    script.event("maximum", "new maximum 23,168 at layer_11_hidden", after=3, site=4)
    script.event("problem", "3 texts were cut to 2,048 tokens", after=9)
    return script.finish()
