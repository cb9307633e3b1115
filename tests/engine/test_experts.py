"""A mixture of experts: every routed token is counted, in a run, over a resume and in a merge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.analysis.coverage import expert_coverage
from engine.merging import merge_sessions
from engine.run import runner
from engine.session.reader import SessionReader
from tests.engine.running import new_session, stop_after_batches, tiny_job, write_corpus
from tests.models import TINY_LLAMA, tiny_folder


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import Qwen3MoeConfig

    config = Qwen3MoeConfig(**TINY_LLAMA, head_dim=8, num_experts=8, num_experts_per_tok=2, moe_intermediate_size=16)
    return tiny_folder(tmp_path_factory.mktemp("moe") / "tiny-moe", config)


def test_every_routed_token_is_counted_and_found_again_after_a_resume(tmp_path: Path, mixture: Path) -> None:
    corpus = write_corpus(tmp_path / "short.jsonl")
    whole = new_session(tmp_path / "whole.maxact", tiny_job(mixture, corpus, sites="all"))
    assert runner.run(whole) == 0
    parts = new_session(tmp_path / "parts.maxact", tiny_job(mixture, corpus, sites="all"))
    stop_after_batches(parts, 4)
    assert runner.run(parts) == 0
    assert runner.run(parts) == 0
    with SessionReader(whole) as reader, SessionReader(parts) as other:
        assert other.status().phase == "finished"
        tokens, plan = reader.status().tokens_done, reader.meta().plan
        found, again = reader.expert_totals(), other.expert_totals()
    assert plan is not None
    coverage = expert_coverage(plan, found)
    assert [one.layer for one in coverage] == [0, 1, 2]
    for number, totals in found.items():
        assert int(totals.tokens.sum()) == 2 * tokens
        for name, array in totals.to_arrays().items():
            np.testing.assert_array_equal(array, again[number].to_arrays()[name], err_msg=name)


def test_the_counts_are_those_of_the_router(tmp_path: Path, mixture: Path) -> None:
    """Top-2 of the router's logits, sample by sample, is an independent count, but for ties that batches may break."""
    from transformers import AutoModelForCausalLM

    corpus = write_corpus(tmp_path / "short.jsonl")
    path = new_session(tmp_path / "run.maxact", tiny_job(mixture, corpus, sites="all"))
    assert runner.run(path) == 0
    model = AutoModelForCausalLM.from_pretrained(mixture).eval()
    counts, ties = np.zeros((3, 8), np.int64), np.zeros(3, np.int64)
    with SessionReader(path) as reader, torch.inference_mode():
        for number, _, _ in reader.sample_labels():
            sample = reader.sample(number)
            assert sample is not None
            ids = torch.from_numpy(sample.token_ids.astype(np.int64))[None]
            for layer, logits in enumerate(model(input_ids=ids, output_router_logits=True).router_logits):
                largest = logits.topk(3)
                counts[layer] += np.bincount(largest.indices[:, :2].flatten().numpy(), minlength=8)
                margins = (largest.values[:, 1] - largest.values[:, 2]) / logits.abs().max()
                ties[layer] += int((margins < 1e-5).sum())
        found = reader.expert_totals()
    for layer, totals in enumerate(found.values()):
        assert totals.tokens.sum() == counts[layer].sum()
        assert ties[layer] <= counts[layer].sum() / 100
        assert np.abs(totals.tokens - counts[layer]).sum() <= 2 * ties[layer]
    assert len(found) == len(counts)


def test_merged_sessions_merge_their_experts(tmp_path: Path, mixture: Path) -> None:
    corpus = write_corpus(tmp_path / "all.jsonl", samples=8)
    lines = corpus.read_text(encoding="utf-8").splitlines()
    paths = []
    for name, part in (("a", lines[:3]), ("b", lines[3:])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(part), encoding="utf-8")
        job = tiny_job(mixture, tmp_path / f"{name}.jsonl", sites="all", batch_tokens=1)
        paths.append(new_session(tmp_path / f"{name}.maxact", job))
        assert runner.run(paths[-1]) == 0
    whole = new_session(tmp_path / "whole.maxact", tiny_job(mixture, corpus, sites="all", batch_tokens=1))
    assert runner.run(whole) == 0
    merge_sessions(paths, tmp_path / "merged.maxact")
    with SessionReader(tmp_path / "merged.maxact") as merged, SessionReader(whole) as expected:
        left, right = merged.expert_totals(), expected.expert_totals()
    assert list(left) == list(right)
    for number, totals in right.items():
        for name, array in totals.to_arrays().items():
            np.testing.assert_array_equal(left[number].to_arrays()[name], array, err_msg=name)
