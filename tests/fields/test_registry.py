"""Every field of a site is declared once, is what it is declared to be, and is the same live as at a checkpoint."""

from __future__ import annotations

import math
import re
from dataclasses import fields

import numpy as np
import pytest

from engine.analysis.model import ModelSummary, analyse
from engine.analysis.site import SiteSummary
from engine.fields.field import GOT, SiteField
from engine.fields.registry import SHOWN, SITE_FIELDS, in_file, shown
from engine.report.conditions import QUANTITIES
from engine.session.reader import SessionReader
from maxact_tui.cli.options import FAIL_ON_HELP
from maxact_tui.watching.looking import _live_of
from tests.analysis import sessions

TYPES = {"text": str, "integer": int, "real": float, "flag": bool}
UNITS = {"", "activation", "1", "elements", "tokens", "dB"}
DETAILS = [("bfloat16", "compat"), ("float32", "standard"), ("bfloat16", "lean")]


@pytest.fixture(scope="module", params=DETAILS, ids="-".join)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelSummary:
    dtype, detail = request.param
    path = tmp_path_factory.mktemp("fields") / "s.maxact"
    with SessionReader(sessions.write_session(path, dtype, detail=detail)) as reader:
        return analyse(reader)


@pytest.mark.parametrize("field", SITE_FIELDS.values(), ids=lambda field: field.name)
def test_a_declaration_is_complete(field: SiteField) -> None:
    assert field.unit in UNITS and field.got in GOT
    assert field.meaning and not field.meaning.endswith(".") and not field.tells.endswith(".")
    assert field.sentence.endswith(".") and field.sentence[0].isupper()
    assert (field.kind in ("integer", "real")) or field.range is None
    if field.range is not None:
        assert field.range.why and (field.range.good, field.range.bad) != (None, None)


def test_every_value_is_of_its_kind(model: ModelSummary) -> None:
    assert model.plan is not None
    for site, found in zip(model.plan.sites, model.sites, strict=True):
        if found is None:
            continue
        for field in SITE_FIELDS.values():
            if field.got == "quantiser":
                with pytest.raises(LookupError):
                    field.of(site, found)
                continue
            value = field.of(site, found)
            if value is None:
                assert field.is_optional
            else:
                assert type(value) is TYPES[field.kind]
                assert not field.choices or value in field.choices


def test_live_it_is_the_number_of_the_checkpoint(model: ModelSummary) -> None:
    assert model.plan is not None
    live = _live_of(model)
    known = 0
    for field in SITE_FIELDS.values():
        if field.live is None:
            continue
        values = field.live(live)
        for site, found, value in zip(model.plan.sites, model.sites, values.tolist(), strict=True):
            if found is None:
                assert math.isnan(value)
            else:
                assert value == pytest.approx(field.of(site, found), nan_ok=True)
                known += 1
    assert known


def test_every_number_of_the_summary_is_declared_and_exported() -> None:
    numbers = {one.name for one in fields(SiteSummary) if str(one.type).partition(" | ")[0] in ("float", "int")}
    assert numbers <= {one.name for one in in_file("json")} & {one.name for one in in_file("table")}


def test_places_show_what_is_declared() -> None:
    for place in SHOWN:
        headings = [heading for heading, _ in shown(place)]
        assert len(set(headings)) == len(headings) > 0


def test_the_help_of_fail_on_names_every_quantity() -> None:
    assert [name for name in QUANTITIES if not re.search(rf"\b{name}\b", FAIL_ON_HELP)] == []


@pytest.mark.parametrize("which", ["good", "bad"])
def test_int8_keeps_what_the_range_of_crest_says(which: str) -> None:
    bounds, decibels = SITE_FIELDS["crest"].range, SITE_FIELDS["sqnr"].range
    assert bounds is not None and decibels is not None
    x = np.random.default_rng(0).normal(size=200_000)
    x[0] = getattr(bounds, which)  # over an rms of 1 it is the crest
    step = np.abs(x).max() / 127
    error = np.round(x / step) * step - x
    sqnr = 10 * np.log10((x @ x) / (error @ error))
    assert sqnr == pytest.approx(getattr(decibels, which), abs=0.5)
