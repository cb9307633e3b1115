"""A GGUF file is converted once, exactly, and the copy is trusted only while it is whole."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from engine.base.job import Job
from engine.loading.gguf_patches import QuickReader
from engine.loading.load import load_model
from engine.messages import Code
from tests import models


def load(path, **options):
    phases = []
    loaded = load_model(
        Job(model=str(path), device="cpu", **options), lambda p: phases.append((p.phase, p.done, p.total))
    )
    return loaded, phases


def copies(cache):
    return sorted((cache / "gguf").iterdir())


def converted(phases):
    return any(phase == Code.CONVERTING for phase, _, _ in phases)


def test_weights_and_tokens_survive_the_conversion_exactly(tiny_gguf, own_cache):
    loaded, _ = load(tiny_gguf)
    original, _ = load(tiny_gguf.parent / "source")
    assert loaded.provenance.dtype == loaded.provenance.checkpoint_dtype == "float32"
    assert loaded.provenance.quantization is None
    expected = original.model.state_dict()
    found = loaded.model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    for text in models.SENTENCES:
        ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert ids == original.tokenizer(text, add_special_tokens=False)["input_ids"]


# Q5_0 is unpacked by the older of transformers' two loaders alone; Q4_1 by the newer one, too, since 5.18.
@pytest.mark.parametrize("quantization", ["Q8_0", "Q4_1", "Q5_0"])
def test_packed_weights_are_dequantised_to_bfloat16_unless_another_type_is_asked_for(
    tiny_gguf, tmp_path, own_cache, quantization
):
    packed = models.tiny_llama_gguf(tmp_path / "packed.gguf", tiny_gguf.parent / "source", quantization)
    auto, _ = load(packed)
    wide, _ = load(packed, dtype="float32")
    assert auto.provenance.quantization == f"gguf {quantization}"
    assert auto.provenance.checkpoint_dtype == quantization
    assert (auto.provenance.dtype, wide.provenance.dtype) == ("bfloat16", "float32")
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(packed).tensors}
    raw = tensors["blk.1.ffn_down.weight"]
    values = torch.from_numpy(gguf.dequantize(raw.data, raw.tensor_type))
    assert torch.equal(wide.model.model.layers[1].mlp.down_proj.weight, values)
    assert torch.equal(auto.model.model.layers[1].mlp.down_proj.weight, values.bfloat16())


def test_the_second_load_converts_nothing_and_gives_the_same(tiny_gguf, own_cache):
    first, phases = load(tiny_gguf)
    assert converted(phases)
    tensors = len(first.model.state_dict())
    assert (Code.CONVERTING, tensors, tensors) in phases
    second, phases = load(tiny_gguf)
    assert not converted(phases)
    assert second.provenance == first.provenance
    assert all(map(torch.equal, first.model.state_dict().values(), second.model.state_dict().values()))
    assert len(copies(own_cache)) == 1


def test_another_type_is_another_copy(tiny_gguf, own_cache):
    load(tiny_gguf)
    _, phases = load(tiny_gguf, dtype="bfloat16")
    assert converted(phases)
    assert len(copies(own_cache)) == 2


def spoil_length(copy):
    with (copy / "model.safetensors").open("r+b") as stream:
        stream.truncate(1000)


def spoil_content(copy):
    path = copy / "model.safetensors"
    stat = path.stat()
    path.write_bytes(bytes(stat.st_size))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def spoil_a_middle(copy):
    """Blocks that were lost in the middle of a file, whose start, end, length and time are as they were."""
    path = copy / "model.safetensors"
    stat = path.stat()
    with path.open("r+b") as stream:
        stream.seek(stat.st_size * 2 // 3 + 5)
        stream.write(bytes(100))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def spoil_time(copy):
    later = (copy / "config.json").stat().st_mtime_ns + 10**9  # the clock of a file system may be coarse
    os.utime(copy / "config.json", ns=(later, later))


def spoil_manifest(copy):
    (copy / "maxact.json").write_text("[]")


def lose_tokenizer(copy):
    (copy / "tokenizer.json").unlink()


SPOILS = [spoil_length, spoil_content, spoil_a_middle, spoil_time, spoil_manifest, lose_tokenizer]


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_spoilt_copy_is_made_again(tiny_gguf, own_cache, spoil):
    first, _ = load(tiny_gguf)
    # On the CPU the weights are the mapped file itself.
    weights = {name: tensor.clone() for name, tensor in first.model.state_dict().items()}
    del first
    (copy,) = copies(own_cache)
    spoil(copy)
    second, phases = load(tiny_gguf)
    assert converted(phases)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in second.model.state_dict().items())
    assert copies(own_cache) == [copy]
    _, phases = load(tiny_gguf)
    assert not converted(phases)


@pytest.mark.slow
def test_processes_converting_at_once_all_succeed_and_leave_one_copy(tiny_gguf, own_cache):
    code = (
        "import sys; from engine.base.job import Job; from engine.loading.load import load_model; "
        "print(load_model(Job(model=sys.argv[1], device='cpu'), lambda p: None).provenance.weight_hash)"
    )
    command = [sys.executable, "-c", code, str(tiny_gguf)]
    environment = {**os.environ, "MAXACT_CACHE": str(own_cache), "OMP_NUM_THREADS": "1"}
    with ThreadPoolExecutor(2) as pool:
        run = partial(subprocess.run, command, env=environment, capture_output=True, text=True, check=False)
        results = [future.result() for future in [pool.submit(run) for _ in range(2)]]
    assert [result.returncode for result in results] == [0, 0], results[0].stderr + results[1].stderr
    assert results[0].stdout == results[1].stdout
    assert len(copies(own_cache)) == 1


def test_a_cancelled_conversion_leaves_nothing_behind_and_raises_what_cancelled_it(tiny_gguf, own_cache):
    class StopRequested(Exception):
        pass

    def report(progress):
        if progress.phase == Code.CONVERTING and progress.done > 0:
            raise StopRequested

    with pytest.raises(StopRequested):
        load_model(Job(model=str(tiny_gguf), device="cpu"), report)
    assert copies(own_cache) == []


def test_a_conversion_that_was_killed_is_cleared_away_a_day_later(tiny_gguf, own_cache):
    load(tiny_gguf)
    old, new = own_cache / "gguf" / "building-old", own_cache / "gguf" / "building-new"
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (0, 0))
    load(tiny_gguf, dtype="float16")
    assert not old.exists() and new.exists()


def test_without_a_cache_the_model_loads_all_the_same_and_says_so(tiny_gguf, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setenv("MAXACT_CACHE", str(tmp_path / "cache"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    loaded, _ = load(tiny_gguf)
    assert any("MAXACT_CACHE" in note for note in loaded.provenance.notes)
    assert list(temporary.iterdir()) == []
    assert torch.isfinite(loaded.model.lm_head.weight.sum())


def test_nothing_of_the_libraries_stays_patched(tiny_gguf, own_cache):
    from transformers import modeling_gguf_pytorch_utils as legacy

    names = ("load_gguf_checkpoint", "tqdm", "get_gguf_hf_weights_map", "_gguf_parse_value")
    before = [gguf.GGUFReader, gguf.get_tensor_name_map, *(getattr(legacy, name) for name in names)]
    load(tiny_gguf)
    assert [gguf.GGUFReader, gguf.get_tensor_name_map, *(getattr(legacy, name) for name in names)] == before


def test_tensors_nothing_uses_are_named_at_every_load(tiny_gguf, tmp_path, own_cache):
    path = tmp_path / "with-more.gguf"
    source = gguf.GGUFReader(tiny_gguf)
    writer = gguf.GGUFWriter(path, "llama")
    for field in source.fields.values():
        if field.name not in ("general.architecture",) and not field.name.startswith("GGUF."):
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)
    for tensor in source.tensors:
        writer.add_tensor(tensor.name, np.array(tensor.data))
    writer.add_tensor("rope_freqs.weight", np.ones(4, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    for _ in range(2):
        loaded, _ = load(path)
        assert "1 tensors of the GGUF file were not used, the first is rope_freqs.weight" in loaded.provenance.notes


def test_the_quick_reader_reads_what_ggufs_own_reader_reads(tiny_gguf):
    slow, quick = gguf.GGUFReader(tiny_gguf), QuickReader(tiny_gguf)
    assert list(quick.fields) == list(slow.fields)
    for name, field in slow.fields.items():
        values = [quick.fields[name].parts[index] for index in quick.fields[name].data]
        assert quick.fields[name].types == field.types
        if field.types == [gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.STRING]:
            assert [bytes(value).decode() for value in values] == field.contents()
        elif field.types[0] == gguf.GGUFValueType.ARRAY:
            assert [value[0] for value in values] == field.contents()
        else:
            assert quick.fields[name].contents() == field.contents()
    for one, other in zip(slow.tensors, quick.tensors, strict=True):
        assert (one.name, one.tensor_type) == (other.name, other.tensor_type)
        assert np.array_equal(one.data, other.data)


@pytest.mark.demo_model
def test_the_demo_is_loaded_in_bfloat16_from_a_checked_file(loaded_demo, demo_gguf):
    provenance = loaded_demo.provenance
    assert provenance.architecture == "LlamaForCausalLM"
    assert provenance.model_type == "llama"
    assert provenance.parameters == 134_515_008
    assert provenance.dtype == "bfloat16"
    assert provenance.quantization == "gguf Q4_1"
    assert provenance.context_window == 8192
    assert provenance.weight_hash == "sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert provenance.device_map == {"": "cpu"}
    assert json.loads(json.dumps(provenance.to_json()))["versions"]["transformers"].startswith("5.")
    assert not loaded_demo.model.training
    assert loaded_demo.tokenizer.padding_side == "right"


@pytest.mark.demo_model
def test_the_demos_tokenizer_gives_the_references_tokens(loaded_demo):
    oracles = Path(__file__).parents[1] / "oracles"
    samples = [json.loads(line) for line in (oracles / "samples.jsonl").read_text().splitlines()]
    tokens = [json.loads(line) for line in (oracles / "smollm2_tokens.jsonl").read_text().splitlines()]
    for sample, expected in zip(samples, tokens, strict=True):
        ids = loaded_demo.tokenizer(sample["text"], add_special_tokens=False)["input_ids"]
        assert ids == expected["input_ids"]


@pytest.mark.demo_model
def test_the_demos_weights_are_its_files_weights_rounded_once(loaded_demo, demo_gguf):
    tensors = {tensor.name: tensor for tensor in QuickReader(demo_gguf).tensors}
    state = loaded_demo.model.state_dict()
    for name, key in {
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.11.ffn_down.weight": "model.layers.11.mlp.down_proj.weight",
        "blk.29.attn_norm.weight": "model.layers.29.input_layernorm.weight",
        "output_norm.weight": "model.norm.weight",
    }.items():
        values = gguf.dequantize(tensors[name].data, tensors[name].tensor_type)
        assert torch.equal(state[key], torch.from_numpy(values.copy()).bfloat16()), name


@pytest.mark.demo_model
def test_a_converted_demo_is_not_converted_again(loaded_demo, demo_gguf):
    _, phases = load(demo_gguf)
    assert not converted(phases)
