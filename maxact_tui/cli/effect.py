"""The command `effect`. Heavy imports where they are used.

- `register`       add it to the command line
- `name_schemes`   complete its help from the registries of quantisers
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter, validators

from maxact_tui.cli.sessions import Session
from maxact_tui.cli.trust import Trust, give

_WHERE = Group("Where quantisers work", sort_key=1)
_HOW = Group("What is measured", sort_key=2)
SCHEME_CELLS = 76
_positive = validators.Number(gte=1)
_NO_TRUST = Trust()


def register(app: App) -> None:
    """Add the command of this module."""
    app.command(effect)


def name_schemes(app: App) -> None:
    """List the schemes at the end of the command's help; done only for it, because it loads numpy."""
    from engine.effect.interventions import accepted_names

    lines = ["\nSchemes:"]
    for what, names in accepted_names():
        lines += [f"  {what}:", *textwrap.wrap(names, SCHEME_CELLS, initial_indent="    ", subsequent_indent="    ")]
    app["effect"].help_epilogue = "\n".join([*lines, ""])


def effect(
    session: Session,
    *,
    scheme: Annotated[
        list[str] | None,
        Parameter(
            group=_HOW,
            negative=(),
            help="What is done to activations, by a name listed below; several with commas."
            " [default: int8,int8-token,ablate-zero,ablate-mean]",
        ),
    ] = None,
    site: Annotated[str | None, Parameter(group=_WHERE, help="One site, such as layer_11_mlp_input.")] = None,
    component: Annotated[
        str | None, Parameter(group=_WHERE, help="All sites of a component, such as mlp_input.")
    ] = None,
    layers: Annotated[str | None, Parameter(group=_WHERE, help="Only these decoder blocks, as in 3-7,11.")] = None,
    gemm: Annotated[
        bool,
        Parameter(group=_WHERE, negative=(), help="All inputs of matrix products but the LM head's (the default)."),
    ] = False,
    exclude: Annotated[
        list[str] | None,
        Parameter(
            group=_WHERE,
            negative=(),
            help="Sites or linear modules left as they are: a name, a pattern such as '*.11.mlp.down_proj', or"
            " 're:' and a regular expression. May be repeated.",
        ),
    ] = None,
    recipe: Annotated[
        list[Path] | None,
        Parameter(
            group=_HOW,
            negative=(),
            help="A recipe for llm-compressor, as `export --format llm-compressor` writes it: smoothing, weights and"
            " inputs, its ignore list. May be repeated; without --scheme nothing else is measured.",
        ),
    ] = None,
    samples: Annotated[
        int | None, Parameter(group=_HOW, validator=_positive, help="Held-out samples at most. [default: 32]")
    ] = None,
    tokens: Annotated[
        int | None, Parameter(group=_HOW, validator=_positive, help="Their tokens at most. [default: 16384]")
    ] = None,
    calibration: Annotated[
        int | None,
        Parameter(group=_HOW, validator=_positive, help="Samples at most for static thresholds. [default: 128]"),
    ] = None,
    format: Annotated[Literal["text", "json"], Parameter(help="Of what is printed.")] = "text",  # the user's word
    listed: Annotated[bool, Parameter(name="--list", negative=(), help="Print what was measured before.")] = False,
    trust: Trust = _NO_TRUST,
) -> int:
    """Quantise or ablate activations for real: KL, agreement and perplexity on held-out samples."""
    from maxact_tui.cli.commands import effects

    as_json = format == "json"
    if listed:
        return effects.list_effects(session, as_json=as_json)
    give(session, trust)
    request = effects.make_request(
        schemes=scheme or [],
        site=site,
        component=component,
        layers=layers,
        gemm=gemm,
        exclude=exclude or [],
        recipes=recipe or [],
        amounts={"samples": samples, "tokens": tokens, "calibration": calibration},
    )
    return effects.effect(session, request, as_json=as_json)
