"""Errors of the libraries become the right kind of error, wherever in the chain the cause hides."""

import pickle

import pytest
import torch

from engine.loading.errors import LoadError, classify


def raised(function):
    with pytest.raises((RuntimeError, AssertionError, ImportError)) as caught:
        function()
    return caught.value


def test_the_cpu_allocators_plain_runtime_error_is_out_of_memory():
    error = raised(lambda: torch.empty(1 << 52, dtype=torch.uint8))
    found = classify(error, "m")
    assert (found.kind, str(1 << 52) in found.message) == ("memory", True)


def test_the_gpus_error_is_out_of_memory():
    found = classify(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"), "m")
    assert (found.kind, "2.00 GiB" in found.message) == ("memory", True)


@pytest.mark.skipif(torch.backends.cuda.is_built(), reason="this torch has CUDA")
def test_cuda_on_a_cpu_build_is_a_device_error():
    assert classify(raised(lambda: torch.zeros(1).cuda()), "m").kind == "device"


def test_the_cause_is_found_behind_a_bare_oserror():
    from huggingface_hub.errors import LocalEntryNotFoundError

    inner = LocalEntryNotFoundError("no")
    outer = OSError("We couldn't connect")
    outer.__cause__ = inner
    assert classify(outer, "m").kind == "network"


def test_a_missing_package_is_named():
    found = classify(raised(lambda: __import__("gptqmodel_that_is_not_there")), "m")
    assert (found.kind, "gptqmodel_that_is_not_there" in found.message) == ("dependency", True)


def test_a_pickle_that_wants_to_run_code_is_a_matter_of_policy():
    assert classify(pickle.UnpicklingError("Weights only load failed."), "m").kind == "policy"


def test_a_load_error_passes_through_unchanged():
    error = LoadError("a", hint="b", kind="device")
    wrapped = RuntimeError("outer")
    wrapped.__cause__ = error
    assert classify(wrapped, "m") is error
    assert str(error) == "a: b"


def test_what_nobody_knows_is_said_in_one_line_with_its_class():
    found = classify(TypeError("first line\nsecond line"), "some-model")
    assert found.kind == "internal"
    assert found.message == "some-model could not be loaded: TypeError: first line"


def test_braces_in_a_message_do_no_harm():
    found = classify(ImportError("cannot import {name} from '{model}'"), "m{0}")
    assert "{name}" in found.message


def test_a_chain_that_bites_its_tail_ends():
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert classify(one, "m").kind == "internal"
