"""Where a request stands, as a screen shows it.

- `standing_words`  the words, with a bar where progress is known
"""

from __future__ import annotations

from engine.session.requests import Standing
from maxact_tui.pages.header import progress_bar
from maxact_tui.texts.numbers import compact

BAR_CELLS = 20
_WHOLE_UP_TO = 100_000


def standing_words(standing: Standing) -> str:
    """The words, with a bar where progress is known."""
    if not standing.total:
        return standing.text
    return f"{progress_bar(standing.done / standing.total, BAR_CELLS)} {standing.words(_number)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value < _WHOLE_UP_TO else compact(value)
