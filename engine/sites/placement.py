"""Where a model's tensors live, when accelerate has spread them over devices, memory and disk.

- `input_device`   where token ids must be
- `weights_of`     a module's weights in memory, also when they are offloaded
- `is_offloaded`   whether any weight waits outside its execution device
- `placement_notes`  where the weights are, in words, where that is worth saying
- `quantised_note`   which quantised linear modules there are
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from engine.base.private import offload_hook
from engine.sites.modules import child, is_linear

_QUANTISED = re.compile(r"quant|8bit|4bit|fp8|fp4|int8|int4|gptq|awq|hqq|qlinear|gguf|eetq|wq|bitnet", re.IGNORECASE)


def input_device(model: nn.Module, embedding: str | None) -> torch.device:
    """The device on which the token embedding runs.

    Args:
        model: the model.
        embedding: dotted path of its token embedding; None takes the first parameter's device.
    """
    module = child(model, embedding) if embedding is not None else None
    holder = module if module is not None else model
    parameter = next(holder.parameters(), None)
    if parameter is not None and not parameter.is_meta:
        return parameter.device
    # An offloaded weight lies on meta between calls; accelerate's hook knows where it runs.
    for hook in _hooks(holder):
        device = getattr(hook, "execution_device", None)
        if device is not None:
            return torch.device(f"cuda:{device}" if isinstance(device, int) else device)
    return torch.device("cpu")


@contextmanager
def weights_of(module: nn.Module) -> Iterator[None]:
    """Bring the offloaded weights of one module into memory while the block is open."""
    if not is_offloaded(module):
        yield
        return
    from accelerate.utils import align_module_device

    with align_module_device(module, "cpu"):
        yield


def is_offloaded(module: nn.Module) -> bool:
    """Whether a parameter of the module or below waits in memory or on disk (it shows as meta between calls)."""
    return any(parameter.is_meta for parameter in module.parameters())


def placement_notes(model: nn.Module) -> list[str]:
    """Lines on weights that are spread over devices, offloaded, or held by quantised modules."""
    notes = []
    devices = sorted({str(p.device) for p in model.parameters() if not p.is_meta})
    if len(devices) > 1:
        notes.append(f"weights are spread over {', '.join(devices)}; each site is measured where its tensor is")
    waiting = sum(p.numel() for p in model.parameters() if p.is_meta)
    if waiting:
        total = sum(p.numel() for p in model.parameters())
        notes.append(f"{waiting / total:.0%} of the weights are offloaded and fetched in every forward")
    return notes


def quantised_note(modules: Iterable[nn.Module]) -> list[str]:
    """One line naming the classes of linear-like modules that are not plain, if there are any."""
    linear = Counter(type(module).__name__ for module in modules if is_linear(module))
    classes = Counter({name: count for name, count in linear.items() if _QUANTISED.search(name)})
    if not classes:
        return []
    names = ", ".join(f"{count} {name}" for name, count in classes.most_common())
    return [f"quantised modules ({names}): inputs are measured before the module's own rounding"]


def _hooks(module: nn.Module) -> Iterator[Any]:
    hook = offload_hook(module)
    if hook is not None:
        yield from getattr(hook, "hooks", (hook,))
