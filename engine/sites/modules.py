"""What a module is, told by its class and its shape, for plain, quantised and remote-code models alike.

- `is_linear`       whether a module multiplies its input by a matrix
- `linear_shape`    (inputs, outputs) of such a module
- `is_norm`         whether a module normalises
- `walk`            every module below one, with its path
- `child`           a submodule by dotted path, or None
- `shared_expert`   a MoE block's always-on expert
- `text_config`     the language model's config inside a multimodal one
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from engine.base.private import children_of

SHARED_EXPERT_NAMES = ("shared_expert", "shared_experts", "shared_mlp")


def is_linear(module: nn.Module) -> bool:
    """Whether `module` is linear-like: nn.Linear, GPT-2's Conv1D, or a quantised layer with in/out_features."""
    if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D":
        return True
    # Read from the instance's own attributes: a module's __getattr__ is slow to say no.
    own = vars(module)
    return isinstance(own.get("in_features"), int) and isinstance(own.get("out_features"), int)


def linear_shape(module: nn.Module) -> tuple[int, int]:
    """(inputs, outputs) of a linear-like module, whatever its storage (packed weights have other shapes)."""
    if type(module).__name__ == "Conv1D":
        inputs, outputs = module.weight.shape
        return int(inputs), int(outputs)
    return int(module.in_features), int(module.out_features)


def is_norm(module: nn.Module) -> bool:
    """Whether the module is a normalisation by its class name, and no wrapper that only carries the word."""
    return not children_of(module) and "norm" in type(module).__name__.lower()


def walk(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """(path, module) of everything below `module`, parents first; `named_modules` without its bookkeeping."""
    for name, sub in children_of(module).items():
        if sub is not None:
            path = f"{prefix}{name}"
            yield path, sub
            if children_of(sub):
                yield from walk(sub, f"{path}.")


def child(module: nn.Module, path: str) -> nn.Module | None:
    """The submodule at a dotted path below `module`, or None; `""` is the module itself."""
    current: Any = module
    for part in path.split(".") if path else ():
        current = children_of(current).get(part) if isinstance(current, nn.Module) else None
        if current is None:
            return None
    found: nn.Module | None = current
    return found


def shared_expert(moe: nn.Module) -> tuple[str, nn.Module] | None:
    """The (name, module) of the expert every token passes, None without one."""
    for name in SHARED_EXPERT_NAMES:
        module = children_of(moe).get(name)
        if module is not None and any(True for _ in module.children()):
            return name, module
    return None


def text_config(config: Any) -> Any:
    """The decoder's own config: of a composite config its text part, else the config itself."""
    getter = getattr(config, "get_text_config", None)
    return getter(decoder=True) if callable(getter) else config
