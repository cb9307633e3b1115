"""Somebody else's loop, measured while it runs.

- `watch`  a context manager: `with watch(model, "run.maxact"): ...`
- `Watch`  what it gives: `step`, `session`
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

import torch
from torch import nn

from engine.api.errors import WatchError
from engine.api.following import follow
from engine.api.looking import look_at
from engine.api.opened import Session
from engine.api.recordkeeping import Keeper
from engine.base.job import SiteSet
from engine.base.private import is_compiled
from engine.messages import Code, Message, message
from engine.session.library import SUFFIX

_watched: WeakSet[nn.Module] = WeakSet()


def watch(
    model: nn.Module,
    session: str | Path = "run.maxact",
    *,
    every: int = 1,
    sites: SiteSet = "paper",
    tokenizer: Any = None,
    checkpoint_seconds: float = 5.0,
) -> Watch:
    """Measure a model while a loop of yours runs it; `maxact-tui open SESSION` shows it live.

    Inside the `with` block every `every`-th forward pass is measured. Token ids and mask are taken from the call. The
    model, its gradients, its hooks and its random numbers are left as they are. A pass that gradient checkpointing
    computes again is not counted twice.

    Args:
        model: a decoder of transformers, or one that is built like those; may be wrapped in DistributedDataParallel.
        session: the session file to write; with more than one process each rank writes its own, `run.rank1.maxact`.
        every: 1 measures every forward pass, 100 every hundredth; the others run without a hook.
        sites: `paper`, `gemm`, `paper+gemm` or `all`, as for `maxact-tui --sites`.
        tokenizer: shows tokens as text.
        checkpoint_seconds: time between checkpoints at least; 0 writes one after every measured pass.

    Raises:
        WatchError: the model cannot be watched, or the file exists; the message says why.
        ValueError: `every` is below 1.
    """
    if every < 1:
        raise ValueError(f"every={every}: give 1 for every forward pass, 100 for every hundredth")
    return Watch(model, _path(session), every, sites, tokenizer, checkpoint_seconds)


class Watch:
    """A model that is being watched; made by `watch`.

    Attributes:
        path: the session file.
    """

    def __init__(
        self,
        model: nn.Module,
        path: Path,
        every: int,
        sites: SiteSet,
        tokenizer: Any,
        checkpoint_seconds: float,
    ) -> None:
        self.path = path
        self._model, self._every, self._sites, self._tokenizer = _unwrapped(model), every, sites, tokenizer
        self._checkpoint_seconds = checkpoint_seconds
        self._step: int | None = None
        self._passes = 0
        self._busy = threading.Lock()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        looked = look_at(self._model, self._sites)
        text_model = looked.text_model
        if text_model in _watched:
            raise WatchError("this model is being watched already; leave that block first")
        self._keeper = Keeper(looked, self.path, self._tokenizer, self._sites, self._checkpoint_seconds)
        self._process = os.getpid()
        _watched.add(text_model)
        self._open.callback(_watched.discard, text_model)
        self._open.callback(_replace_forward(text_model, self._forward))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
        self._keeper.close("" if error is None else type(error).__name__)

    def step(self, number: int | None = None) -> None:
        """Name the step that the next passes belong to; without a number the next one."""
        self._step = number if number is not None else (self._step or 0) + 1

    @property
    def session(self) -> Session:
        """What was measured so far, as of the last checkpoint; the caller closes it."""
        return Session(self.path)

    def _forward(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Called for every forward pass of the text model."""
        if os.getpid() != self._process or not self._busy.acquire(blocking=False):
            return original(*args, **kwargs)  # a forked worker, or a pass inside or beside one that is measured
        try:
            number = self._passes
            self._passes += 1
            if number % self._every or torch.compiler.is_compiling() or _is_captured():
                return original(*args, **kwargs)
            found = follow(original, args, kwargs)
            if isinstance(found, Message):
                self._keeper.problem(-1, message(Code.PASS_UNKNOWN, cause=found))
                return original(*args, **kwargs)
            step = self._step if self._step is not None else number
            with self._keeper.measuring(found, step):
                return original(*args, **kwargs)
        finally:
            self._busy.release()


def _path(session: str | Path) -> Path:
    """The file as an absolute path; of one rank among several, with its number."""
    path = Path(session).expanduser().absolute()
    stem = path.name.removesuffix(SUFFIX)
    group = torch.distributed
    if group.is_available() and group.is_initialized() and group.get_world_size() > 1:
        stem = f"{stem}.rank{group.get_rank()}"
    return path.with_name(stem + SUFFIX)


def _unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, out of what spreads it over processes.

    Raises:
        WatchError: it is compiled.
    """
    inner = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    if is_compiled(inner):
        raise WatchError(
            "a model under torch.compile cannot be watched: its hooks would not run; watch the model before"
        )
    return inner


def _is_captured() -> bool:
    """Whether this pass is being recorded as a CUDA graph, which nothing may be read from."""
    return bool(torch.cuda.is_available() and torch.cuda.is_current_stream_capturing())


def _replace_forward(module: nn.Module, instead: Callable[..., Any]) -> Callable[[], None]:
    """Have `instead` called for a module's `forward`; returns what takes that back."""
    original = module.forward
    had_own = "forward" in vars(module)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return instead(original, args, kwargs)

    # Libraries look at the signature of `forward` to see which arguments a model takes.
    forward.__wrapped__ = original  # type: ignore[attr-defined]
    module.forward = forward

    def undo() -> None:
        if had_own:
            module.forward = original
        else:
            del module.forward

    return undo
