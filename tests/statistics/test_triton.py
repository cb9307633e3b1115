"""The Triton backend: right in Triton's interpreter, compiled for sm_90 without a GPU, run on one if there is one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="the Triton backend needs the gpu extra")

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, CompiledKernel

from engine.base.job import Detail
from engine.statistics.backends import choose_backend, triton_
from engine.statistics.rows import Rows
from tests.statistics.triton_cases import CASES, Case, assert_same_state, batches, calm, check, empty_state, name

TRITON = tuple(map(int, triton.__version__.split(".")[:2]))
META = torch.device("meta")
H200 = GPUTarget("cuda", 90, 32)
POINTERS = {torch.int8: "*i8", torch.int16: "*i16", torch.int32: "*i32", torch.int64: "*i64", torch.float64: "*fp64"}
HERE = Path(__file__).parent

needs_a_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: not measured here"),
]

Launch = tuple[Any, tuple[int, ...], dict[str, Any], dict[str, Any]]


@pytest.mark.slow
def test_in_tritons_interpreter_the_sweep_finds_what_torch_and_the_judge_find() -> None:
    """The cases are in `interpreted_triton.py`: the interpreter must be chosen before triton is first imported."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(HERE / "interpreted_triton.py")],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed and int(passed[1]) >= len(CASES), run.stdout


def launches(case: Case, monkeypatch: pytest.MonkeyPatch) -> list[Launch]:
    """What a sweep would queue for 16,384 rows, found with tensors that hold no numbers."""
    queued: list[Launch] = []
    monkeypatch.setattr(triton_, "launch", lambda *launch: queued.append(launch))
    x = torch.empty((case.rows, case.width), dtype=getattr(torch, case.dtype), device=META)
    numbers = torch.empty(case.rows, dtype=torch.int32, device=META)
    index = None if case.named is None else numbers.to(torch.int64)
    triton_.backend().sweep(empty_state(case, META), x, Rows(index, numbers, numbers))
    return queued


def compiled(launch: Launch) -> CompiledKernel:
    """The kernel as a launch on an H200 would compile it, with the alignment Triton reads off the arguments."""
    kernel, _, arguments, constants = launch
    options = {key: value for key, value in constants.items() if key.islower()}
    constants = {key: value for key, value in constants.items() if key.isupper()}
    signature, attributes = {}, {}
    for place, parameter in enumerate(kernel.params):
        value = arguments.get(parameter.name)
        if value is None or (isinstance(value, int) and value == 1 and not parameter.do_not_specialize):
            constants.setdefault(parameter.name, value)
            signature[parameter.name] = "constexpr"
            continue
        signature[parameter.name] = "i32" if isinstance(value, int) else POINTERS[value.dtype]
        aligned = not isinstance(value, int) or value % 16 == 0
        if aligned and not (parameter.do_not_specialize or parameter.do_not_specialize_on_alignment):
            attributes[place,] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constexprs=constants, attrs=attributes)
    return triton.compile(source, target=H200, options={**options, "enable_fp_fusion": False})


def resources(kernel: CompiledKernel, folder: Path) -> tuple[int, int]:
    """(registers of a thread, bytes of its stack), as CUDA's own tool reads them off the binary."""
    binary = folder / "kernel.cubin"
    binary.write_bytes(kernel.asm["cubin"])
    tool = triton.knobs.nvidia.cuobjdump.path
    report = subprocess.run([tool, "-res-usage", str(binary)], capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", report)
    assert found, report
    return int(found[1]), int(found[2])


COMPILED = [
    Case(width=4096, rows=16384, named=12000),
    Case(width=12288, rows=16384, named=None, detail="lean", census=False),
    Case(width=1000, rows=16384, named=None, dtype="float16"),
    Case(width=576, rows=16384, named=12000, dtype="float32", detail="compat"),
]


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter has replaced the compiler")
@pytest.mark.parametrize("case", COMPILED, ids=name)
def test_every_kernel_compiles_for_sm_90_and_spills_nothing(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Older compilers, of Triton before 3.9 (torch before 2.15), do spill: as right, and slower."""
    queued = launches(case, monkeypatch)
    assert len(queued) >= 5
    for launch in queued:
        registers, stack = resources(compiled(launch), tmp_path)
        if TRITON >= (3, 9):
            assert stack == 0, f"{launch[0].__name__} spills {stack} bytes"
        assert registers * 32 * launch[3]["num_warps"] <= 65536, f"{launch[0].__name__} does not fit a multiprocessor"


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter has replaced the compiler")
def test_two_programs_of_the_counting_sweep_share_a_multiprocessor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """65,536 registers: the number of programs that a sweep launches counts on it."""
    sweeps: tuple[tuple[Detail, int], ...] = (("standard", 2), ("lean", 4))
    for detail, together in sweeps:
        first = launches(replace(COMPILED[0], detail=detail), monkeypatch)[0]
        registers, _ = resources(compiled(first), tmp_path)
        assert first[0].__name__ == "sweep_usual"
        assert registers * 32 * first[3]["num_warps"] * together <= 65536, (detail, registers)


def test_a_sweep_is_at_most_seven_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {name(case): len(launches(case, monkeypatch)) for case in COMPILED}
    assert max(counts.values()) <= 7, counts


@pytest.fixture
def cuda() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device())


@pytest.fixture
def waiting_is_an_error() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


class TestOnAGpu:
    pytestmark = needs_a_gpu

    @pytest.mark.parametrize("case", CASES, ids=name)
    def test_the_sweep_finds_what_torch_and_the_judge_find(self, case: Case, cuda: torch.device) -> None:
        check(case, cuda)

    @pytest.mark.parametrize("detail", ["lean", "standard", "compat"])
    def test_a_large_tensor_gives_the_integers_that_torch_gives(self, detail: Detail, cuda: torch.device) -> None:
        case = Case(width=4096, rows=4096, named=4001, detail=detail, make=calm)
        found, expected = empty_state(case, cuda), empty_state(case, cuda)
        for _, x, rows in batches(case, cuda):
            triton_.backend().sweep(found, x, rows)
            choose_backend("torch", cuda).sweep(expected, x, rows)
            assert_same_state(found, expected)

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
    @pytest.mark.parametrize("detail", ["lean", "standard", "compat"])
    def test_a_sweep_never_waits_for_the_device(
        self, dtype: str, detail: Detail, cuda: torch.device, waiting_is_an_error: None
    ) -> None:
        case = Case(dtype=dtype, detail=detail, width=256, rows=64, make=calm)
        state, made = empty_state(case, cuda), batches(case, cuda)
        # The first sweep compiles and uploads what all later ones use.
        triton_.backend().sweep(state, *made[0][1:])
        torch.cuda.set_sync_debug_mode("error")
        triton_.backend().sweep(state, *made[1][1:])

    def test_once_prepared_even_the_first_sweep_does_not_wait(
        self, cuda: torch.device, waiting_is_an_error: None
    ) -> None:
        case = Case(width=256, rows=64, make=calm)
        state, made = empty_state(case, cuda), batches(case, cuda)
        triton_.backend().prepare()
        torch.cuda.set_sync_debug_mode("error")
        triton_.backend().sweep(state, *made[0][1:])
