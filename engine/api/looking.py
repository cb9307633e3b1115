"""A model that somebody else has built: its sites, found without leaving a trace.

- `Looked`   the model with its hook plan
- `look_at`  a module -> that
- `untouched`  a model in evaluation mode for the length of a `with` block
- `provenance_of`  what can be said of where it comes from
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from engine.api.errors import WatchError
from engine.base.job import SiteSet
from engine.base.private import attention_of
from engine.loading.errors import first_line
from engine.loading.provenance import Provenance, context_window, device_map, main_dtype, package_versions
from engine.sites.check import self_check
from engine.sites.discovery import find_sites
from engine.sites.errors import SiteError
from engine.sites.site import HookPlan


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """A model with its sites.

    Attributes:
        model: the whole model.
        text_model: the part of it that token ids run through, embedding to final norm.
        plan: its sites.
    """

    model: nn.Module
    text_model: nn.Module
    plan: HookPlan


def look_at(model: nn.Module, sites: SiteSet) -> Looked:
    """Find the sites of a model and check them on eight tokens.

    Raises:
        WatchError: it has no blocks that are known, or cannot run on token ids.
    """
    try:
        with untouched(model):
            plan = self_check(model, find_sites(model, sites))
    except SiteError as error:
        raise WatchError(f"this model cannot be watched: {error}") from error
    except (AttributeError, TypeError) as error:  # not of transformers, and not built like its models
        raise WatchError(
            f"this model cannot be watched: it is not built like a decoder ({first_line(error)})"
        ) from error
    return Looked(model, model.get_submodule(plan.text_model) if plan.text_model else model, plan)


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Within this block the model is in evaluation mode; afterwards it is as it was, and so are random numbers."""
    training = [module for module in model.modules() if module.training]
    devices = {parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)), torch.autocast("cpu", enabled=False):
        for module in training:
            module.training = False
        try:
            yield
        finally:
            for module in training:
                module.training = True


def provenance_of(model: nn.Module, tokenizer: Any, name: str) -> Provenance:
    """What is known of a model that another program has built; it has no files."""
    config = getattr(model, "config", None)
    return Provenance(
        model=name,
        resolved=name,
        revision=None,
        commit=None,
        architecture=type(model).__name__,
        model_type=str(getattr(config, "model_type", "")),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dtype=main_dtype(model),
        checkpoint_dtype=None,
        quantization=None,
        device_map=device_map(model),
        weight_hash="",
        weight_sample="",
        tokenizer=type(tokenizer).__name__ if tokenizer is not None else "",
        tokenizer_hash="",
        context_window=context_window(config) if config is not None else None,
        attention=attention_of(config) if config is not None else None,
        versions=package_versions(),
        notes=("measured inside another program, which ran the model",),
    )
