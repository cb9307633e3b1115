"""The sweep of one site, in several implementations that leave identical integers.

- `Backend`         what an implementation offers: one call that updates a site's state
- `check_backend`   whether a name can be had at all
- `choose_backend`  the implementation for a name and a device
- `warm_up`         compile in the background what the next run will need
- `BackendError`    a backend that was asked for and cannot be had

`torch_` works on every device and is the judge of the others, `numba_` is for the CPU, `triton_` for CUDA.
"""

from __future__ import annotations

import threading
from importlib import import_module
from importlib.util import find_spec
from typing import Final, Protocol

import torch

from engine.statistics.rows import Rows
from engine.statistics.state import SiteState


class BackendError(Exception):
    """A backend that cannot be used here; the message is one line that names the user's next step."""


class Backend(Protocol):
    """An implementation of the sweep."""

    @property
    def name(self) -> str:
        """`torch`, `numba` or `triton`."""
        ...

    def sweep(self, state: SiteState, x: torch.Tensor, rows: Rows) -> None:
        """Update `state` with the rows of one tensor, without waiting for the device.

        Args:
            state: of the site; its device is x's.
            x: [R, D] contiguous, of the state's dtype and width. It is read, never written.
            rows: which of the R rows count, at least one, on x's device. Rows that are not named are never read.
        """
        ...


_DEVICE_OF: Final = {"numba": "cpu", "triton": "cuda"}
_EXTRA_OF: Final = {"numba": "cpu", "triton": "gpu"}


def check_backend(name: str) -> None:
    """Say at once what `choose_backend` could not give on any device.

    Raises:
        BackendError: the name is unknown, or its package is not installed.
    """
    if name in ("auto", "torch"):
        return
    if name not in _DEVICE_OF:
        raise BackendError(f"no backend {name!r}: use auto, torch, numba or triton")
    if not _is_there(name):
        raise BackendError(
            f"the {name} backend is not installed: pip install 'maxact-tui[{_EXTRA_OF[name]}]', or use --backend torch"
        )


def choose_backend(name: str, device: torch.device) -> Backend:
    """The backend called `name` for tensors on `device`; `auto` takes the fastest that is installed.

    Raises:
        BackendError: as `check_backend`, or the backend is not for this kind of device.
    """
    check_backend(name)
    if name == "auto":
        fast = [n for n, kind in _DEVICE_OF.items() if kind == device.type and _is_there(n)]
        name = fast[0] if fast else "torch"
    if name != "torch" and device.type != _DEVICE_OF[name]:
        raise BackendError(f"{name} is not for tensors on {device.type}; use --backend auto")
    backend: Backend = import_module(f"engine.statistics.backends.{name}_").backend()
    return backend


def warm_up(name: str, device: torch.device) -> threading.Thread:
    """Compile what `choose_backend(name, device)` needs in a daemon thread, so that it hides behind the model load.

    The compiled code is cached on disk; a later run only reads it. Errors are left for `choose_backend` to raise.
    """

    def compile_now() -> None:
        try:
            prepare = getattr(choose_backend(name, device), "prepare", None)
        except BackendError:
            return
        if prepare is not None:
            prepare()

    thread = threading.Thread(target=compile_now, name="maxact-warm-up", daemon=True)
    thread.start()
    return thread


def _is_there(name: str) -> bool:
    return find_spec(name) is not None and find_spec(f"engine.statistics.backends.{name}_") is not None
