"""From a `Job` to everything a run needs: model, hook plan, token batches.

- `Prepared`  model, plan, tokenised corpus and batch plan, in memory
- `prepare`   load, look, tokenise, plan; report each step
- `extend`    the same with more texts
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from corpus.batching import BatchPlan, plan_batches
from corpus.cache import tokenize_cached
from corpus.reading import load_corpus
from corpus.samples import Corpus
from corpus.tokenization import TokenizedCorpus
from engine.base.job import Addition, Job, widest
from engine.loading.load import LoadedModel, load_model
from engine.loading.progress import LoadProgress
from engine.messages import Code
from engine.preparation.splitting import NO_SPLIT, Split, choose_split, plan_in_parts
from engine.scheme_names import schemes_in_pass
from engine.sites.check import self_check
from engine.sites.discovery import find_sites
from engine.sites.placement import input_device
from engine.sites.site import HookPlan
from engine.statistics.backends import choose_backend, warm_up
from engine.statistics.pass_meter import warm_up_quantisers

BATCH_TOKENS = {"cpu": 2_048, "cuda": 16_384}
LONGEST_DEFAULT = 4_096

Report = Callable[[LoadProgress], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run needs, all in memory.

    Attributes:
        text_model: the module to call, embedding to final norm.
        device: where the token ids go.
        backend: what computes the statistics there.
        split: which samples calibrate and evaluate, were the run to begin now.
    """

    loaded: LoadedModel
    plan: HookPlan
    corpus: Corpus
    tokenized: TokenizedCorpus
    batches: BatchPlan
    text_model: torch.nn.Module
    device: torch.device
    backend: str
    split: Split = NO_SPLIT


def prepare(
    job: Job,
    report: Report,
    additions: Sequence[Addition] = (),
    *,
    measures: bool = True,
    loaded: LoadedModel | None = None,
) -> Prepared:
    """Do everything that comes before the first batch.

    Args:
        job: what to run.
        report: told of every step.
        additions: texts that were added to this run earlier.
        measures: get the statistics ready, too; needless where the model only answers requests.
        loaded: the model, if the caller has it already.

    Raises:
        CorpusError, LoadError, SiteError, BackendError: one line with the user's next step.
    """
    _limit_threads(job.threads)
    if measures:
        warm_up(job.backend, _likely_device(job.device))
    if schemes_in_pass(job.quant, job.schemes):
        warm_up_quantisers(job.backend, _likely_device(job.device))
    report(LoadProgress(Code.READING_CORPUS))
    corpus = load_corpus(job.corpus, limit=job.samples, seed=job.seed)
    for addition in additions:
        corpus = _joined(corpus, load_corpus(addition.corpus, limit=addition.samples, seed=job.seed))
    loaded = loaded or load_model(job, report)
    report(LoadProgress(Code.FINDING_SITES))
    plan = self_check(loaded.model, find_sites(loaded.model, widest(job.sites), vision=job.vision))
    report(LoadProgress(Code.TOKENISING, unit="samples"))
    tokenized = tokenize_cached(
        corpus,
        loaded.tokenizer,
        policy=job.policy,
        max_length=_longest(job, loaded.provenance.context_window),
        progress=lambda done, total, _label: report(LoadProgress(Code.TOKENISING, done, total, "samples")),
    )
    embedding = next((site.module for site in plan.sites if site.component == "embedding"), None)
    device = input_device(loaded.model, embedding)
    backend = choose_backend(job.backend, device).name
    budget = job.batch_tokens or BATCH_TOKENS.get(device.type, BATCH_TOKENS["cuda"])
    split = choose_split(job, tokenized.lengths, tokenized.categories)
    batches = plan_in_parts(split.record, tokenized.lengths, tokenized.categories, token_budget=budget, seed=job.seed)
    text_model = loaded.model.get_submodule(plan.text_model) if plan.text_model else loaded.model
    return Prepared(loaded, plan, corpus, tokenized, batches, text_model, device, backend, split)


def extend(
    prepared: Prepared, job: Job, addition: Addition, token_budget: int
) -> tuple[Prepared, tuple[tuple[int, ...], ...]]:
    """The same run with more texts, which get the next sample numbers; and the batches of the new ones.

    Raises:
        CorpusError: the texts cannot be read.
    """
    more = load_corpus(addition.corpus, limit=addition.samples, seed=job.seed)
    corpus = _joined(prepared.corpus, more)
    tokenized = tokenize_cached(
        corpus, prepared.loaded.tokenizer, policy=job.policy, max_length=prepared.tokenized.max_length
    )
    lengths = tokenized.lengths.copy()
    lengths[: len(prepared.corpus.samples)] = 0
    batches = plan_batches(lengths, tokenized.categories, token_budget=token_budget, seed=job.seed)
    every = replace(prepared.batches, batches=(*prepared.batches.batches, *batches.batches))
    return replace(prepared, corpus=corpus, tokenized=tokenized, batches=every), batches.batches


def _joined(first: Corpus, second: Corpus) -> Corpus:
    """Both corpora, the second one's samples numbered on."""
    return Corpus(
        name=f"{first.name} + {second.name}",
        samples=first.samples + second.samples,
        content_hash=hashlib.sha256(f"{first.content_hash} {second.content_hash}".encode()).hexdigest(),
        problems=first.problems + second.problems,
    )


def _limit_threads(threads: int | None) -> None:
    """Keep torch and the compiled sweep to this many CPU threads."""
    if threads is None:
        return
    torch.set_num_threads(threads)
    os.environ["NUMBA_NUM_THREADS"] = str(threads)


def _likely_device(wanted: str) -> torch.device:
    """Where the model will probably be, known before it is loaded: only for warming up."""
    on_gpu = wanted != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if on_gpu else "cpu")


def _longest(job: Job, context_window: int | None) -> int:
    wanted = job.max_length or LONGEST_DEFAULT
    return min(wanted, context_window) if context_window else wanted
