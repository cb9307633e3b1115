"""Fixtures of the loading tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import models


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama as a GGUF file of float32 weights, beside the folder `source` it was made from."""
    folder = tmp_path_factory.mktemp("gguf")
    source = models.tiny_llama_folder(folder / "source", tie_word_embeddings=False)
    return models.tiny_llama_gguf(folder / "tiny-llama.gguf", source)
