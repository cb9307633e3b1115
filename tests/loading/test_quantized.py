"""Packed weights are unpacked on loading, so that every module runs; what cannot be is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.base.job import Job
from engine.loading.checkpoint import read_checkpoint
from engine.loading.errors import LoadError
from engine.loading.load import load_model
from tests import models

BLOCK = 128


def load(folder, **options):
    return load_model(Job(model=str(folder), device="cpu", **options), lambda progress: None)


def declare(folder, **quantization):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": quantization}))


@pytest.fixture
def fp8_folder(tmp_path):
    """A tiny Llama whose projections are stored as DeepSeek stores them: float8 and one scale for 128 x 128 weights."""
    folder = models.tiny_llama_folder(
        tmp_path / "fp8", dtype="bfloat16", hidden_size=BLOCK, intermediate_size=2 * BLOCK, num_hidden_layers=1
    )
    path = folder / "model.safetensors"
    stored = {}
    for name, weight in load_file(path).items():
        if "_proj" not in name:
            stored[name] = weight
            continue
        rows, columns = (-(-size // BLOCK) for size in weight.shape)
        scale = torch.full((rows, columns), 0.5, dtype=torch.float32)
        stored[name] = (weight.float() / 0.5).to(torch.float8_e4m3fn)
        stored[f"{name}_scale_inv"] = scale
    save_file(stored, path, metadata={"format": "pt"})
    declare(folder, quant_method="fp8", activation_scheme="dynamic", fmt="e4m3", weight_block_size=[BLOCK, BLOCK])
    return folder, stored


def test_fp8_weights_are_dequantised_to_plain_layers(fp8_folder):
    folder, stored = fp8_folder
    loaded = load(folder)
    layer = loaded.model.model.layers[0].mlp.down_proj
    name = "model.layers.0.mlp.down_proj.weight"
    assert type(layer) is torch.nn.Linear
    assert layer.weight.dtype == torch.bfloat16
    assert torch.equal(layer.weight, (stored[name].float() * 0.5).bfloat16())
    assert loaded.provenance.quantization == "fp8"
    assert loaded.provenance.dtype == "bfloat16"
    assert any("fp8 weights were dequantised" in note for note in loaded.provenance.notes)


def test_the_memory_needed_is_that_of_the_unpacked_weights(fp8_folder):
    folder, _ = fp8_folder
    checkpoint = read_checkpoint(folder, allow_pickle=False, model="m")
    needed = checkpoint.loaded_bytes(2, "fp8", dequantised=True)
    loaded = load(folder)
    actual = sum(parameter.numel() * parameter.element_size() for parameter in loaded.model.parameters())
    assert actual <= needed <= actual * 1.01


def test_mxfp4_experts_are_dequantised(tmp_path):
    from transformers import GptOssConfig

    sizes = {"hidden_size": 64, "intermediate_size": 32, "head_dim": 16, "num_hidden_layers": 1}
    config = GptOssConfig(
        **{**models.TINY_LLAMA, **sizes, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 16},
        layer_types=["full_attention"],
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
    )
    folder = models.tiny_folder(tmp_path / "mxfp4", config, dtype="bfloat16")
    path = folder / "model.safetensors"
    stored = load_file(path)
    for name in ("gate_up_proj", "down_proj"):
        key = f"model.layers.0.mlp.experts.{name}"
        experts, inputs, outputs = stored.pop(key).shape
        # Every byte holds two 4-bit floats of value 1.0 (code 2); the scale 2^(128 - 127) makes them 2.0.
        stored[f"{key}_blocks"] = torch.full((experts, outputs, inputs // 32, 16), 0x22, dtype=torch.uint8)
        stored[f"{key}_scales"] = torch.full((experts, outputs, inputs // 32), 128, dtype=torch.uint8)
    save_file(stored, path, metadata={"format": "pt"})
    declare(folder, quant_method="mxfp4", modules_to_not_convert=["model.layers.*.self_attn"])
    loaded = load(folder)
    weight = loaded.model.model.layers[0].mlp.experts.down_proj
    assert weight.dtype == torch.bfloat16
    assert weight.shape == (4, 32, 64)
    assert torch.equal(weight, torch.full_like(weight, 2.0))
    assert loaded.provenance.quantization == "mxfp4"
    assert any("eager attention" in note for note in loaded.provenance.notes)


def test_compressed_tensors_without_its_package_names_the_package(tiny_model_folder, tmp_path):
    pytest.importorskip("transformers")
    from transformers.utils import is_compressed_tensors_available

    if is_compressed_tensors_available():
        pytest.skip("compressed-tensors is installed")
    folder = models.tiny_llama_folder(tmp_path / "model")
    declare(folder, quant_method="compressed-tensors", format="int-quantized", config_groups={})
    with pytest.raises(LoadError, match="pip install compressed-tensors") as caught:
        load(folder)
    assert caught.value.kind == "dependency"


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_a_method_whose_package_is_not_installed_is_refused_in_one_line(tmp_path, method):
    folder = models.tiny_llama_folder(tmp_path / "model")
    declare(folder, quant_method=method, bits=4, group_size=32)
    with pytest.raises(LoadError) as caught:
        load(folder)
    assert caught.value.kind in ("dependency", "unsupported")
    assert "\n" not in str(caught.value)
