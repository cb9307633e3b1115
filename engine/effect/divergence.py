"""How far predictions moved from the unchanged model's, token by token.

- `compare`     float32 log-softmax of both, in pieces: KL, agreement, negative log likelihoods
- `Predictions` what is kept of every predicted token
- `summarise_predictions`  the numbers of a change, overall and by category
- `perplexity_of`  exp of a mean negative log likelihood
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.effect.head import LanguageHead
from engine.effect.results import CategoryEffect, Numbers
from engine.effect.samples import tokens_by_category


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Predicted tokens of one or more batches under one change, each array [n].

    Attributes:
        kl: float32, KL(P_ref || P_changed) in nats.
        agrees: bool, whether both find the same token most likely.
        nll: float32, -ln P_changed(token that follows).
        nll_reference: float32, the same of the unchanged model.
    """

    kl: NDArray[np.float32]
    agrees: NDArray[np.bool_]
    nll: NDArray[np.float32]
    nll_reference: NDArray[np.float32]

    @classmethod
    def joined(cls, parts: Sequence[Predictions]) -> Predictions:
        """Those of several batches, one after the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


def compare(
    head: LanguageHead, reference: torch.Tensor, changed: Sequence[torch.Tensor], targets: torch.Tensor
) -> Generator[None, None, list[Predictions]]:
    """Compare hidden states through the head; yields after each piece.

    Args:
        head: of the model.
        reference: [n, D], hidden states of the unchanged model, one row per prediction.
        changed: the same of every change.
        targets: int64 [n], the tokens that follow.

    Returns:
        One `Predictions` for every change. KL is taken over the whole vocabulary; rounding below zero is cut off.
    """
    pieces: list[list[tuple[torch.Tensor, ...]]] = []
    for part in head.chunks(len(reference)):
        pieces.append(_piece(head, reference[part], [hidden[part] for hidden in changed], targets[part, None]))
        yield
    return [
        Predictions(*(torch.cat([piece[number][i] for piece in pieces]).cpu().numpy() for i in range(4)))
        for number in range(len(changed))
    ]


def _piece(
    head: LanguageHead, reference: torch.Tensor, changed: Sequence[torch.Tensor], targets: torch.Tensor
) -> list[tuple[torch.Tensor, ...]]:
    """The fields of `Predictions` for a few rows under every change; the logits are gone when it returns."""
    expected = torch.log_softmax(head.logits(reference).float(), dim=-1)
    wanted = targets.to(expected.device)
    weights, best = expected.exp(), expected.argmax(dim=-1)
    expected_nll = -expected.gather(-1, wanted)[:, 0]
    rows = []
    for hidden in changed:
        found = torch.log_softmax(head.logits(hidden).float(), dim=-1)
        agrees, nll = found.argmax(dim=-1) == best, -found.gather(-1, wanted)[:, 0]
        # Where a token is impossible its weight is 0 and the difference of logarithms may be NaN.
        terms = torch.where(weights > 0, found.neg_().add_(expected).mul_(weights), 0.0)
        rows.append((terms.sum(dim=-1).clamp_min(0.0), agrees, nll, expected_nll))
    return rows


def summarise_predictions(
    found: Predictions, samples: NDArray[np.int32], categories: Mapping[int, str]
) -> tuple[Numbers, tuple[CategoryEffect, ...]]:
    """The numbers over all predictions whose numbers are finite, and by category.

    Args:
        found: of one change.
        samples: int32 [n], the sample of each prediction.
        categories: of each sample.
    """
    finite = np.isfinite(found.kl) & np.isfinite(found.nll) & np.isfinite(found.nll_reference)
    by_category = tuple(
        CategoryEffect(
            category=name,
            tokens=int(here.sum()),
            perplexity_reference=perplexity_of(found.nll_reference[here]),
            perplexity=perplexity_of(found.nll[here]),
            kl_mean=_mean(found.kl[here]),
            agreement=_mean(found.agrees[here]),
        )
        for name, mask in tokens_by_category(categories, samples).items()
        if (here := mask & finite).any()
    )
    kl, nll, reference = found.kl[finite], found.nll[finite].astype(np.float64), found.nll_reference[finite]
    difference = nll - reference
    many = len(kl) > 1
    numbers = Numbers(
        tokens=len(kl),
        nonfinite_tokens=int((~finite).sum()),
        kl_mean=_mean(kl),
        kl_q95=float(np.quantile(kl, 0.95)) if len(kl) else math.nan,
        kl_max=float(kl.max()) if len(kl) else math.nan,
        agreement=_mean(found.agrees[finite]),
        perplexity=perplexity_of(nll),
        perplexity_reference=perplexity_of(reference),
        nll_difference=_mean(difference),
        nll_difference_error=float(difference.std(ddof=1) / math.sqrt(len(kl))) if many else math.nan,
    )
    return numbers, by_category


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean(dtype=np.float64)) if len(values) else math.nan


def perplexity_of(nll: NDArray[Any]) -> float:
    """Exp of the mean; infinite where that is beyond float64."""
    mean = _mean(nll)
    return math.inf if mean > 709 else math.exp(mean)
