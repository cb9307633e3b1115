"""`make test-cpus`: the tests of numbers as other CPUs would compute them, each kind with one thread and with two.

    python -m tests.cpus [names of kinds] [-- arguments of pytest]

Kernels choose their instructions when a program starts; the variables below make them choose those of a lesser CPU.
A kind that this machine lacks is left out and named.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import torch

# What may differ between CPUs: products and sums of torch, oneDNN, numpy, OpenBLAS and compiled loops.
NUMBERS = (
    "tests/statistics", "tests/sites", "tests/quantization", "tests/effect", "tests/analysis", "tests/report",
    "tests/engine/test_oracle.py", "tests/engine/test_computing.py", "tests/engine/test_experts.py",
    "tests/engine/test_merge.py", "tests/engine/test_run.py", "tests/engine/test_split.py", "tests/engine/test_work.py",
    "tests/cli/test_effect.py", "tests/cli/test_stability.py",
)  # fmt: skip
THREADS = (1, 2)
_KINDS: dict[str, dict[str, str]] = {
    "avx2": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "NUMBA_CPU_NAME": "haswell",
    },
    "avx512": {
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "ATEN_CPU_CAPABILITY": "avx512",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
        "OPENBLAS_CORETYPE": "SkylakeX",
        "NUMBA_CPU_NAME": "skylake-avx512",
    },
    "default": {},
}


def numpy_beyond_avx2() -> str:
    """Names of the instruction sets after AVX2 that numpy would use here."""
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return " ".join(name for name in found if name == "X86_V4" or name.startswith("AVX512"))


def environment(kind: str, threads: int) -> dict[str, str]:
    """The variables of one round."""
    chosen = dict(_KINDS[kind])
    if kind == "avx2" and (names := numpy_beyond_avx2()):
        chosen["NPY_DISABLE_CPU_FEATURES"] = names
    # Threads that wait give their core away: they share few with other tests.
    threading = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    return {**os.environ, **chosen, **threading}


def is_possible(kind: str) -> bool:
    """Whether this CPU has the instructions; torch would not ask it again."""
    best = torch.backends.cpu.get_cpu_capability()
    return kind == "default" or best == "AVX512" or (kind == "avx2" and best == "AVX2")


def main(arguments: list[str]) -> int:
    """Run every round; returns 1 if a test of any failed."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    kinds, chosen = arguments[:split] or list(_KINDS), arguments[split + 1 :] or list(NUMBERS)
    outcomes: dict[str, str] = {}
    for kind in kinds:
        for threads in THREADS:
            title = f"{kind}, {threads} thread{'s' if threads > 1 else ''}"
            if not is_possible(kind):
                outcomes[title] = "left out: this CPU has no such instructions"
                continue
            print(f"=== {title}", flush=True)
            command = [sys.executable, "-m", "pytest", "-n", "logical", "--maxprocesses", "4", "--dist", "loadfile"]
            command += ["-m", "not slow", *chosen]
            failed = subprocess.run(command, env=environment(kind, threads), check=False).returncode
            outcomes[title] = "FAILED" if failed else "passed"
    print("\n".join(f"{title:<20}{outcome}" for title, outcome in outcomes.items()))
    return int("FAILED" in outcomes.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
