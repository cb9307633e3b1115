"""What the tests use of libraries that is not promised.

See `engine/base/private.py` and `maxact_tui/terminal/private.py`.

- torch >= 2.11
  - `nn.Module._forward_hooks`, `_forward_pre_hooks`: whether a model is left as it was (`hooks_of`)
- transformers >= 5.17
  - `PretrainedConfig._name_or_path`: where a model says it came from (`name_model`)
- textual >= 8.2
  - `App._size`: a size that the app knows of before its screens do (`set_size`)
  - `App._exception`, `_fatal_error`, `_print_error_renderables`: what is printed once the screen itself broke
    (`end_with`)
  - `Screen._compositor.visible_widgets`: which widgets are drawn (`drawn_widgets`)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textual.app import App
from textual.geometry import Size
from textual.widget import Widget
from torch import nn


def hooks_of(module: nn.Module) -> int:
    """How many hooks a module has, those of its children not counted."""
    return len(module._forward_hooks) + len(module._forward_pre_hooks)


def name_model(model: Any, folder: Path) -> None:
    """Let a model that was made here say that it came from this folder."""
    model.config._name_or_path = model.name_or_path = str(folder)


def set_size(app: App[Any], size: Size) -> None:
    """Let the app have this size already."""
    app._size = size


def drawn_widgets(app: App[Any]) -> set[Widget]:
    """The widgets that are drawn."""
    return set(app.screen._compositor.visible_widgets)


def end_with(app: App[Any], error: Exception) -> None:
    """Print what the program prints once an error that nobody caught has ended it."""
    app._exception = error
    app._fatal_error()
    app._print_error_renderables()
