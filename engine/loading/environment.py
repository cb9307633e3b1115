"""The environment the Hugging Face libraries run in: no code, telemetry or bars that nobody asked for.

- `prepare_environment`  switches that must be set before transformers is imported
- `hub_offline`          a context in which the hub is not asked
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# A user may have good reasons to change the first group; nothing in the second is safe to inherit.
_DEFAULTS = {
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DOWNLOAD_TIMEOUT": "20",
}
_FORCED = {
    "USE_HUB_KERNELS": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def prepare_environment() -> None:
    """Set the switches; call it before anything imports transformers or huggingface_hub.

    No kernels from the hub, no telemetry, no request to the hub's conversion bot, no progress bars on stderr.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ.update(_FORCED)


@contextmanager
def hub_offline() -> Iterator[None]:
    """Within it, the hub's client refuses every request: local files need none, and each would be retried for long."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
