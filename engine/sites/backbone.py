"""A model's skeleton: the text model, its decoder blocks, embedding and final norm.

- `Backbone`       the skeleton, with dotted paths
- `find_backbone`  model -> `Backbone`; raises `SiteError` where there is none
- `block_list`     the list of decoder blocks among a module's children
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from engine.base.private import children_of
from engine.sites.errors import SiteError
from engine.sites.modules import is_linear, is_norm, text_config

BLOCK_LISTS = ("layers", "h", "blocks", "block")
FINAL_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f", "norm_f", "final_norm", "embedding_norm")
EMBEDDINGS = ("embed_tokens", "wte", "word_embeddings", "embed_in", "embeddings", "tok_embeddings")
_OTHER_TOWER = re.compile(r"vision|visual|audio|image|speech|mtp|vit|encoder", re.IGNORECASE)
_NOT_FINAL_NORM = re.compile(r"emb|per_layer|projection", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class Backbone:
    """The text model's skeleton.

    Attributes:
        text_model: module from token ids to final norm, without the LM head.
        path: its dotted path in the model, "" for the model itself.
        blocks: (dotted path, module) of each decoder block, in order.
        embedding: dotted path of the token embedding, None if not found.
        final_norm: dotted path of the last norm, None for models without one.
        config: the text model's config.
        extra_blocks: blocks of the list beyond the main ones (multi-token prediction), not measured.
    """

    text_model: nn.Module
    path: str
    blocks: tuple[tuple[str, nn.Module], ...]
    embedding: str | None
    final_norm: str | None
    config: Any
    extra_blocks: int


def find_backbone(model: nn.Module) -> Backbone:
    """The skeleton of a decoder language model.

    Raises:
        SiteError: encoder-decoder models, and models without a list of decoder blocks.
    """
    top = getattr(model, "config", None)
    family = getattr(top, "model_type", type(model).__name__)
    if getattr(top, "is_encoder_decoder", False):
        raise SiteError(f"{family} is an encoder-decoder model; give a decoder-only language model instead")
    config = text_config(top)
    expected = getattr(config, "num_hidden_layers", None)
    path, text_model = _find_text_model(model, expected, family)
    name, blocks = block_list(text_model, expected) or ("", nn.ModuleList())
    main = [block for block in blocks if "MTP" not in type(block).__name__][:expected]
    prefix = _join(path, name)
    return Backbone(
        text_model=text_model,
        path=path,
        blocks=tuple((f"{prefix}.{index}", block) for index, block in enumerate(main)),
        embedding=_find_embedding(model, text_model, path),
        final_norm=_find_final_norm(text_model, path),
        config=config,
        extra_blocks=len(blocks) - len(main),
    )


def block_list(module: nn.Module, expected: int | None) -> tuple[str, nn.ModuleList] | None:
    """The (name, list) of decoder blocks among the children: by name, else by its length `expected`."""
    lists = {
        name: sub for name, sub in module.named_children() if isinstance(sub, nn.ModuleList) and _holds_blocks(sub)
    }
    for name in BLOCK_LISTS:
        if name in lists:
            return name, lists[name]
    for name, sub in lists.items():
        if len(sub) == expected:
            return name, sub
    return None


def _holds_blocks(modules: nn.ModuleList) -> bool:
    return any(not is_linear(module) and not is_norm(module) for module in modules)


def _find_text_model(model: nn.Module, expected: int | None, family: str) -> tuple[str, nn.Module]:
    """Follow `get_decoder` to the module that holds the blocks, else take the longest list outside other towers."""
    current, seen = model, {id(model)}
    while block_list(current, expected) is None:
        getter = getattr(current, "get_decoder", None)
        step = getter() if callable(getter) else None
        if not isinstance(step, nn.Module) or id(step) in seen:
            break
        seen.add(id(step))
        current = step
    if block_list(current, expected) is not None:
        for path, module in _towers(model):
            if module is current:
                return path, current
    found = [
        (len(listed[1]), path, module)
        for path, module in _towers(model)
        if not _OTHER_TOWER.search(path) and (listed := block_list(module, expected)) is not None
    ]
    if not found:
        raise SiteError(
            f"no decoder layers found in {family} ({type(model).__name__}); give a decoder-only language model"
        )
    _, path, module = max(found, key=lambda entry: entry[0])
    return path, module


def _towers(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Modules outside every module list, outermost first: the few that can be a text model."""
    yield prefix, module
    for name, sub in module.named_children():
        if not isinstance(sub, (nn.ModuleList, nn.Sequential)):
            yield from _towers(sub, _join(prefix, name))


def _find_embedding(model: nn.Module, text_model: nn.Module, path: str) -> str | None:
    """The token embedding's path: what the model declares, else a child with an embedding's name."""
    for found, module in _towers(model):
        if module is _declared_embedding(model):
            return found
    for name in EMBEDDINGS:
        if name in children_of(text_model):
            return _join(path, name)
    return None


def _declared_embedding(model: nn.Module) -> Any:
    """What `get_input_embeddings` returns; None for bare modules and models that leave it out."""
    getter = getattr(model, "get_input_embeddings", None)
    try:
        return getter() if callable(getter) else None
    except NotImplementedError:
        return None


def _find_final_norm(text_model: nn.Module, path: str) -> str | None:
    """The norm after the last block: by name, else the text model's last norm that belongs to no embedding."""
    children = {name: module for name, module in text_model.named_children() if module is not None}
    for name in FINAL_NORMS:
        if name in children:
            return _join(path, name)
    norms = [name for name, module in children.items() if is_norm(module) and not _NOT_FINAL_NORM.search(name)]
    return _join(path, norms[-1]) if norms else None


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix and name else prefix or name
