"""What arguments name is looked for before an engine is started: what cannot be there is refused at once.

- `check_job`    model, corpus, device and backend of a run
- `check_model`  a model alone
"""

from __future__ import annotations

from corpus.reading import check_source
from engine.base.job import Job
from engine.loading.errors import LoadError
from maxact_tui.cli.gpus import most_gpus
from maxact_tui.errors import UserError

BACKEND_KINDS = {"numba": "cpu", "triton": "cuda"}
"""The kind of device that a backend is for; `torch` is for all."""


def check_job(job: Job) -> None:
    """Refuse a run that names no model, no corpus or no device; what only an engine can find out is left to it.

    Raises:
        UserError, CorpusError: with the exit code for a usage error.
    """
    from engine.loading.devicenames import check_device_name

    check_model(job.model)
    check_source(job.corpus)
    try:
        check_device_name(job.device)
    except LoadError as error:
        raise UserError(str(error), code=2) from error
    gpus = most_gpus()
    _check_device(job.device, gpus)
    _check_backend(job.backend, job.device, gpus)


def check_model(model: str) -> None:
    """Refuse a path where there is no model; any other name may be one of the hub.

    Raises:
        UserError: there is nothing, or nothing that can be a model.
    """
    from engine.loading.resolve import find_local

    try:
        find_local(model)
    except LoadError as error:
        raise UserError(str(error), code=2) from error


def _check_device(device: str, gpus: int | None) -> None:
    """Refuse a GPU that cannot be there.

    Args:
        device: a name that a device can have.
        gpus: as many as there are at most, None where that is not known.
    """
    name, _, index = device.partition(":")
    if gpus is None or name in ("auto", "cpu"):
        return
    if not gpus:
        advice = "check the driver and CUDA_VISIBLE_DEVICES, or use --device cpu"
        raise UserError(f"{device} is not available: no GPU is visible; {advice}", code=2)
    if int(index or 0) >= gpus:
        there = "cuda:0" if gpus == 1 else f"cuda:0 to cuda:{gpus - 1}"
        raise UserError(f"{device} is not there; use {there}, or --device auto", code=2)


def _check_backend(backend: str, device: str, gpus: int | None) -> None:
    """Refuse a backend for another kind of device than the model will be on, where that is known."""
    wanted = BACKEND_KINDS.get(backend)
    kind, why = device.partition(":")[0], f"--device is {device}"
    if kind == "auto" and gpus == 0:
        kind, why = "cpu", "no GPU is visible"
    if wanted is not None and kind in ("cpu", "cuda") and kind != wanted:
        raise UserError(f"the {backend} backend is for {wanted}, and {why}; use --backend auto", code=2)
