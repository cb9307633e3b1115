"""The figures of the HTML report.

- `Chart`   a title, an SVG element, a caption
- `charts`  all that the session has numbers for
- `profile_comparison`  several sessions on one axis
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.analysis.published import published
from engine.analysis.site import SiteSummary
from engine.base.wording import printable
from engine.fields.registry import shown
from engine.formats import FP16_LIMIT
from engine.report.source import Source
from engine.report.svg import INK, MARK, drawing, figure, inline_svg, series
from engine.scheme_names import title_of
from engine.sites.site import COMPONENTS, Site

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colors import Normalize

THREADS = 6
CATEGORIES = 7
SCHEMES = ("int8", "int8-q0.999", "int8-paper0.999", "int8-mse", "e4m3", "int4-mse", "int8-token", "mxfp4", "nvfp4")


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure: `svg` is an element, `title` and `caption` are plain text."""

    title: str
    svg: str
    caption: str


def charts(source: Source) -> list[Chart]:
    """Every figure there are numbers for.

    Raises:
        ReportError: matplotlib is not installed.
    """
    if not source.has_numbers:
        return []
    makers: tuple[Callable[[Source], Chart | None], ...] = (
        _heatmap, _profile, _threads, _convergence, _quantisers, _published,
    )  # fmt: skip
    with drawing():
        return [chart for maker in makers if (chart := maker(source)) is not None]


def heatmaps(source: Source) -> list[Chart]:
    """The heatmap of layers and components alone; empty where there is none, or nothing to draw it with."""
    if find_spec("matplotlib") is None:
        return []
    with drawing():
        chart = _heatmap(source)
    return [chart] if chart is not None else []


def profile_comparison(
    names: Sequence[str],
    profiles: Sequence[Sequence[tuple[int, float]]],
    relative_depths: Sequence[Sequence[float]] | None,
) -> str:
    """Hidden-state maxima of several sessions on one axis, an SVG element; within `drawing`.

    Args:
        names: of the sessions.
        profiles: (layer, a_l) of each.
        relative_depths: depth from 0 to 1 of each point, for models of different depth; None for layer numbers.
    """
    made, axes = figure(7, 3.4)
    for number, (name, profile) in enumerate(zip(names, profiles, strict=True)):
        layers: Sequence[float] = [layer for layer, _ in profile]
        x = layers if relative_depths is None else relative_depths[number]
        _line(axes, x, [value for _, value in profile], f" {name[:32]}", number, dashed=number > 0)
    _finish(axes, "layer" if relative_depths is None else "depth (0 first, 1 last block)", "max |x| of hidden")
    return inline_svg(made, "Largest activation of the hidden state by layer, all sessions")


def by_layer(source: Source, component: str) -> list[tuple[int, Site, SiteSummary]]:
    """Layer, site and summary of a component's sites that saw something, ascending."""
    plan = source.summary.plan
    return sorted(
        (
            (site.layer, site, found)
            for site, found in zip(plan.sites if plan else (), source.summary.sites, strict=True)
            if found is not None and found.count and site.component == component and site.layer is not None
        ),
        key=lambda pair: pair[0],
    )


def _heatmap(source: Source) -> Chart | None:
    plan = source.summary.plan
    columns = [c for c in COMPONENTS if by_layer(source, c)]
    if plan is None or not columns:
        return None
    grid = np.full((plan.layers, len(columns)), np.nan)
    for place, component in enumerate(columns):
        for layer, _, found in by_layer(source, component):
            grid[layer, place] = np.fmax(grid[layer, place], found.magnitude)
    values = np.log10(np.where(grid > 0, grid, np.nan))
    made, axes = figure(1.6 + 0.75 * len(columns), 1.4 + 0.13 * plan.layers)
    axes.grid(visible=False)
    mesh = axes.pcolormesh(np.ma.masked_invalid(values), cmap="plasma", norm=_steps(values))
    axes.set_xticks(np.arange(len(columns)) + 0.5, [c.replace("_", "\n") for c in columns])
    step = max(1, math.ceil(plan.layers / 20))
    axes.set_yticks(np.arange(0, plan.layers, step) + 0.5, [str(n) for n in range(0, plan.layers, step)])
    axes.set_ylabel("layer")
    axes.invert_yaxis()
    bar = made.colorbar(mesh, ax=axes)
    bar.set_label("log10 max |x|")
    return Chart(
        "Where the large activations are",
        inline_svg(made, "Heat map of the largest activation by layer and component"),
        "Largest |x| of every component in every layer; what is empty does not exist or was not measured.",
    )


def _steps(values: NDArray[np.float64]) -> Normalize:
    """Steps of a half or a quarter of a decade: few enough to be read off the bar, and drawn as shapes."""
    from matplotlib.colors import BoundaryNorm

    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    step = 0.5 if high - low > 4 else 0.25
    edges = np.arange(math.floor(low / step), math.ceil(high / step) + 1) * step
    return BoundaryNorm(edges if len(edges) > 1 else np.array([edges[0], edges[0] + step]), 256)


def _profile(source: Source) -> Chart | None:
    hidden = by_layer(source, "hidden")
    if not hidden:
        return None
    made, axes = figure(7, 3.4)
    lines, layers = shown("profile"), [layer for layer, *_ in hidden]
    for number, (label, field) in enumerate(lines):
        _line(axes, layers, [field.of(site, s) for _, site, s in hidden], label, number)
    for number, component in enumerate(("attn_output", "mlp_output"), len(lines)):
        found = by_layer(source, component)
        _line(axes, [n for n, *_ in found], [s.magnitude for *_, s in found], f"{component} max", number, dashed=True)
    if source.summary.maximum is not None and source.summary.maximum.magnitude > FP16_LIMIT / 30:
        axes.axhline(FP16_LIMIT, color=MARK, linewidth=0.8, linestyle=":")
        axes.annotate("float16", (0, FP16_LIMIT), xytext=(2, 2), textcoords="offset points", color=MARK)
    _finish(axes, "layer", "|x|")
    return Chart(
        "The residual stream over the depth",
        inline_svg(made, "Maximum, quantile, rms and median of the hidden state by layer"),
        "Hidden state after each block; dashed: the maxima of the branches.",
    )


def _threads(source: Source) -> Chart | None:
    chosen = [t for t in source.summary.threads if len(t.values) > 1][:THREADS]
    if not chosen:
        return None
    made, axes = figure(7, 3)
    for number, thread in enumerate(chosen):
        layers = list(range(thread.birth, thread.birth + len(thread.values)))
        label = f"{thread.sample}:{thread.position} channel {thread.channel}"
        _line(axes, layers, [abs(v) for v in thread.values], label, number)
    _finish(axes, "layer", "|x|")
    return Chart(
        "Threads",
        inline_svg(made, "Magnitude of the largest threads by layer"),
        "One token and channel followed through the layers in which it is massive (sample:position, channel).",
    )


def _convergence(source: Source) -> Chart | None:
    whole = source.summary.convergence
    if not whole.points:
        return None
    name = source.summary.maximum.name if source.summary.maximum is not None else "M"
    made, axes = figure(7, 3)
    axes.step(
        [p.tokens for p in whole.points] + [whole.tokens],
        [p.magnitude for p in whole.points] + [whole.magnitude],
        where="post", color=INK, linewidth=2, label="all",
    )  # fmt: skip
    for number, one in enumerate(source.summary.categories[:CATEGORIES]):
        points = one.convergence.points
        if points:
            axes.step(
                [p.tokens for p in points] + [one.convergence.tokens],
                [p.magnitude for p in points] + [one.convergence.magnitude],
                where="post", color=series(number), linewidth=1, label=f" {printable(one.category, 24)}",
            )  # fmt: skip
    _finish(axes, "tokens (of all, or of the category)", f"running {name}", log=False)
    return Chart(
        f"Has {name} converged?",
        inline_svg(made, "Running maximum against the tokens seen"),
        "The running maximum in run order; a curve that still rises at its end has not converged.",
    )


def _quantisers(source: Source) -> Chart | None:
    plan = source.summary.plan
    names = [scheme.name for scheme in source.board.schemes]
    wanted = [n for n in SCHEMES if n in names]
    rows = [
        (site.layer, row)
        for site, row in zip(plan.sites if plan else (), source.board.rows, strict=True)
        if row is not None and site.component == "hidden" and site.layer is not None
    ]
    if not rows or not wanted:
        return None
    made, axes = figure(7, 3)
    for number, name in enumerate(wanted):
        column = names.index(name)
        errors = ((n, row[column]) for n, row in sorted(rows, key=lambda r: r[0]))
        finite = [(n, error.sqnr_db) for n, error in errors if error is not None and math.isfinite(error.sqnr_db)]
        _line(axes, [n for n, _ in finite], [v for _, v in finite], title_of(name), number)
    _finish(axes, "layer", "SQNR, dB", log=False)
    return Chart(
        "What quantisers make of the residual stream",
        inline_svg(made, "Signal to quantisation noise ratio by layer"),
        f"Higher is better; {source.populations}.",
    )


def _published(source: Source) -> Chart | None:
    found = source.summary.maximum
    if found is None or not found.is_m or found.magnitude <= 0:
        return None
    rows = sorted(
        [(row.magnitude, row.name, False) for row in published()]
        + [(found.magnitude, printable(source.name, 32), True)]
    )
    made, axes = figure(7, 0.8 + 0.19 * len(rows))
    axes.barh(
        range(len(rows)),
        [m for m, _, _ in rows],
        color=[MARK if mine else series(0) for _, _, mine in rows],
        height=0.7,
    )
    axes.set_yticks(range(len(rows)), [name for _, name, _ in rows])
    axes.set_xscale("log")
    _plain_numbers(axes.xaxis)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("M")
    return Chart(
        "Among the published checkpoints",
        inline_svg(made, "M of this model among the published checkpoints"),
        "The 27 checkpoints of arXiv 2605.15572; the protocols differ, see below.",
    )


def _line(axes: Axes, x: Sequence[float], y: Sequence[float], label: str, number: int, *, dashed: bool = False) -> None:
    if x and np.isfinite(y).any():
        style = "--" if dashed else "-"
        axes.plot(x, y, style, color=series(number), label=label, marker="." if len(x) < 3 else "", markersize=5)


def _finish(axes: Axes, x: str, y: str, *, log: bool = True) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if log and any((np.asarray(drawn.get_ydata(), np.float64) > 0).any() for drawn in axes.lines):
        axes.set_yscale("log")
        _plain_numbers(axes.yaxis)
    if x == "layer":
        axes.locator_params(axis="x", integer=True)
    if axes.get_legend_handles_labels()[0]:  # nothing is drawn of a model without a finite element
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _plain_numbers(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers: powers of ten, and 2 and 5 times them on a short one."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = sorted(axis.get_view_interval())
    short_axis = low > 0 and high / low < 50
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if short_axis else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
