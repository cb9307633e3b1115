"""The newest scalars of a site are read by name, whatever their order."""

from __future__ import annotations

import math
import re

import numpy as np

from engine.session.records import LiveTable
from engine.statistics.fields import LIVE_FIELDS
from tests.test_house import HOME

_BY_NUMBER = re.compile(r"live\.data\[[^\]]*\]|\brow\[\d+\] [<>]")


def test_a_row_and_a_column_say_the_same_by_name() -> None:
    table = LiveTable(0, np.arange(2.0 * len(LIVE_FIELDS)).reshape(2, -1))
    row = table.row(1)
    assert row is not None
    assert row._asdict() == {name: table.column(name)[1] for name in LIVE_FIELDS}
    assert table.row(2) is None and table.row(-1) is None


def test_the_peak_has_the_sign_of_the_larger_end() -> None:
    data = np.full((3, len(LIVE_FIELDS)), np.nan)
    for site, ends in enumerate([(3.0, -5.0), (5.0, -5.0)]):
        data[site, LIVE_FIELDS.index("max")], data[site, LIVE_FIELDS.index("min")] = ends
    table = LiveTable(0, data)
    rows = [table.row(site) for site in range(3)]
    assert [row.peak for row in rows[:2] if row] == [-5.0, 5.0]
    np.testing.assert_array_equal(table.peak, [row.peak for row in rows if row])
    assert math.isnan(table.peak[2])


def test_no_code_reads_a_live_row_by_number() -> None:
    files = [path for room in ("engine", "maxact_tui") for path in (HOME / room).rglob("*.py")]
    table = HOME / "engine" / "session" / "records.py"
    found = {path.name for path in files if path != table and _BY_NUMBER.search(path.read_text(encoding="utf-8"))}
    assert not found
