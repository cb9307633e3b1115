"""A folder is loaded as it says, with everything about it on record."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.base.job import Job
from engine.base.weights import comparable_weights
from engine.loading.load import load_model
from tests import models


def load(folder, **options):
    return load_model(Job(model=str(folder), **{"device": "cpu", **options}), lambda progress: None)


@pytest.mark.parametrize("stored", ["float32", "bfloat16", "float16"])
def test_auto_is_the_checkpoints_type(tmp_path, stored):
    loaded = load(models.tiny_llama_folder(tmp_path / "m", dtype=stored))
    assert loaded.provenance.dtype == loaded.provenance.checkpoint_dtype == stored
    assert any("65504" in note for note in loaded.provenance.notes) == (stored == "float16")


def test_another_type_may_be_asked_for(tiny_model_folder):
    wide, narrow = load(tiny_model_folder), load(tiny_model_folder, dtype="bfloat16")
    assert narrow.provenance.dtype == "bfloat16"
    assert torch.equal(narrow.model.lm_head.weight, wide.model.lm_head.weight.bfloat16())


def test_a_config_that_disagrees_with_the_files_wins_and_is_noted(tmp_path):
    folder = models.tiny_llama_folder(tmp_path / "m", dtype="float32")
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "dtype": "bfloat16"}))
    loaded = load(folder)
    assert (loaded.provenance.dtype, loaded.provenance.checkpoint_dtype) == ("bfloat16", "float32")
    assert "config.json says bfloat16, the files hold float32: bfloat16 was used" in loaded.provenance.notes


def test_a_config_without_a_type_leaves_it_to_the_files(tmp_path):
    folder = models.tiny_llama_folder(tmp_path / "m", dtype="bfloat16")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["dtype"]
    path.write_text(json.dumps(config))
    assert load(folder).provenance.dtype == "bfloat16"


def test_the_model_is_ready_to_be_measured(tiny_model_folder):
    loaded = load(tiny_model_folder)
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.tokenizer.padding_side == "right"
    ids = loaded.tokenizer(models.SENTENCES[0], return_tensors="pt")["input_ids"]
    assert torch.isfinite(loaded.model(ids).logits).all()


def test_provenance_says_what_was_loaded_and_is_json(tiny_model_folder):
    provenance = load(tiny_model_folder).provenance
    assert json.loads(json.dumps(provenance.to_json())) == provenance.to_json()
    assert provenance.model == provenance.resolved == str(tiny_model_folder)
    assert (provenance.revision, provenance.commit, provenance.quantization) == (None, None, None)
    assert (provenance.architecture, provenance.model_type) == ("LlamaForCausalLM", "llama")
    assert provenance.context_window == models.TINY_LLAMA["max_position_embeddings"]
    tensors = load_file(tiny_model_folder / "model.safetensors")
    assert provenance.parameters == sum(tensor.numel() for tensor in tensors.values())
    assert {"python", "torch", "transformers", "accelerate", "tokenizers", "maxact-tui"} <= set(provenance.versions)
    assert provenance.versions["torch"] == torch.__version__


def test_tied_weights_are_not_missing_and_counted_once(tmp_path):
    tied = load(models.tiny_llama_folder(tmp_path / "tied", tie_word_embeddings=True))
    free = load(models.tiny_llama_folder(tmp_path / "free", tie_word_embeddings=False))
    assert tied.model.lm_head.weight is tied.model.model.embed_tokens.weight
    assert free.provenance.parameters - tied.provenance.parameters == tied.model.lm_head.weight.numel()


def test_the_weight_hash_is_the_contents_not_the_places(tmp_path):
    one = load(models.tiny_llama_folder(tmp_path / "one", seed=1)).provenance
    same = load(models.tiny_llama_folder(tmp_path / "same", seed=1)).provenance
    other = load(models.tiny_llama_folder(tmp_path / "other", seed=2)).provenance
    assert one.weight_hash == same.weight_hash != other.weight_hash
    assert one.tokenizer_hash == same.tokenizer_hash == other.tokenizer_hash


def test_the_weight_hash_is_of_every_byte(tmp_path, own_cache):
    """Samples of a file can be the same where the rest of it is lost, and its time can be set back."""
    folder = models.tiny_llama_folder(tmp_path / "m")
    before, file = load(folder).provenance, folder / "model.safetensors"
    stat, content = file.stat(), bytearray(file.read_bytes())
    step = (len(content) - 4096) / 64
    place = next(int(step * n) + 4096 for n in range(60, 0, -1) if step > 4096) if step > 4096 else len(content) - 1
    content[place] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = load(folder).provenance
    assert before.weight_hash != after.weight_hash
    assert before.weight_hash.startswith("sha256:")
    older = {"weight_hash": after.weight_sample}
    assert len(set(comparable_weights([older, after.to_json()]))) == 1
    assert comparable_weights([before.to_json(), after.to_json()]) == [before.weight_hash, after.weight_hash]


def test_the_tokenizer_hash_changes_with_the_chat_template(tmp_path):
    folder = models.tiny_llama_folder(tmp_path / "m")
    before = load(folder).provenance.tokenizer_hash
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    assert load(folder).provenance.tokenizer_hash != before


def test_shards_are_one_model(tmp_path, tiny_model_folder):
    from transformers import LlamaConfig

    sharded = models.tiny_folder(tmp_path / "m", LlamaConfig(**models.TINY_LLAMA), max_shard_size="60KB")
    assert len(list(sharded.glob("*.safetensors"))) > 2
    state, whole = load(sharded).model.state_dict(), load(tiny_model_folder).model.state_dict()
    assert all(torch.equal(state[name], whole[name]) for name in whole)


@pytest.mark.parametrize(
    ("config_class", "fields", "architecture", "window"),
    [
        ("GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}, "GPT2LMHeadModel", 128),
        ("Qwen3Config", {"head_dim": 8}, "Qwen3ForCausalLM", 128),
        ("Gemma2Config", {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 16}, "Gemma2ForCausalLM", 128),
        ("BloomConfig", {"n_layer": 2, "n_head": 4}, "BloomForCausalLM", None),
        ("MptConfig", {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 64}, "MptForCausalLM", 64),
    ],
)
def test_other_families_load_and_name_their_context(tmp_path, config_class, fields, architecture, window):
    import transformers

    common = {"vocab_size": 300, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if config_class not in ("GPT2Config", "MptConfig"):
        common = (
            {**models.TINY_LLAMA, "num_hidden_layers": 2}
            if config_class != "BloomConfig"
            else {**common, "hidden_size": 32}
        )
    config = getattr(transformers, config_class)(**{**common, **fields})
    loaded = load(models.tiny_folder(tmp_path / "m", config))
    assert loaded.provenance.architecture == architecture
    assert loaded.provenance.context_window == window
    eager = loaded.provenance.attention == "eager"
    assert any("eager attention" in note for note in loaded.provenance.notes) == eager


def test_a_multimodal_model_without_a_text_only_class_is_loaded_whole(tmp_path):
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = {
        **models.TINY_LLAMA,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]},
    }
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_heads": 2,
        "out_hidden_size": 32,
        "patch_size": 4,
        "spatial_merge_size": 2,
        "window_size": 16,
        "fullatt_block_indexes": [0],
    }
    tokens = {"image_token_id": 3, "video_token_id": 4, "vision_start_token_id": 5, "vision_end_token_id": 6}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **tokens)
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.save_pretrained(tmp_path / "m")
    models.tiny_tokenizer().save_pretrained(tmp_path / "m")
    loaded = load(tmp_path / "m")
    assert loaded.provenance.architecture == "Qwen2_5_VLForConditionalGeneration"
    assert loaded.provenance.context_window == 128


def test_code_of_a_trusted_repository_is_run(tmp_path):
    folder = models.tiny_llama_folder(tmp_path / "m")
    path = folder / "config.json"
    auto_map = {"AutoConfig": "homemade.HomemadeConfig", "AutoModelForCausalLM": "homemade.HomemadeForCausalLM"}
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "homemade", "auto_map": auto_map}))
    (folder / "homemade.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class HomemadeConfig(LlamaConfig):\n    model_type = 'homemade'\n"
        "class HomemadeForCausalLM(LlamaForCausalLM):\n    config_class = HomemadeConfig\n"
    )
    loaded = load(folder, trust_remote_code=True)
    assert loaded.provenance.architecture == "HomemadeForCausalLM"


def test_a_folder_with_one_gguf_file_is_that_model(tiny_gguf, tmp_path, own_cache):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "only.gguf").write_bytes(tiny_gguf.read_bytes())
    assert load(tmp_path / "m").provenance.architecture == "LlamaForCausalLM"


def test_the_hub_may_be_asked_again_after_a_local_load(tiny_model_folder, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    load(tiny_model_folder)
    assert constants.HF_HUB_OFFLINE is False


def test_extra_tensors_do_not_change_what_is_loaded(tmp_path, tiny_model_folder):
    folder = models.tiny_llama_folder(tmp_path / "m")
    path = folder / "model.safetensors"
    save_file({**load_file(path), "extra.weight": torch.ones(2)}, path, metadata={"format": "pt"})
    state = load(folder).model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in load(tiny_model_folder).model.state_dict().items())
