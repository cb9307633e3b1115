"""Whatever is wrong with a model's files, one line says what it is and what to do."""

import json
import os
import pickle
import re
import struct
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.base.job import Job
from engine.loading.errors import LoadError
from engine.loading.load import load_model
from tests import models


def refusal(model, **options):
    """The error of a load that must fail: one line, at least the length of a hint, and the model untouched."""
    with pytest.raises(LoadError) as caught:
        load_model(Job(model=str(model), **{"device": "cpu", **options}), lambda progress: None)
    error = caught.value
    assert "\n" not in str(error)
    assert str(error) == f"{error.message}: {error.hint}"
    assert len(error.hint) > 10
    assert len(str(error)) < 400
    return error


@pytest.fixture
def folder(tmp_path):
    """A tiny Llama that a test may spoil."""
    return models.tiny_llama_folder(tmp_path / "model")


@pytest.fixture
def sharded(tmp_path):
    from transformers import LlamaConfig

    return models.tiny_folder(tmp_path / "model", LlamaConfig(**models.TINY_LLAMA), max_shard_size="60KB")


def edit_config(folder, **changes):
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


# --- what was typed


def test_a_folder_that_does_not_exist(tmp_path):
    (tmp_path / "llama-1b").mkdir()
    error = refusal(tmp_path / "llama-2b")
    assert error.kind == "missing"
    assert "does not exist" in error.message and "llama-1b" in error.hint


@pytest.mark.parametrize(
    "name", ["", "  ", "has space", "./nothing", "~/nothing-here", "a/b/c", "nope.gguf", "x" * 300]
)
def test_a_name_that_is_nothing(name):
    assert refusal(name).kind in ("missing", "access")


def test_a_hub_id_while_the_hub_may_not_be_asked():
    error = refusal("some-org/some-model")
    assert error.kind == "network"
    assert "HF_HUB_OFFLINE" in error.message


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    error = refusal(tmp_path / "notes.txt")
    assert (error.kind, "not a GGUF file" in error.message) == ("format", True)


def test_the_weight_file_instead_of_its_folder(folder):
    assert "folder that holds config.json" in refusal(folder / "model.safetensors").hint


def test_a_folder_without_config(tmp_path):
    error = refusal(tmp_path)
    assert error.kind == "missing"
    assert "has no config.json" in error.message


def test_the_folder_above_the_models_folder(folder):
    assert f"did you mean {folder}?" in refusal(folder.parent).hint


def test_an_adapter_instead_of_a_model(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    error = refusal(tmp_path)
    assert (error.kind, "LoRA adapter" in error.message) == ("unsupported", True)


def test_a_folder_with_several_gguf_files(tmp_path, tiny_gguf):
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(tiny_gguf.read_bytes())
    assert "a.gguf, b.gguf" in refusal(tmp_path).hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(folder):
    folder.chmod(0)
    try:
        assert refusal(folder).kind == "access"
    finally:
        folder.chmod(0o700)


# --- the configuration


@pytest.mark.parametrize("content", ["{", "\xff\xfe", "[1, 2]", '"llama"', ""])
def test_a_config_that_is_not_json(folder, content):
    (folder / "config.json").write_bytes(content.encode("latin-1"))
    error = refusal(folder)
    assert error.kind == "format"
    assert "config.json" in error.message


def test_a_config_without_model_type_is_not_guessed_from_the_folders_name(tmp_path):
    folder = models.tiny_llama_folder(tmp_path / "gpt2-llama-bert")
    edit_config(folder, model_type=None)
    assert "names no model_type" in refusal(folder).message


def test_an_unknown_model_type(folder):
    edit_config(folder, model_type="bailing_moe")
    error = refusal(folder)
    assert error.kind == "unsupported"
    assert "'bailing_moe'" in error.message and "--trust-remote-code" in error.hint


def test_an_impossible_value_in_the_config(folder):
    edit_config(folder, hidden_size="large")
    error = refusal(folder)
    assert error.kind == "format"
    assert "'hidden_size' expected int, got str" in error.message


@pytest.mark.parametrize("model_type", ["t5", "vit", "whisper"])
def test_a_model_that_does_not_write_text(folder, model_type):
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    error = refusal(folder)
    assert error.kind == "unsupported"
    assert f"not a causal language model (model_type '{model_type}')" in error.message


def test_model_code_in_the_repository_is_not_run_unasked(folder, tmp_path):
    trace = tmp_path / "ran"
    edit_config(folder, model_type="homemade", auto_map={"AutoConfig": "configuration.HomemadeConfig"})
    (folder / "configuration.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    error = refusal(folder)
    assert error.kind == "policy"
    assert "--trust-remote-code" in error.hint
    assert not trace.exists()


def test_native_families_never_run_the_repositorys_code(folder, tmp_path):
    trace = tmp_path / "ran"
    edit_config(folder, auto_map={"AutoModelForCausalLM": "modeling.Homemade", "AutoConfig": "modeling.HomemadeConfig"})
    (folder / "modeling.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    loaded = load_model(Job(model=str(folder), device="cpu"), lambda progress: None)
    assert type(loaded.model).__name__ == "LlamaForCausalLM"
    assert not trace.exists()


# --- the weights


def test_no_weights(folder):
    (folder / "model.safetensors").unlink()
    error = refusal(folder)
    assert (error.kind, "has no weights" in error.message) == ("format", True)


@pytest.mark.parametrize("kept", [0, 4, 100, 30_000])
def test_weights_cut_off(folder, kept):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    error = refusal(folder)
    assert error.kind == "format"
    assert "cut off" in error.message and str(path) in error.message


def test_weights_that_are_something_else(folder):
    (folder / "model.safetensors").write_bytes(b"<html>please log in</html>" * 100)
    assert refusal(folder).kind == "format"


def test_weights_with_a_broken_header(folder):
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 10) + b"{not json}" + bytes(100))
    assert "broken safetensors header" in refusal(folder).message


def test_a_git_lfs_pointer_instead_of_weights(folder):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "git lfs pull" in refusal(folder).hint


def test_a_missing_shard(sharded):
    shards = sorted(sharded.glob("model-*.safetensors"))
    assert len(shards) > 2
    shards[1].unlink()
    error = refusal(sharded)
    assert error.kind == "format"
    assert f"lacks 1 of its {len(shards)} weight files, the first is {shards[1].name}" in error.message


def test_a_shard_cut_off(sharded):
    shard = sorted(sharded.glob("model-*.safetensors"))[-1]
    shard.write_bytes(shard.read_bytes()[:-1])
    assert f"{shard} is cut off" in refusal(sharded).message


@pytest.mark.parametrize("index", ["{", "[]", '{"weight_map": 3}'])
def test_a_broken_index(sharded, index):
    (sharded / "model.safetensors.index.json").write_text(index)
    assert "is not a weight index" in refusal(sharded).message


def test_an_index_that_points_outside_its_folder(sharded):
    path = sharded / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["lm_head.weight"] = "../../etc/passwd"
    path.write_text(json.dumps(index))
    assert "outside its folder" in refusal(sharded).message


def test_missing_tensors_are_not_replaced_by_random_numbers(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.1.mlp.up_proj.weight"], tensors["model.norm.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    error = refusal(folder)
    assert error.kind == "format"
    assert "2 weights" in error.message and "model.layers.1.mlp.up_proj.weight" in error.message


def test_tensors_of_another_shape(folder):
    edit_config(folder, intermediate_size=48)
    error = refusal(folder)
    assert error.kind == "format"
    assert "other shapes" in error.message


def test_tensors_nobody_asked_for_are_noted(folder):
    path = folder / "model.safetensors"
    save_file({**load_file(path), "mtp.weight": torch.zeros(3)}, path, metadata={"format": "pt"})
    loaded = load_model(Job(model=str(folder), device="cpu"), lambda progress: None)
    assert any("mtp.weight" in note for note in loaded.provenance.notes)


def to_pickle(folder):
    path = folder / "model.safetensors"
    torch.save(load_file(path), folder / "pytorch_model.bin")
    path.unlink()
    return folder / "pytorch_model.bin"


def test_pickled_weights_need_permission(folder):
    to_pickle(folder)
    error = refusal(folder)
    assert (error.kind, "--allow-pickle" in error.hint) == ("policy", True)


def test_pickled_weights_load_with_permission(folder):
    expected = load_file(folder / "model.safetensors")
    to_pickle(folder)
    loaded = load_model(Job(model=str(folder), device="cpu", allow_pickle=True), lambda progress: None)
    assert torch.equal(loaded.model.lm_head.weight, expected["lm_head.weight"])
    assert loaded.provenance.weight_hash.startswith("sha256:")


class Malicious:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (open, (str(self.trace), "w"))


@pytest.mark.parametrize("dtype", ["float32", None])
def test_a_malicious_pickle_is_not_executed_even_with_permission(folder, tmp_path, dtype):
    trace = tmp_path / "executed"
    to_pickle(folder).write_bytes(pickle.dumps({"weight": Malicious(trace)}))
    edit_config(folder, dtype=dtype)
    error = refusal(folder, allow_pickle=True)
    assert error.kind == "policy"
    assert "nothing was run" in error.message
    assert not trace.exists()


def test_a_pickle_cut_off(folder):
    path = to_pickle(folder)
    path.write_bytes(path.read_bytes()[:20_000])
    assert refusal(folder, allow_pickle=True).kind == "format"


def test_an_unknown_quantisation_is_not_ignored(folder):
    edit_config(folder, quantization_config={"quant_method": "exl2", "bits": 4})
    error = refusal(folder)
    assert error.kind == "unsupported"
    assert "'exl2'" in error.message


# --- the tokenizer


def test_no_tokenizer(folder):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    error = refusal(folder)
    assert (error.kind, "has no tokenizer" in error.message) == ("format", True)


def test_a_tokenizer_that_is_not_json(folder):
    (folder / "tokenizer.json").write_text('{"model":')
    assert "the tokenizer of" in refusal(folder).message


def test_a_tokenizer_that_is_json_but_no_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{}")
    assert "the tokenizer of" in refusal(folder).message


def test_another_models_tokenizer_is_noted(folder):
    edit_config(folder, vocab_size=200)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:200].clone()
    save_file(tensors, path, metadata={"format": "pt"})
    loaded = load_model(Job(model=str(folder), device="cpu"), lambda progress: None)
    assert "the tokenizer knows 300 tokens and the model 200: is it this model's?" in loaded.provenance.notes


# --- GGUF files


def test_a_gguf_file_with_the_wrong_magic_bytes(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGML" + bytes(1000))
    error = refusal(tmp_path / "model.gguf")
    assert (error.kind, "wrong magic bytes" in error.message) == ("format", True)


@pytest.mark.parametrize("kept", [0, 4, 20, 200, 5_000, -1, -20_000])
def test_a_gguf_file_cut_off(tmp_path, tiny_gguf, own_cache, kept):
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny_gguf.read_bytes()[:kept])
    error = refusal(path)
    assert error.kind == "format"
    assert "cut off" in error.message or "wrong magic bytes" in error.message
    assert not (own_cache / "gguf").exists()


def test_a_gguf_file_with_a_damaged_header(tmp_path, tiny_gguf, own_cache):
    content = bytearray(tiny_gguf.read_bytes())
    content[8:24] = b"\xff" * 16
    (tmp_path / "model.gguf").write_bytes(content)
    assert refusal(tmp_path / "model.gguf").kind == "format"


def test_a_gguf_file_of_a_future_version(tmp_path, tiny_gguf):
    content = bytearray(tiny_gguf.read_bytes())
    content[4:8] = struct.pack("<I", 9)
    (tmp_path / "model.gguf").write_bytes(content)
    assert refusal(tmp_path / "model.gguf").kind == "unsupported"


@pytest.mark.parametrize("architecture", ["deepseek2", "t5", "clip"])
def test_a_gguf_file_of_an_architecture_that_cannot_be_loaded(tmp_path, architecture):
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "model.gguf", architecture)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    error = refusal(tmp_path / "model.gguf")
    assert error.kind == "unsupported"
    assert f"'{architecture}'" in error.message


def test_one_part_of_a_gguf_model(tmp_path, tiny_gguf):
    path = tmp_path / "model-00001-of-00003.gguf"
    path.write_bytes(tiny_gguf.read_bytes())
    assert "--merge" in refusal(path).hint


def test_a_gguf_file_that_lacks_weights(tmp_path, tiny_gguf, own_cache):
    import gguf

    source = gguf.GGUFReader(tiny_gguf)
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    for field in source.fields.values():
        if field.name != "general.architecture" and not field.name.startswith("GGUF."):
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)
    for tensor in source.tensors:
        if tensor.name != "blk.2.ffn_up.weight":
            writer.add_tensor(tensor.name, tensor.data.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    error = refusal(tmp_path / "model.gguf")
    assert error.kind == "format"
    assert "lacks 1 weights" in error.message and "model.layers.2.mlp.up_proj.weight" in error.message
    assert list((own_cache / "gguf").iterdir()) == []


def test_no_room_for_the_converted_copy(tiny_gguf, own_cache, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    error = refusal(tiny_gguf)
    assert error.kind == "storage"
    assert "MAXACT_CACHE" in error.hint


# --- the machine


def test_more_weights_than_memory(tmp_path):
    path = tmp_path / "model"
    models.tiny_llama_folder(path)
    width = 1 << 20
    edit_config(path, hidden_size=width, dtype="bfloat16")
    header = {"w": {"dtype": "BF16", "shape": [width, width], "data_offsets": [0, 2 * width * width]}}
    encoded = json.dumps(header).encode()
    with (path / "model.safetensors").open("wb") as stream:
        stream.write(struct.pack("<Q", len(encoded)) + encoded)
        try:
            stream.truncate(8 + len(encoded) + 2 * width * width)
        except OSError:
            pytest.skip("the file system cannot hold a sparse file of this size")
    error = refusal(path)
    assert error.kind == "memory"
    assert re.search(r"need 2048\.0 GiB and this machine has [\d.]+ GiB free", error.message)


def test_a_gguf_file_whose_weights_exceed_the_memory(tmp_path, own_cache):
    import gguf
    import numpy as np

    path, width = tmp_path / "model.gguf", 1 << 19
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor_info("token_embd.weight", [width, width], np.dtype(np.float32), 4 * width * width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    try:
        os.truncate(path, path.stat().st_size + 32 + 4 * width * width)
    except OSError:
        pytest.skip("the file system cannot hold a sparse file of this size")
    error = refusal(path)
    assert error.kind == "memory"
    assert re.search(r"need 1044\.5 GiB in float32 .* has [\d.]+ GiB free", error.message)


def test_an_unknown_dtype(folder):
    error = refusal(folder, dtype="int4")
    assert "auto, bfloat16, float16, float32" in error.hint


def test_the_traceback_is_kept_for_debugging(folder):
    edit_config(folder, model_type="bailing_moe")
    error = refusal(folder)
    assert isinstance(error.__cause__, ValueError)
    assert error.__cause__.__traceback__ is not None
    assert sys.exc_info() == (None, None, None)
