"""Interventions by name, and where quantisers work."""

from __future__ import annotations

import pytest

from engine.effect.errors import EffectError
from engine.effect.interventions import (
    EXAMPLES,
    Ablate,
    Quantise,
    Scope,
    format_layers,
    parse_intervention,
    parse_layers,
)
from engine.effect.request import CALIBRATION, SAMPLES, read_request
from engine.schemes import Scheme


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_name_offered_is_read_and_given_back(name: str) -> None:
    assert parse_intervention(f" {name.upper()} ").name == name


def test_names_say_what_is_done() -> None:
    assert parse_intervention("int4-group32") == Quantise(Scheme("int4", "group", 32))
    assert parse_intervention("int8-token-keep2") == Quantise(Scheme("int8", "token"), 2)
    assert parse_intervention("e4m3-q0.999") == Quantise(Scheme("e4m3", policy="quantile", value=0.999))
    assert parse_intervention("ablate-mean@L11") == parse_intervention("ablate-mean@11") == Ablate("mean", 11)
    assert parse_intervention("none") == Quantise()


def test_dynamic_scales_and_given_thresholds_need_no_calibration() -> None:
    calibrated = {
        name for name in EXAMPLES if isinstance(one := parse_intervention(name), Quantise) and one.is_calibrated
    }
    assert {"int8", "int8-q0.999", "int8-mse", "int8-asym", "int8-channel", "int8-token-keep2", "e4m3"} <= calibrated
    assert calibrated.isdisjoint({"none", "int8-token", "int4-g32", "int8-t12.5", "e4m3-unscaled", "e4m3-token"})


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("itn8", "did you mean int8?"),
        ("int8-tokn", "did you mean int8-token?"),
        ("ablate-zeros", "did you mean ablate-zero?"),
        ("int9", "int8"),
        ("xyzzy", "ablate-zero"),
        ("int8-q0.9-token", "largest |x|"),
        ("int8-asym-channel", "largest |x|"),
        ("int4-g32-asym-mse", "least and largest number"),
        ("int8-mse-keep2", "int8-keep2"),
        ("int8-g1", "at least 2"),
    ],
)
def test_a_name_that_means_nothing_is_refused_in_one_line_with_a_way_out(name: str, hint: str) -> None:
    with pytest.raises(EffectError) as caught:
        parse_intervention(name)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_layers_are_written_as_ranges() -> None:
    assert parse_layers("7, 3-5,4") == (3, 4, 5, 7)
    assert format_layers((3, 4, 5, 7)) == "3-5,7"
    for wrong in ("", "a", "5-3", "1-"):
        with pytest.raises(EffectError, match="3-7,11"):
            parse_layers(wrong)


def test_a_request_travels_as_a_command() -> None:
    request = read_request(
        {"schemes": ["int8", "INT8", "ablate-mean@3"], "scope": {"component": "mlp_input", "layers": [1]}}
    )
    assert [one.name for one in request.interventions] == ["int8", "ablate-mean@3"]
    assert request.scope == Scope(component="mlp_input", layers=(1,))
    assert (request.samples, request.calibration) == (SAMPLES, CALIBRATION)
    assert read_request(request.to_json()) == request
    assert [one.name for one in read_request({}).interventions] == ["int8", "int8-token", "ablate-zero", "ablate-mean"]
    with pytest.raises(EffectError, match="either one site"):
        read_request({"scope": {"site": "embedding", "component": "hidden"}})
