"""A hook plan without weights: from a model's configuration alone, on the meta device.

- `plan_from_config`  hub id, folder or GGUF file -> `HookPlan`; downloads nothing but the configuration
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from corpus.network import transport_error
from engine.base.choice import AUTO_NOTE
from engine.base.job import Job, SiteChoice, widest
from engine.loading.architecture import auto_class, read_config
from engine.loading.environment import hub_offline, prepare_environment
from engine.loading.errors import classify
from engine.loading.progress import Reporter
from engine.loading.quantized import quant_plan
from engine.loading.resolve import resolve
from engine.sites.site import HookPlan

_LOOKUP_SECONDS = 6.0
_DRY = "made from the configuration alone: nothing was run, so nothing is proven"


def plan_from_config(
    model: str, trust_remote_code: bool = False, site_set: SiteChoice = "all", *, vision: bool = False
) -> HookPlan:
    """The hook plan of a model whose weights are not here.

    Args:
        model: hub id, folder or GGUF file, as for a run.
        trust_remote_code: run model code from the repository; without it such a model is refused.
        site_set: which sites are planned; of `auto` the most that a run may measure, with a note.
        vision: also the blocks of a vision tower.

    Returns:
        The plan as `find_sites` makes it, with a note that no forward has proven it.

    Raises:
        LoadError: there is no such model, or its configuration cannot be read.
        SiteError: it has no decoder layers.
    """
    prepare_environment()
    import torch

    from engine.sites.discovery import find_sites

    job = Job(model=model, trust_remote_code=trust_remote_code)
    try:
        config = _read(job)
        loader = auto_class(config, job)
        with torch.device("meta"):
            empty = loader.from_config(config, trust_remote_code=trust_remote_code)
    except Exception as error:
        found = classify(error, model)
        if found is error:
            raise
        raise found from error
    plan = find_sites(empty, widest(site_set), vision=vision)
    chosen = (AUTO_NOTE,) if site_set == "auto" else ()
    return replace(plan, notes=(*plan.notes, *quant_plan(config, model).notes, _DRY, *chosen))


def _read(job: Job) -> Any:
    """The configuration: of a folder, from a GGUF file's header, or fetched from the hub."""
    if not Path(job.model).expanduser().exists():
        return _from_hub(job)
    source = resolve(job, Reporter(lambda _progress: None))
    with hub_offline():
        if source.kind == "folder":
            return read_config(source.path, job)
        from transformers import AutoConfig

        from engine.loading.gguf_header import inspect_gguf
        from engine.loading.gguf_patches import fast_gguf

        inspect_gguf(source.path)
        with fast_gguf(lambda iterable, **_: iterable):
            return AutoConfig.from_pretrained(source.path.parent, gguf_file=source.path.name, trust_remote_code=False)


def _from_hub(job: Job) -> Any:
    """The configuration of a hub model, and its code where that was allowed; the cached one without a network."""
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    try:
        # Asked first because it fails at once, where a download retries for half a minute.
        HfApi().model_info(job.model, timeout=_LOOKUP_SECONDS)
        found = hf_hub_download(job.model, "config.json", etag_timeout=_LOOKUP_SECONDS)
    except (ConnectionError, transport_error()):
        cached = try_to_load_from_cache(job.model, "config.json")
        if not isinstance(cached, str):
            raise
        found = cached
    if not job.trust_remote_code:
        with hub_offline():
            return read_config(Path(found).parent, job)
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(job.model, trust_remote_code=True)
