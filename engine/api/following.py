"""Whose rows a forward pass holds, from the arguments somebody else calls a model with.

- `Sequences`  the sequences of one pass: which rows count, of which sequence, at which position, and their tokens
- `follow`     arguments of a call -> its sequences
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.messages import Code, Message, message


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """The sequences of one forward pass.

    Attributes:
        index: int64 [rows], numbers of the rows that count in a [B * T, D] view, ascending; None when all do.
        row: int64 [rows], which sequence of the pass each of them is of, ascending.
        position: int64 [rows], its position in the sequence, from 0.
        tokens: int32 [T] of each sequence, padding left out; None for a pass that was given embeddings.
        lengths: tokens of each sequence.
    """

    index: NDArray[np.int64] | None
    row: NDArray[np.int64]
    position: NDArray[np.int64]
    tokens: tuple[NDArray[np.int32], ...] | None
    lengths: tuple[int, ...]


def follow(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Sequences | Message:
    """What a call of `forward` holds; or why that cannot be told.

    Ids and a mask on a GPU are copied to the host, which waits for what the GPU was asked before.
    """
    given = _by_name(forward, args, kwargs)
    ids, embeddings = given.get("input_ids"), given.get("inputs_embeds")
    if isinstance(ids, torch.Tensor) and ids.ndim == 2:
        shape = tuple(ids.shape)
    elif isinstance(embeddings, torch.Tensor) and embeddings.ndim == 3:
        shape, ids = tuple(embeddings.shape[:2]), None
    else:
        return message(Code.NO_INPUTS)
    counts = _mask(given.get("attention_mask"), shape)
    past = _past(given.get("past_key_values"))
    row, column = np.nonzero(counts) if counts is not None else np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    lengths = np.bincount(row, minlength=shape[0])
    first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    position = np.arange(len(row)) - first[row] + past
    tokens = None
    if ids is not None:
        flat = ids.detach().cpu().numpy().astype(np.int32)[row, column]
        tokens = tuple(np.split(flat, first[1:]))
    index = None if counts is None else np.flatnonzero(counts)
    return Sequences(index, row, position, tokens, tuple(int(n) for n in lengths))


def _by_name(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments by the names `forward` has for them; what it takes as `**kwargs` by its own."""
    try:
        bound = inspect.signature(forward).bind_partial(*args, **kwargs).arguments
    except (TypeError, ValueError):
        return kwargs
    return {**bound, **kwargs}


def _mask(mask: Any, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Which places of [B, T] hold a token; None where all do, or where the mask is none of places."""
    if not (isinstance(mask, torch.Tensor) and mask.ndim == 2 and len(mask) == shape[0] and mask.shape[1] >= shape[1]):
        return None
    counts: NDArray[np.bool_] = mask[:, mask.shape[1] - shape[1] :].detach().cpu().numpy().astype(bool)
    return None if counts.all() else counts


def _past(cache: Any) -> int:
    """How many tokens a key-value cache holds already."""
    length = getattr(cache, "get_seq_length", None)
    return int(length()) if callable(length) else 0
