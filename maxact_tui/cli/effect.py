"""The command `effect`. Heavy imports where they are used.

- `register`  add it to the command line
"""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Group, Parameter, validators

from maxact_tui.cli.sessions import Session

_WHERE = Group("Where quantisers work", sort_key=1)
_HOW = Group("What is measured", sort_key=2)
_positive = validators.Number(gte=1)


def register(app: App) -> None:
    """Add the command of this module."""
    app.command(effect)


def effect(
    session: Session,
    *,
    scheme: Annotated[
        list[str] | None,
        Parameter(
            group=_HOW,
            negative=(),
            help="int8, int8-token, int4-g32, e4m3, int8-q0.999, int8-keep2, ablate-zero, ablate-mean@LAYER, none; "
            "several with commas. [default: int8,int8-token,ablate-zero,ablate-mean]",
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
) -> int:
    """Quantise or ablate activations for real: KL, agreement and perplexity on held-out samples."""
    from maxact_tui.cli.commands import effects

    as_json = format == "json"
    if listed:
        return effects.list_effects(session, as_json=as_json)
    request = effects.make_request(
        schemes=scheme or [],
        site=site,
        component=component,
        layers=layers,
        gemm=gemm,
        amounts={"samples": samples, "tokens": tokens, "calibration": calibration},
    )
    return effects.effect(session, request, as_json=as_json)
