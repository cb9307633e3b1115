"""Which measure of a quantised input predicts what it does to the model: Spearman's rho of each with the KL divergence.

    python tests/bench/bench_ranking.py SESSION --pieces FILE [--texts 10] [--length 160] [--table TABLE]

SESSION is a finished run with inputs of matrix products (`maxact-tui demo --sites gemm`). Each of them alone is
quantised in INT8 per tensor with the run's own threshold, and the KL divergence of the predictions on held-out texts is
taken, in float32: in bfloat16 its own rounding is worth 0.002 nats, more than most inputs cost. What was computed is
kept in FILE, piece by piece, so the bench may be stopped and goes on where it was. The measures are those of the
session, over its evaluation samples, as the board shows them. TABLE gets everything as JSON.

SmolLM2-135M, 120 inputs, 10 texts of 160 tokens: about ten minutes on two free cores.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from corpus.batching import collate
from engine.base.computing import computing
from engine.effect.calibration import places_of, stored_site
from engine.effect.changes import Quantiser
from engine.effect.head import LanguageHead
from engine.effect.interventions import Quantise
from engine.effect.replacing import replaced
from engine.effect.samples import targets_of
from engine.preparation.prepare import Prepared, prepare
from engine.quantization.populations import read_board
from engine.quantization.ranking import rank
from engine.schemes import Scheme
from engine.session.reader import SessionReader
from engine.session.splits import META, SplitRecord
from engine.sites.backbone import find_backbone
from engine.sites.site import QUANTISED_COMPONENTS
from tests.quantization.ranks import MEASURES, correlations

GROUP = 5  # texts of a piece


class Effects:
    """The unchanged model on one batch, and the KL divergence from it under one quantised input."""

    def __init__(self, prepared: Prepared, numbers: tuple[int, ...]) -> None:
        batch = collate(prepared.tokenized, numbers)
        self._prepared = prepared
        self._ids = torch.from_numpy(batch.input_ids).long()
        self._mask = torch.from_numpy(places_of(batch).astype(np.int64))
        self._rows = torch.from_numpy(targets_of(batch).rows)
        self._head = LanguageHead(prepared.loaded.model, prepared.text_model, prepared.device)
        self._blocks = [block for _, block in find_backbone(prepared.loaded.model).blocks]
        self._outputs: list[Any] = []
        hooks = [
            block.register_forward_hook(lambda _m, _a, output: self._outputs.append(output)) for block in self._blocks
        ]
        self._expected = self._log_shares()
        for hook in hooks:
            hook.remove()

    def of(self, site: int, quantiser: Quantiser) -> tuple[float, int]:
        """(sum of KL, predictions); blocks before the site's answer with what they gave the unchanged model."""
        plan = self._prepared.plan
        with (
            self._answering(plan.sites[site].layer or 0),
            replaced(self._prepared.loaded.model, plan, [site], quantiser),
        ):
            found = self._log_shares()
        kl = (self._expected.exp() * (self._expected - found)).sum(-1)
        return float(kl.double().sum()), len(kl)

    def _log_shares(self) -> torch.Tensor:
        hidden = self._head.hidden(self._ids, self._mask)
        return torch.log_softmax(self._head.logits(hidden.reshape(-1, hidden.shape[-1])[self._rows]).float(), -1)

    @contextmanager
    def _answering(self, layer: int) -> Iterator[None]:
        with ExitStack() as stack:
            for block, output in zip(self._blocks[:layer], self._outputs, strict=False):
                block.forward = lambda *_args, _output=output, **_kwargs: _output
                stack.callback(delattr, block, "forward")
            yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("session", type=Path)
    parser.add_argument("--pieces", type=Path, required=True)
    parser.add_argument("--texts", type=int, default=10)
    parser.add_argument("--length", type=int, default=160)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--sites", help="compute only sites whose name contains this")
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    pieces: dict[str, list[float]] = json.loads(options.pieces.read_text()) if options.pieces.exists() else {}
    with SessionReader(options.session) as reader:
        job = replace(reader.meta().job, dtype="float32", max_length=options.length, threads=options.threads)
        prepared = prepare(job, lambda _progress: None, measures=False)
        samples = SplitRecord.from_json(reader.meta().raw[META]).evaluation[: options.texts]
        sites = [
            n
            for n, site in enumerate(prepared.plan.sites)
            if site.component in QUANTISED_COMPONENTS and site.layer is not None
        ]
        with computing(prepared.loaded.model):
            for start in range(0, len(samples), GROUP):
                compute(prepared, reader, sites, samples[start : start + GROUP], pieces, options)
        report(reader, prepared, sites, pieces, options)


def compute(
    prepared: Prepared,
    reader: SessionReader,
    sites: list[int],
    samples: tuple[int, ...],
    pieces: dict[str, list[float]],
    options: argparse.Namespace,
) -> None:
    """Every site on some texts; what is in `pieces` is not computed again."""
    effects = None
    for number in sites:
        name = prepared.plan.sites[number].name
        key = f"{name} {'-'.join(map(str, samples))}"
        numbers = stored_site(reader, number)
        if key in pieces or numbers is None or (options.sites and options.sites not in name):
            continue
        effects = effects or Effects(prepared, samples)
        total, count = effects.of(number, Quantiser(Quantise(Scheme()), {number: numbers}))
        pieces[key] = [total, count]
        options.pieces.write_text(json.dumps(pieces))
        print(f"{key}: KL {total / count:.6f}", file=sys.stderr, flush=True)


def report(
    reader: SessionReader,
    prepared: Prepared,
    sites: list[int],
    pieces: dict[str, list[float]],
    options: argparse.Namespace,
) -> None:
    """The table, and how each measure ranks."""
    ranked = {one.site: one for one in rank(read_board(reader), "int8", sites)}
    rows = []
    for number in sites:
        site, one = prepared.plan.sites[number], ranked.get(number)
        found = [values for key, values in pieces.items() if key.split()[0] == site.name]
        if not found or one is None or one.error is None or one.local is None:
            continue
        total, count = np.sum(found, axis=0).tolist()
        numbers = {
            name: round(float(getattr(one.local, name)), 6)
            for name in ("damage", "token_median", "token_q90", "token_worst")
        }
        numbers |= {
            name: round(float(getattr(one.error, name)), 6)
            for name in ("sqnr_db", "bulk_db", "below_top_db", "zeroed", "rel_mae", "threshold")
        }
        rows.append(
            {
                "site": site.name,
                "component": site.component,
                "predictions": int(count),
                "kl": round(total / count, 9),
                **numbers,
            }
        )
    if options.table is not None:
        options.table.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    components = sorted({row["component"] for row in rows})
    print(f"{'':14}{'all':>8}" + "".join(f"{name[:14]:>16}" for name in components) + "   worst five in its ten")
    for measure in MEASURES:
        whole, picked = correlations(rows, measure)
        parts = [correlations([row for row in rows if row["component"] == name], measure)[0] for name in components]
        print(f"{measure:14}{whole:8.3f}" + "".join(f"{part:16.3f}" for part in parts) + f"   {picked}")


if __name__ == "__main__":
    main()
