"""Comma-separated tables for a spreadsheet or a data frame.

- `sites_csv`     one row per site, every scalar
- `top_csv`       the 100 largest of every site, with tokens
- `channels_csv`  every channel that stands out at a site, and the 16 largest
- `samples_csv`   one row per sample: category, tokens, maximum over the sites that count for M

Unknown numbers are empty, infinite ones `inf`. Numbers are written so that they read back unchanged.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.analysis.model import ModelSummary
from engine.analysis.site import summarise
from engine.report.wording import in_csv, printable
from engine.session.reader import SessionReader

LARGEST_CHANNELS: Final = 16
_SITE_NUMBERS: Final = (
    "tokens", "count", "max", "min", "magnitude", "mean", "std", "abs_mean", "rms", "kurtosis", "crest", "zero_share",
    "abs_q25", "abs_median", "abs_q75", "abs_q90", "abs_q99", "abs_q999",
)  # fmt: skip


def sites_csv(summary: ModelSummary) -> str:
    """One row per measured site."""
    headings = (
        "site", "layer", "component", "module", "dtype", "width", "exact", *_SITE_NUMBERS,
        "nan", "positive_infinity", "negative_infinity", "layer_median_ratio", "layer_median_passes",
        "token_median_ratio", "token_median_passes", "sun_tokens",
    )  # fmt: skip
    rows = (
        (
            site.name, site.layer, site.component, in_csv(site.module), found.dtype, found.width, found.exact,
            *(getattr(found, name) for name in _SITE_NUMBERS),
            found.nonfinite.nan, found.nonfinite.positive_infinity, found.nonfinite.negative_infinity,
            found.sun_layer.ratio, found.sun_layer.passes, found.sun_token.peak_ratio, found.sun_token.passes,
            found.sun_token.tokens,
        )
        for site, found in zip(summary.plan.sites if summary.plan else (), summary.sites, strict=True)
        if found is not None
    )  # fmt: skip
    return _table(headings, rows)


def top_csv(reader: SessionReader, summary: ModelSummary) -> str:
    """The largest elements of every site."""
    headings = ("site", "rank", "value", "sample", "position", "channel", "token_id", "token")
    return _table(headings, _top_rows(reader, summary))


def channels_csv(reader: SessionReader) -> str:
    """Channels by site, the largest first."""
    headings = (
        "site", "channel", "max_abs", "kind", "massive_tokens_at_least", "massive_tokens_at_most",
        "large_tokens_at_least", "large_tokens_at_most", "tokens",
    )  # fmt: skip
    return _table(headings, _channel_rows(reader))


def samples_csv(reader: SessionReader) -> str:
    """One row per sample of the corpus; the maximum is empty for samples that were not measured."""
    with reader.snapshot():
        plan, maxima = reader.meta().plan, reader.sample_maxima()
        labels, done = reader.sample_labels(), reader.samples_done().tolist()
    counted = [i for i, site in enumerate(plan.sites if plan else ()) if site.counts_for_m and i < len(maxima)]
    largest = _largest(maxima[counted]) if counted else np.full(maxima.shape[1:], np.nan)
    order = {number: place for place, number in enumerate(done, 1)}
    headings = ("sample", "category", "tokens", "run_order", "max_abs")
    rows = (
        (number, in_csv(category), tokens, order.get(number), float(largest[number]) if number < len(largest) else None)
        for number, category, tokens in labels
    )
    return _table(headings, rows)


def _largest(maxima: NDArray[np.float32]) -> NDArray[np.float64]:
    known = ~np.isnan(maxima)
    values = np.where(known, maxima, -np.inf).astype(np.float64).max(0)
    result: NDArray[np.float64] = np.where(known.any(0), values, np.nan)
    return result


def _top_rows(reader: SessionReader, summary: ModelSummary) -> Iterator[Sequence[Any]]:
    tokens: dict[int, NDArray[np.int32]] = {}
    for site, found in zip(summary.plan.sites if summary.plan else (), summary.sites, strict=True):
        for rank, entry in enumerate(found.top if found else (), 1):
            if entry.sample not in tokens:
                record = reader.sample(entry.sample)
                tokens[entry.sample] = record.token_ids if record else np.zeros(0, np.int32)
            ids = tokens[entry.sample]
            token = int(ids[entry.position]) if entry.position < len(ids) else None
            text = in_csv(reader.pieces([token])[0]) if token is not None else ""
            yield site.name, rank, entry.value, entry.sample, entry.position, entry.channel, token, text


def _channel_rows(reader: SessionReader) -> Iterator[Sequence[Any]]:
    plan = reader.meta().plan
    with reader.snapshot():
        for site, totals in zip(plan.sites if plan else (), reader.iter_totals(), strict=True):
            if totals is None:
                continue
            named = summarise(totals).channels or ()
            for c in named:
                yield (
                    site.name, c.channel, c.magnitude, c.kind, c.massive_tokens.lower, c.massive_tokens.upper,
                    c.large_tokens.lower, c.large_tokens.upper, c.tokens,
                )  # fmt: skip
            known = {c.channel for c in named}
            order = np.argsort(-totals.channel_max, kind="stable")[:LARGEST_CHANNELS].tolist()
            for channel in (c for c in order if c not in known):
                yield (
                    site.name,
                    channel,
                    float(totals.channel_max[channel]),
                    "",
                    None,
                    None,
                    None,
                    None,
                    int(totals.tokens),
                )


def _table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    return value if isinstance(value, str) else printable(str(value))
