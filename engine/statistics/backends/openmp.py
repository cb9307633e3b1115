"""Borrow torch's own OpenMP threads for other work.

torch's idle threads stay awake for some milliseconds after each operation, waiting for the next. A second pool would
compete with them for the cores and lose most of that time; calling into the same pool costs microseconds.

- `Team`   runs a Python function on several of the threads
- `team`   the team of the OpenMP library that torch loaded, None where it is not GNU's or compatible
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

_REGION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Team:
    """The threads of one OpenMP library.

    Args:
        library: it has `GOMP_parallel`, `omp_get_thread_num` and `omp_get_num_threads`.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._parallel = library.GOMP_parallel
        self._parallel.argtypes = [_REGION, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        self._parallel.restype = None
        self._number = library.omp_get_thread_num
        self._count = library.omp_get_num_threads

    def run(self, threads: int, work: Callable[[int, int], None]) -> None:
        """Call work(number, count) once on each of at most `threads` threads, the calling one among them.

        Only what releases the interpreter's lock runs at the same time.

        Raises:
            Exception: the first one that `work` raised on any thread.
        """
        errors: list[BaseException] = []

        def region(_data: int | None) -> None:
            try:
                work(int(self._number()), int(self._count()))
            except BaseException as error:  # noqa: BLE001  # it must cross the C frames to the caller
                errors.append(error)

        self._parallel(_REGION(region), None, threads, 0)
        if errors:
            raise errors[0]


@cache
def team() -> Team | None:
    """The team of the OpenMP library torch loaded; None if there is none, or it cannot be called this way."""
    if not torch.backends.openmp.is_available():
        return None
    for path in sorted((Path(torch.__file__).parent / "lib").glob("lib*omp*")) + _loaded():
        try:
            # Only a library that is in memory already can be the one torch uses.
            library = ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_NOW)
            return Team(library)
        except (OSError, AttributeError):
            continue
    return None


def _loaded() -> list[Path]:
    """OpenMP runtimes in this process's memory, as Linux lists them."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    files = {Path(line.split(maxsplit=5)[5]) for line in lines if len(line.split(maxsplit=5)) == 6}
    return sorted(file for file in files if file.name.startswith(("libgomp", "libiomp", "libomp")))
