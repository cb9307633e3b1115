"""The screen may use the modules that only look things up."""

import subprocess
import sys

import pytest

LIGHT = ("demo", "errors", "cache", "progress", "environment", "checkpoint", "resolve", "download")


@pytest.mark.parametrize("name", LIGHT)
def test_looking_things_up_imports_neither_torch_nor_transformers(name):
    code = (
        f"import sys, engine.loading.{name}; "
        "print([m for m in ('torch', 'transformers', 'numpy', 'textual', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_loading_imports_no_textual():
    code = (
        "import sys, engine.loading.load; print('textual' in sys.modules, 'transformers.modeling_utils' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
