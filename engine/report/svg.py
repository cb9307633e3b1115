"""Figures of matplotlib as SVG that stands inside an HTML page and takes its colours from it.

- `drawing`     within it figures are drawn in the page's style
- `figure`      a blank figure with one axes
- `inline_svg`  a finished figure as an SVG element
- `series`, `INK`, `MARK`  the colours of the n-th line, of text, of what is pointed out

Colours are drawn as placeholders and become CSS variables (`--ink`, `--rule`, `--c0` ...), so that one figure serves
the light and the dark page. Text stays text; it is never read as mathematics.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from engine.base.wording import printable
from engine.report.errors import ReportError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SERIES: Final = 8
LARGEST_ZOOM: Final = 1.75  # CSS pixels per point: text of 9 points is then as large as the page's
INK, RULE, MARK = "#010203", "#010204", "#010205"
_SERIES: Final = tuple(f"#0102{0x10 + n:02x}" for n in range(SERIES))
_VARIABLES: Final = {
    INK: "var(--ink)",
    RULE: "var(--rule)",
    MARK: "var(--mark)",
    **{color: f"var(--c{n})" for n, color in enumerate(_SERIES)},
}
_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "maxact-tui",
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}


def series(number: int) -> str:
    """The colour of the n-th line of a figure; after eight they repeat."""
    return _SERIES[number % SERIES]


@contextmanager
def drawing() -> Iterator[None]:
    """Draw and save figures inside it: every text and tick is made in the page's style.

    Raises:
        ReportError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise ReportError("html reports need matplotlib: pip install 'maxact-tui[report]'") from None
    with mpl.rc_context(_STYLE):
        yield


def figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A blank figure of this size in inches, with one axes; within `drawing`."""
    from matplotlib.figure import Figure as NewFigure

    made = NewFigure(figsize=(width, height), layout="constrained")
    return made, made.add_subplot()


def inline_svg(made: Figure, title: str) -> str:
    """The figure as an `<svg>` element that scales with the page; `title` is read out instead of it."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    canvas: Any = FigureCanvasSVG(made)
    canvas.print_svg(out, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _embed(out.getvalue(), title)


def _embed(document: str, title: str) -> str:
    """Strip what belongs to a file of its own: prolog, style sheet, sizes, fonts, unreferenced ids."""
    # A name in a label may hold what XML and terminals do not take.
    svg = "\n".join(printable(line) for line in document[document.index("<svg") :].split("\n"))
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r" font-family: [^;\"]*;?", "", svg)
    referenced = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: m.group() if m.group(1) in referenced else "", svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, variable)
    # A hundredth of a point is not seen; only coordinates are cut, never text.
    svg = re.sub(r'="[^"]*"', lambda found: re.sub(r"(\d\.\d{2})\d+", r"\1", found.group()), svg)
    wide = round(float(re.findall(r'viewBox="0 0 ([\d.]+)', svg)[0]) * LARGEST_ZOOM)
    head, rest = svg.split(">", 1)
    return f'{head} role="img" aria-label="{title}" style="max-width: {wide}px">{rest}'
