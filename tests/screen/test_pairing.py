"""The same samples under another token policy, started from the screen."""

from __future__ import annotations

from pathlib import Path

from engine.run import runner
from engine.session.reader import SessionReader
from maxact_tui.watching.pairing import await_partner, partner_path, partner_policy, start_partner
from tests.engine.running import new_session, tiny_job, write_corpus


def test_a_raw_run_is_set_against_bos_and_others_against_raw() -> None:
    assert [partner_policy(policy) for policy in ("raw", "bos", "chat")] == ["bos", "raw", "raw"]


def test_the_partners_name_says_its_policy_and_is_never_taken(tmp_path: Path) -> None:
    session = tmp_path / "run.maxact"
    first = partner_path(session, "bos")
    assert first.name == "run-bos.maxact"
    first.touch()
    assert partner_path(session, "bos").name == "run-bos-2.maxact"


def test_the_partner_runs_over_the_same_samples_and_the_comparison_is_written(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    corpus = write_corpus(tmp_path / "short.jsonl", samples=6)
    session = new_session(tmp_path / "run.maxact", tiny_job(tiny_model_folder, corpus))
    assert runner.run(session) == 0
    said: list[str] = []
    await_partner(session, start_partner(session), said.append)
    with SessionReader(session) as reader, SessionReader(tmp_path / "run-bos.maxact") as other:
        assert other.meta().job.policy == "bos"
        assert other.status().tokens_done == reader.status().tokens_done + 6
    assert (tmp_path / "run-vs-run-bos.md").exists()
    assert "run-vs-run-bos.md" in said[-1]
