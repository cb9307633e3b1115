"""Write a dict of tensors as torch.save does, in a process of its own, so that no screen ever loads torch.

- `as_torch_file`  arrays by name -> the bytes of a `.pt` file

Run as a module it reads an `.npz` from standard input and writes the `.pt` to standard output.
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.report.errors import ReportError

PATIENCE_SECONDS = 300


def as_torch_file(arrays: Mapping[str, NDArray[np.float32]]) -> bytes:
    """What `torch.load(..., weights_only=True)` reads as a dict of tensors.

    Raises:
        ReportError: torch could not be started.
    """
    packed = io.BytesIO()
    # Numbered members: the names of an .npz are file names, those of modules may be anything.
    members: dict[str, Any] = {f"a{n}": array for n, array in enumerate(arrays.values())}
    np.savez(packed, names=np.array(list(arrays), dtype=np.str_), **members)
    command = [sys.executable, "-P", "-m", "engine.report.torch_file"]
    try:
        done = subprocess.run(
            command, input=packed.getvalue(), capture_output=True, timeout=PATIENCE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ReportError(f"torch did not write the file within {PATIENCE_SECONDS} s; try again") from None
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ReportError(f"torch could not write the file ({last}); export amax instead")
    return done.stdout


def main() -> None:
    """Convert standard input to standard output."""
    import torch

    with np.load(io.BytesIO(sys.stdin.buffer.read())) as packed:
        tensors = {str(name): torch.from_numpy(packed[f"a{n}"]) for n, name in enumerate(packed["names"])}
    out = io.BytesIO()
    torch.save(tensors, out)
    sys.stdout.buffer.write(out.getvalue())


if __name__ == "__main__":
    main()
