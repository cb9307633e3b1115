"""The five tables of a session as typed columns and rows; CSV and Parquet are written from them.

- `Column`, `Records`  a column with its type, unit and meaning; a table by name
- `all_records`        the tables `sites`, `top`, `channels`, `samples` and `quantization`

Unknown numbers are None or NaN, infinite ones infinite. Text is as it came: hostile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.analysis.channels import channel_maxima
from engine.analysis.model import ModelSummary
from engine.analysis.site import summarise
from engine.base.wording import CSV_NOTE
from engine.fields.field import Kind, SiteField
from engine.fields.registry import SITE_FIELDS, in_file
from engine.quantization.groups import group_of
from engine.quantization.populations import read_board
from engine.report.plain import text
from engine.report.quantization import site_errors
from engine.session.reader import SessionReader

LARGEST_CHANNELS: Final = 16
X: Final = "activation"
_TOKENS_BETWEEN: Final = "tokens in which the channel's |x| exceeds the {} threshold, at {}"


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `unit` is empty for names, `activation` for numbers in the activation's own unit."""

    name: str
    kind: Kind
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Records:
    """One table; `rows` can be read once and has a value per column."""

    name: str
    columns: tuple[Column, ...]
    rows: Iterable[Sequence[Any]]


def _column(field: SiteField) -> Column:
    return Column(field.name, field.kind, field.unit, field.meaning)


_SITE: Final = _column(SITE_FIELDS["site"])
_CHANNEL: Final = Column("channel", "integer", "", "channel, from 0")
_SAMPLE: Final = Column("sample", "integer", "", "number of the sample")
_GROUP: Final = _column(SITE_FIELDS["group"])
_TOP: Final = (
    _SITE,
    Column("rank", "integer", "", "1 for the largest |x|"),
    Column("value", "real", X, "x with its sign"),
    _SAMPLE,
    Column("position", "integer", "tokens", "position in the sample, from 0"),
    _CHANNEL,
    Column("token_id", "integer", "", "the tokenizer's id"),
    Column("token", "text", "", f"the text the token contributes; what does not print is escaped; {CSV_NOTE}"),
)
_CHANNELS: Final = (
    _SITE,
    _CHANNEL,
    Column("max_abs", "real", X, "largest |x| of the channel; empty where nothing finite of it is known"),
    Column("kind", "text", "", "massive, outlier or mixed; empty where it does not stand out"),
    Column("massive_tokens_at_least", "integer", "tokens", _TOKENS_BETWEEN.format("massive", "least")),
    Column("massive_tokens_at_most", "integer", "tokens", _TOKENS_BETWEEN.format("massive", "most")),
    Column("large_tokens_at_least", "integer", "tokens", _TOKENS_BETWEEN.format("large", "least")),
    Column("large_tokens_at_most", "integer", "tokens", _TOKENS_BETWEEN.format("large", "most")),
    Column("tokens", "integer", "tokens", "valid tokens of the site"),
)
_SAMPLES: Final = (
    _SAMPLE,
    Column("category", "text", "", "its category"),
    Column("tokens", "integer", "tokens", "its length"),
    Column("run_order", "integer", "", "place in the order of the run, from 1; empty if not measured"),
    Column("max_abs", "real", X, "largest |x| over the sites that count for M; empty if not measured"),
)
_QUANTIZATION: Final = (
    _SITE,
    Column("scheme", "text", "", "name of the quantiser"),
    Column("source", "text", "", "from histogram, or in pass: how the error became known"),
    Column("errors_over", "text", "", "samples whose error it is: evaluation or all"),
    Column("bits", "integer", "bits", "bits of an element, scales not counted"),
    Column("count", "integer", "elements", "finite elements the error is over"),
    Column("sqnr_db", "real", "dB", "10 log10(sum x^2 / sum error^2); infinite for no error"),
    Column("rel_rmse", "real", "1", "root mean square error / rms"),
    Column("rel_mae", "real", "1", "mean |error| / mean |x|"),
    Column("clip_rate", "real", "1", "share of elements beyond their threshold"),
    Column("threshold", "real", X, "|x| up to which nothing is clipped; empty where scales change within the tensor"),
    Column("exact", "flag", "", "whether the error is exact; not so from float32's histogram"),
    Column("zeroed", "real", "1", "share of the elements that were not 0 and became 0"),
    Column("bulk_db", "real", "dB", "SQNR of the elements that are not massive"),
    Column("below_top_db", "real", "dB", "SQNR of all but the 100 largest |x|"),
    Column("damage", "real", "1", "relative change of the residual stream behind the block; empty if not measured"),
    _GROUP,
)


def all_records(reader: SessionReader, summary: ModelSummary) -> Iterator[Records]:
    """The five tables, each to be read before the next is asked for."""
    yield Records("sites", tuple(map(_column, in_file("table"))), _site_rows(summary))
    yield Records("top", _TOP, _top_rows(reader, summary))
    yield Records("channels", _CHANNELS, _channel_rows(reader))
    yield Records("samples", _SAMPLES, _sample_rows(reader))
    yield Records("quantization", _QUANTIZATION, _quantization_rows(reader, summary))


def _site_rows(summary: ModelSummary) -> Iterator[Sequence[Any]]:
    for site, found in zip(summary.plan.sites if summary.plan else (), summary.sites, strict=True):
        if found is not None:
            yield [one.of(site, found) for one in in_file("table")]


def _top_rows(reader: SessionReader, summary: ModelSummary) -> Iterator[Sequence[Any]]:
    tokens: dict[int, NDArray[np.int32]] = {}
    for site, found in zip(summary.plan.sites if summary.plan else (), summary.sites, strict=True):
        for rank, entry in enumerate(found.top if found else (), 1):
            if entry.sample not in tokens:
                record = reader.sample(entry.sample)
                tokens[entry.sample] = record.token_ids if record else np.zeros(0, np.int32)
            ids = tokens[entry.sample]
            token = int(ids[entry.position]) if entry.position < len(ids) else None
            piece = text(reader.pieces([token])[0]) if token is not None else ""
            yield site.name, rank, entry.value, entry.sample, entry.position, entry.channel, token, piece


def _channel_rows(reader: SessionReader) -> Iterator[Sequence[Any]]:
    """Channels that stand out, then the others among the largest."""
    plan = reader.meta().plan
    with reader.snapshot():
        for site, totals in zip(plan.sites if plan else (), reader.iter_totals(), strict=True):
            if totals is None or not totals.has("channel_max"):
                continue
            named = summarise(totals).channels or ()
            for c in named:
                massive, large = c.massive_tokens, c.large_tokens
                between = (massive.lower, massive.upper, large.lower, large.upper)
                yield site.name, c.channel, c.magnitude, c.kind, *between, c.tokens
            known = {c.channel for c in named}
            tokens = int(totals.tokens) if totals.has("tokens") else None
            maxima = channel_maxima(totals)
            order = np.argsort(-maxima, kind="stable")[:LARGEST_CHANNELS].tolist()
            for channel in (c for c in order if c not in known):
                yield site.name, channel, float(maxima[channel]), "", None, None, None, None, tokens


def _sample_rows(reader: SessionReader) -> Iterator[Sequence[Any]]:
    with reader.snapshot():
        plan, maxima = reader.meta().plan, reader.sample_maxima()
        labels, done = reader.sample_labels(), reader.samples_done().tolist()
    counted = [i for i, site in enumerate(plan.sites if plan else ()) if site.counts_for_m and i < len(maxima)]
    largest = _largest(maxima[counted]) if counted else np.full(maxima.shape[1:], np.nan)
    order = {number: place for place, number in enumerate(done, 1)}
    for number, category, tokens in labels:
        measured = float(largest[number]) if number < len(largest) else None
        yield number, category, tokens, order.get(number), measured


def _quantization_rows(reader: SessionReader, summary: ModelSummary) -> Iterator[Sequence[Any]]:
    for one in site_errors(read_board(reader), summary.plan):
        scheme, e = one.scheme, one.error
        about = (one.site.name, scheme.name, scheme.source, one.errors_over, scheme.bits, e.count)
        errors = (e.sqnr_db, e.rel_rmse, e.rel_mae, e.clip_rate, e.threshold, e.is_exact)
        yield *about, *errors, e.zeroed, e.bulk_db, e.below_top_db, one.damage, group_of(one.site)


def _largest(maxima: NDArray[np.float32]) -> NDArray[np.float64]:
    known = ~np.isnan(maxima)
    values = np.where(known, maxima, -np.inf).astype(np.float64).max(0)
    result: NDArray[np.float64] = np.where(known.any(0), values, np.nan)
    return result
