"""A device that is not there, or too small, is refused before anything is loaded."""

import psutil
import pytest
import torch

from engine.base.job import Job
from engine.loading import device
from engine.loading.errors import LoadError
from engine.loading.load import load_model

GIB = 1 << 30
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


def refusal(name):
    with pytest.raises(LoadError) as caught:
        device.check_device(name)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "meta", "tpu:0", "", "CPU"])
def test_a_device_nobody_knows(name):
    if name == "cuda:" and torch.cuda.is_available():
        pytest.skip("reads as cuda")
    assert refusal(name).kind == "device"


@no_gpu
@pytest.mark.parametrize("name", ["cuda", "cuda:1", "cuda:9"])
def test_cuda_without_a_gpu_says_whether_torch_or_the_machine_lacks_it(name):
    error = refusal(name)
    assert error.kind == "device"
    assert ("built without CUDA" in error.message) != torch.backends.cuda.is_built()
    assert "--device cpu" in error.hint


@no_gpu
def test_a_device_map_over_gpus_without_a_gpu():
    assert "there is none" in refusal("balanced").message


@no_gpu
def test_the_device_is_checked_before_the_model_is_looked_for():
    with pytest.raises(LoadError, match="cuda:9 is not available"):
        load_model(Job(model="/no/such/folder", device="cuda:9"), lambda progress: None)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_number_that_is_not_there():
    assert "cuda:99 is not there" in refusal("cuda:99").message


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_on_a_gpu_is_the_model_on_the_cpu(tiny_model_folder):
    job = Job(model=str(tiny_model_folder))
    on_gpu = load_model(job, lambda progress: None)
    assert on_gpu.provenance.device_map[""].startswith("cuda:")
    assert on_gpu.model.lm_head.weight.is_cuda


@no_gpu
def test_auto_is_the_cpu_where_there_is_no_gpu():
    assert device.place("auto", 1000, "m") == {"": "cpu"}
    assert device.place("cpu", 1000, "m") == {"": "cpu"}


def test_weights_larger_than_the_free_memory_are_refused_with_both_numbers():
    free = device.free_bytes("cpu")
    with pytest.raises(LoadError) as caught:
        device.place("cpu", free + 2 * GIB, "some-model")
    assert caught.value.kind == "memory"
    assert f"need {(free + 2 * GIB) / GIB:.1f} GiB" in caught.value.message
    assert "GiB free" in caught.value.message


def cgroup(root, limit, used, cache):
    root.mkdir()
    (root / "memory.max").write_text(f"{limit}\n")
    (root / "memory.current").write_text(f"{used}\n")
    (root / "memory.stat").write_text(f"anon 5\ninactive_file {cache}\nactive_file 0\nfile {cache}\n")
    return device._container_bytes(root)


def test_a_containers_limit_counts_and_its_page_cache_does_not(tmp_path):
    assert cgroup(tmp_path / "a", 8 * GIB, 7 * GIB, 6 * GIB) == 7 * GIB
    assert cgroup(tmp_path / "b", "max", 7 * GIB, 0) > psutil.virtual_memory().total
    assert device._container_bytes(tmp_path / "none") > psutil.virtual_memory().total
    assert 0 < device.free_bytes("cpu") <= psutil.virtual_memory().total
