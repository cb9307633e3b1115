"""Hidden states -> logits, a few rows at a time, so that [tokens, vocabulary] never exists as a whole.

- `LanguageHead`  the model's own code behind its text model: projection, scaling, soft caps
- `CHUNK_ELEMENTS`  logits that exist at once

Families do different things between the last hidden state and the logits, all of it in the `forward` of the model
around the text model. So that `forward` is called with a text model that answers with given rows; one small batch
checks that the logits are the model's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import nn

from engine.effect.errors import EffectError

CHUNK_ELEMENTS: Final = 1 << 24
_CHECKED_TOKENS: Final = 4
_NO_HEAD: Final = "this model has no language-model head, so it predicts no tokens; measure one that does"


class LanguageHead:
    """The head of a causal language model.

    Args:
        model: the whole model.
        text_model: the part of it from embedding to final norm.
        device: where token ids go.

    Raises:
        EffectError: it has no head, or the head cannot be applied by itself.
    """

    def __init__(self, model: nn.Module, text_model: nn.Module, device: torch.device) -> None:
        if text_model is model:
            raise EffectError(_NO_HEAD)
        self._model = model
        self._text_model = text_model
        self._device = device
        self._pattern: Any = None
        self.vocabulary = self._check()

    def hidden(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """The last hidden state of a batch, [B, T, D]."""
        output = self._text_model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        self._pattern = output
        found = _first(output)
        # What the pattern is kept for is its type; its tensors would be held for nothing.
        self._pattern = _filled(output, found[:, :0])
        return found

    def chunks(self, rows: int) -> Iterator[slice]:
        """Slices of so many rows that the logits of one stay within `CHUNK_ELEMENTS`."""
        step = max(1, CHUNK_ELEMENTS // self.vocabulary)
        return (slice(start, min(start + step, rows)) for start in range(0, rows, step))

    def logits(self, rows: torch.Tensor) -> torch.Tensor:
        """The logits of some rows of hidden states; [n, D] -> [n, vocabulary], in the model's dtype."""
        with self._answering(rows[None]):
            ids = torch.zeros((1, len(rows)), dtype=torch.int64, device=self._device)
            return _logits(self._model(input_ids=ids, use_cache=False))[0]

    @contextmanager
    def _answering(self, hidden: torch.Tensor) -> Iterator[None]:
        """Within this block the text model answers with these hidden states, whatever it is asked."""
        output = _filled(self._pattern, hidden)
        own = self._text_model.__dict__.get("forward")
        self._text_model.forward = lambda *_args, **_kwargs: output
        try:
            yield
        finally:
            if own is None:
                del self._text_model.forward
            else:
                self._text_model.forward = own

    def _check(self) -> int:
        """Apply the head to a few tokens both ways; the vocabulary's size."""
        ids = torch.arange(1, _CHECKED_TOKENS + 1, device=self._device)[None]
        try:
            with torch.inference_mode():
                expected = _logits(self._model(input_ids=ids, use_cache=False))[0]
                found = self.logits(self.hidden(ids, None)[0])
        except (AttributeError, TypeError) as error:
            raise EffectError(_NO_HEAD) from error
        if expected.shape != found.shape or not _are_close(found.float(), expected.float()):
            raise EffectError("this model's head cannot be applied by itself; please report this model")
        return int(expected.shape[-1])


def _are_close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether the logits agree within 1 % of themselves or of the largest finite one; NaN and infinity are equal."""
    finite = expected[expected.isfinite()].abs()
    slack = 1e-2 * float(finite.max()) if finite.numel() else 0.0
    return bool(torch.allclose(found, expected, rtol=1e-2, atol=slack, equal_nan=True))


def _logits(output: Any) -> torch.Tensor:
    found = output.logits if hasattr(output, "logits") else output[0]
    if not isinstance(found, torch.Tensor) or found.ndim != 3:
        raise EffectError(_NO_HEAD)
    return found


def _first(output: Any) -> torch.Tensor:
    """The last hidden state in what a text model gives."""
    found = output.last_hidden_state if hasattr(output, "last_hidden_state") else output
    tensor: torch.Tensor = found[0] if isinstance(found, (tuple, list)) else found
    return tensor


def _filled(output: Any, hidden: torch.Tensor) -> Any:
    """An output of the same type with nothing in it but this hidden state."""
    if isinstance(output, Mapping):
        return type(output)(**{n: hidden if n == "last_hidden_state" else None for n in output})
    if isinstance(output, (tuple, list)):
        return type(output)([hidden, *([None] * (len(output) - 1))])
    return hidden
