"""One tiny random model per family: its config, and what must be found in it.

- `Family`    a config class, its fields and the expected sites of every layer
- `FAMILIES`  all of them by name
- `build`     a family's model on the CPU, weights scaled so that maxima are distinguishable
- `tokens`    a small batch of token ids that avoids the special ones
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import transformers

VOCABULARY = 128
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
IMAGE = {"image_token_id": 3, "video_token_id": 4, "vision_start_token_id": 5, "vision_end_token_id": 6}


@dataclass(frozen=True)
class Family:
    """A tiny model and what every layer of it must show.

    `layers` names each decoder block's sites with one letter per site: `a` attn_output, `g` mlp_gate, `r`
    router_logits, `m` mlp_output, `A` attn_post_norm, `M` mlp_post_norm; one word per block, or one for all.
    A doubled letter is a second site of that component. `hidden` is expected in every block.
    """

    config: str
    fields: dict[str, Any]
    layers: str
    model: str = ""
    residual: str = "pre"
    gate_width: int = 64
    final_norm: bool = True
    embedding_is_input: bool = True
    switchable: bool | None = None
    planes: int = 0

    def words(self, blocks: int) -> list[str]:
        """One word of site letters per decoder block."""
        words = self.layers.split()
        return words * blocks if len(words) == 1 else words


def _base(**fields: Any) -> dict[str, Any]:
    """The fields most configs share: three blocks of width 32."""
    shared = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
    }
    return {**shared, **SPECIAL, **fields}


def _gpt(**fields: Any) -> dict[str, Any]:
    """The fields of GPT-2's config and its relatives."""
    return {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128, **SPECIAL, **fields}


def _plain(**fields: Any) -> dict[str, Any]:
    """The fields of configs that know no grouped-query attention."""
    shared = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
    return {**shared, **SPECIAL, **fields}


def _rope(**fields: Any) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 1e4, **fields}


MROPE = _rope(mrope_section=[1, 1, 2])
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}
LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
ROUTED_EXPERTS = {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
SHARED_EXPERT = {"moe_intermediate_size": 16, "shared_expert_intermediate_size": 16}
LATENT = {"kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 8}
VISION_QWEN = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32}
VISION_QWEN25 = {
    **VISION_QWEN,
    "patch_size": 4,
    "spatial_merge_size": 2,
    "window_size": 16,
    "fullatt_block_indexes": [0],
}
VISION_QWEN3 = {
    **VISION_QWEN,
    "patch_size": 4,
    "spatial_merge_size": 2,
    "num_position_embeddings": 16,
    "deepstack_visual_indexes": [0],
}
SIGLIP = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
SIGLIP = {**SIGLIP, "image_size": 16, "patch_size": 4}
LINEAR = {
    "head_dim": 8,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
QWEN35 = _base(**LINEAR, rope_parameters=_rope(partial_rotary_factor=1.0, mrope_section=[1, 1, 2]))
QWEN35_MOE = {**QWEN35, **EXPERTS, **SHARED_EXPERT}
SLIDING = {"sliding_window": 16, "head_dim": 8}
GEMMA = {**SLIDING, "query_pre_attn_scalar": 8}
LLAMA4 = _base(
    head_dim=8,
    num_local_experts=4,
    num_experts_per_tok=1,
    intermediate_size_mlp=64,
    interleave_moe_layer_step=2,
    attention_chunk_size=16,
)
LLAMA4_VISION = {
    **SIGLIP,
    "vision_output_dim": 32,
    "projector_input_dim": 32,
    "projector_output_dim": 32,
}
LLAMA4_IMAGE = {"image_token_index": 3, "boi_token_index": 4, "eoi_token_index": 5}
MAMBA = {"mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 8}

FAMILIES: dict[str, Family] = {
    # The paper's families.
    "qwen2": Family("Qwen2Config", _base(), "agm"),
    "qwen2_5_vl": Family(
        "Qwen2_5_VLConfig",
        {"text_config": _base(rope_parameters=MROPE), "vision_config": VISION_QWEN25, **IMAGE},
        "agm",
        model="Qwen2_5_VLForConditionalGeneration",
    ),
    "qwen3": Family("Qwen3Config", _base(head_dim=8), "agm"),
    "qwen3_moe": Family(
        "Qwen3MoeConfig", _base(head_dim=8, moe_intermediate_size=16, **EXPERTS), "arm", switchable=True
    ),
    "qwen3_5_text": Family("Qwen3_5TextConfig", QWEN35, "agm"),
    "qwen3_5": Family(
        "Qwen3_5Config",
        {"text_config": QWEN35, "vision_config": VISION_QWEN3, **IMAGE},
        "agm",
        model="Qwen3_5ForConditionalGeneration",
    ),
    "qwen3_5_moe_text": Family("Qwen3_5MoeTextConfig", QWEN35_MOE, "agrm", gate_width=16, switchable=True),
    "qwen3_5_moe": Family(
        "Qwen3_5MoeConfig",
        {"text_config": QWEN35_MOE, "vision_config": VISION_QWEN3, **IMAGE},
        "agrm",
        model="Qwen3_5MoeForConditionalGeneration",
        gate_width=16,
        switchable=True,
    ),
    "gemma": Family("GemmaConfig", _base(head_dim=8), "agm"),
    "gemma2": Family("Gemma2Config", _base(**GEMMA), "aAgmM", residual="post"),
    "gemma3_text": Family("Gemma3TextConfig", _base(**GEMMA), "aAgmM", residual="post"),
    "gemma3": Family(
        "Gemma3Config",
        {"text_config": _base(**GEMMA), "vision_config": SIGLIP, "mm_tokens_per_image": 4, **LLAMA4_IMAGE},
        "aAgmM",
        model="Gemma3ForConditionalGeneration",
        residual="post",
    ),
    "gpt_oss": Family(
        "GptOssConfig",
        _base(**{**SLIDING, **LOCAL_EXPERTS, "intermediate_size": 16, "rope_parameters": _rope()}),
        "arm",
        switchable=True,
    ),
    "bailing_hybrid": Family(
        "BailingHybridConfig",
        _base(
            num_key_value_heads=4,
            head_dim=8,
            moe_intermediate_size=16,
            n_group=2,
            topk_group=1,
            kv_lora_rank=8,
            qk_rope_head_dim=4,
            v_head_dim=8,
            qk_nope_head_dim=8,
            first_k_dense_replace=1,
            layer_group_size=3,
            n_shared_experts=1,
            num_mtp_layers=0,
            **LOCAL_EXPERTS,
        ),
        "agm agrm agrm",
        gate_width=16,
        switchable=True,
    ),
    # The other families the project promises.
    "llama": Family("LlamaConfig", _base(), "agm"),
    "llama4_text": Family("Llama4TextConfig", LLAMA4, "agm agrm agm", switchable=False),
    "llama4": Family(
        "Llama4Config",
        {"text_config": LLAMA4, "vision_config": LLAMA4_VISION, **LLAMA4_IMAGE},
        "agm agrm agm",
        model="Llama4ForConditionalGeneration",
        switchable=False,
    ),
    "mistral": Family("MistralConfig", _base(**SLIDING), "agm"),
    "mixtral": Family("MixtralConfig", _base(**LOCAL_EXPERTS), "arm", switchable=True),
    "phi": Family("PhiConfig", _base(num_key_value_heads=4), "am", residual="parallel"),
    "phi3": Family("Phi3Config", _base(), "agm"),
    "phimoe": Family("PhimoeConfig", _base(**LOCAL_EXPERTS), "arm", switchable=True),
    "olmo2": Family("Olmo2Config", _base(), "aAgmM", residual="post"),
    "olmo3": Family("Olmo3Config", _base(sliding_window=16), "aAgmM", residual="post"),
    "olmoe": Family("OlmoeConfig", _base(**EXPERTS), "arm", switchable=True),
    "deepseek_v2": Family(
        "DeepseekV2Config",
        _base(
            num_key_value_heads=4,
            first_k_dense_replace=1,
            n_group=1,
            topk_group=1,
            topk_method="greedy",
            **ROUTED_EXPERTS,
            **LATENT,
        ),
        "agm agrm agrm",
        gate_width=16,
        switchable=True,
    ),
    "deepseek_v3": Family(
        "DeepseekV3Config",
        _base(num_key_value_heads=4, first_k_dense_replace=1, n_group=2, topk_group=1, **ROUTED_EXPERTS, **LATENT),
        "agm agrm agrm",
        gate_width=16,
        switchable=True,
    ),
    "glm": Family("GlmConfig", _base(head_dim=8), "agm"),
    "glm4": Family("Glm4Config", _base(head_dim=8), "aAgmM", residual="post"),
    "glm4_moe": Family(
        "Glm4MoeConfig",
        _base(head_dim=8, first_k_dense_replace=1, n_group=1, topk_group=1, **ROUTED_EXPERTS),
        "agm agrm agrm",
        gate_width=16,
        switchable=True,
    ),
    "falcon": Family("FalconConfig", _plain(), "am", residual="parallel"),
    "falcon_40b": Family(
        "FalconConfig", _plain(new_decoder_architecture=True, num_kv_heads=2), "am", residual="parallel"
    ),
    "falcon_rw": Family("FalconConfig", _plain(alibi=True, parallel_attn=False, multi_query=False, bias=True), "am"),
    "gpt2": Family("GPT2Config", _gpt(), "am", embedding_is_input=False),
    "gpt_neox": Family(
        "GPTNeoXConfig", _plain(intermediate_size=64, max_position_embeddings=128), "am", residual="parallel"
    ),
    "gptj": Family("GPTJConfig", _gpt(rotary_dim=4), "am", residual="parallel"),
    "opt": Family(
        "OPTConfig",
        _plain(ffn_dim=64, max_position_embeddings=128, word_embed_proj_dim=32),
        "am",
        embedding_is_input=False,
    ),
    "opt_350m": Family(
        "OPTConfig",
        _plain(ffn_dim=64, max_position_embeddings=128, word_embed_proj_dim=16, do_layer_norm_before=False),
        "am",
        residual="special",
        final_norm=False,
        embedding_is_input=False,
    ),
    "mpt": Family(
        "MptConfig",
        {"vocab_size": VOCABULARY, "d_model": 32, "n_heads": 4, "n_layers": 3, "max_seq_len": 128, **SPECIAL},
        "am",
        residual="inside",
    ),
    "bloom": Family(
        "BloomConfig",
        {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 3, "n_head": 4, **SPECIAL},
        "am",
        residual="inside",
        embedding_is_input=False,
    ),
    "stablelm": Family("StableLmConfig", _base(), "agm"),
    "smollm3": Family("SmolLM3Config", _base(), "agm"),
    "granite": Family(
        "GraniteConfig",
        _base(embedding_multiplier=12.0, residual_multiplier=0.22, logits_scaling=8.0, attention_multiplier=0.1),
        "agm",
        residual="scaled",
        embedding_is_input=False,
    ),
    "granitemoe": Family("GraniteMoeConfig", _base(**LOCAL_EXPERTS), "arm", switchable=True),
    "granitemoehybrid": Family(
        "GraniteMoeHybridConfig",
        _base(
            layer_types=["mamba", "attention", "mamba"],
            shared_intermediate_size=16,
            mamba_n_heads=4,
            mamba_d_head=16,
            **MAMBA,
            **LOCAL_EXPERTS,
        ),
        "agrmm",
        gate_width=16,
        switchable=True,
    ),
    "qwen3_next": Family(
        "Qwen3NextConfig", _base(**LINEAR, **EXPERTS, **SHARED_EXPERT), "agrm", gate_width=16, switchable=True
    ),
    "qwen3_vl": Family(
        "Qwen3VLConfig",
        {"text_config": _base(head_dim=8, rope_parameters=MROPE), "vision_config": VISION_QWEN3, **IMAGE},
        "agm",
        model="Qwen3VLForConditionalGeneration",
    ),
    "qwen3_vl_moe": Family(
        "Qwen3VLMoeConfig",
        {
            "text_config": _base(head_dim=8, moe_intermediate_size=16, rope_parameters=MROPE, **EXPERTS),
            "vision_config": VISION_QWEN3,
            **IMAGE,
        },
        "arm",
        model="Qwen3VLMoeForConditionalGeneration",
        switchable=True,
    ),
    "qwen2_moe": Family("Qwen2MoeConfig", _base(**EXPERTS, **SHARED_EXPERT), "agrm", gate_width=16, switchable=True),
    "mamba": Family("MambaConfig", _plain(state_size=4), "a"),
    "mamba2": Family(
        "Mamba2Config",
        {**_plain(state_size=8, num_heads=8, head_dim=8, n_groups=1, chunk_size=8)},
        "a",
    ),
    "jamba": Family(
        "JambaConfig",
        _base(
            attn_layer_period=2,
            attn_layer_offset=1,
            expert_layer_period=2,
            expert_layer_offset=1,
            mamba_d_state=4,
            use_mamba_kernels=False,
            **EXPERTS,
        ),
        "agm arm agm",
        switchable=True,
    ),
    # Further families: the structural rules must hold beyond the promise.
    "cohere": Family("CohereConfig", _base(), "agm", residual="parallel"),
    "cohere2": Family("Cohere2Config", _base(**SLIDING), "agm", residual="parallel"),
    "ernie4_5_moe": Family(
        "Ernie4_5_MoeConfig",
        _base(moe_num_experts=4, moe_k=2, moe_intermediate_size=16, moe_num_shared_experts=1),
        "agm agrm agrm",
        gate_width=16,
        switchable=True,
    ),
    "gemma3n_text": Family(
        "Gemma3nTextConfig",
        _base(
            head_dim=8,
            intermediate_size=[64, 64, 64],
            vocab_size_per_layer_input=VOCABULARY,
            hidden_size_per_layer_input=8,
            num_kv_shared_layers=0,
            activation_sparsity_pattern=[0.0] * 3,
            layer_types=["sliding_attention", "sliding_attention", "full_attention"],
            laurel_rank=4,
            sliding_window=16,
        ),
        "aAgmM",
        residual="special",
        planes=4,
    ),
    "gemma4_text": Family(
        "Gemma4TextConfig",
        _base(
            global_head_dim=8,
            vocab_size_per_layer_input=VOCABULARY,
            hidden_size_per_layer_input=8,
            num_kv_shared_layers=0,
            **SLIDING,
        ),
        "aAgmM",
        residual="special",
    ),
    "gemma4_moe": Family(
        "Gemma4TextConfig",
        _base(
            global_head_dim=8,
            vocab_size_per_layer_input=VOCABULARY,
            hidden_size_per_layer_input=8,
            num_kv_shared_layers=0,
            enable_moe_block=True,
            num_experts=4,
            top_k_experts=2,
            moe_intermediate_size=16,
            **SLIDING,
        ),
        "aAgrmmMMM",
        residual="special",
        switchable=True,
    ),
    "lfm2": Family(
        "Lfm2Config", _base(layer_types=["conv", "full_attention", "conv"], block_multiple_of=8), "agm", gate_width=48
    ),
    "minimax_m2": Family("MiniMaxM2Config", _base(head_dim=8, **LOCAL_EXPERTS), "arm", switchable=True),
    "hunyuan_v1_dense": Family("HunYuanDenseV1Config", _base(head_dim=8), "agm"),
    "apertus": Family("ApertusConfig", _base(), "am"),
    "nemotron": Family("NemotronConfig", _base(), "am"),
    "falcon_h1": Family(
        "FalconH1Config", _base(head_dim=8, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, **MAMBA), "aagm"
    ),
    "zamba2": Family(
        "Zamba2Config",
        _base(
            num_key_value_heads=4,
            layers_block_type=["mamba", "hybrid", "mamba"],
            mamba_d_state=8,
            mamba_ngroups=1,
            n_mamba_heads=4,
            mamba_headdim=16,
            chunk_size=8,
            attention_head_dim=16,
            attention_hidden_size=64,
            use_mem_rope=False,
            num_mem_blocks=1,
            adapter_rank=4,
        ),
        "a aagm a",
    ),
    "recurrent_gemma": Family(
        "RecurrentGemmaConfig",
        _base(head_dim=8, lru_width=32, attention_window_size=16, block_types=["recurrent", "recurrent", "attention"]),
        "agm",
        gate_width=32,
        embedding_is_input=False,
    ),
    "starcoder2": Family("Starcoder2Config", _base(), "am"),
    "gpt_bigcode": Family("GPTBigCodeConfig", _gpt(), "am", embedding_is_input=False),
    "persimmon": Family("PersimmonConfig", _base(), "am"),
    "dbrx": Family(
        "DbrxConfig",
        {
            "vocab_size": VOCABULARY,
            "d_model": 32,
            "n_heads": 4,
            "n_layers": 3,
            "max_seq_len": 128,
            "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 1e4},
            "ffn_config": {"ffn_hidden_size": 16, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 32},
            **SPECIAL,
        },
        "arm",
        switchable=False,
    ),
    "nemotron_h": Family(
        "NemotronHConfig",
        _base(
            head_dim=8,
            layers_block_type=["mamba", "attention", "moe"],
            mamba_num_heads=4,
            mamba_head_dim=8,
            ssm_state_size=8,
            n_groups=1,
            chunk_size=8,
            moe_shared_expert_intermediate_size=16,
            n_group=1,
            topk_group=1,
            **ROUTED_EXPERTS,
        ),
        "a a rm",
        switchable=True,
    ),
    "longcat_flash": Family(
        "LongcatFlashConfig",
        _base(
            num_layers=2,
            head_dim=4,
            num_key_value_heads=4,
            ffn_hidden_size=64,
            expert_ffn_hidden_size=16,
            n_routed_experts=4,
            zero_expert_num=2,
            moe_topk=2,
            **LATENT,
        ),
        "aaggrmmm",
        switchable=False,
    ),
    "exaone4": Family("Exaone4Config", _base(**SLIDING), "aAgmM", residual="post"),
    "seed_oss": Family("SeedOssConfig", _base(head_dim=8), "agm"),
    "glm4_moe_lite": Family(
        "Glm4MoeLiteConfig",
        _base(num_key_value_heads=4, first_k_dense_replace=1, n_group=1, topk_group=1, **ROUTED_EXPERTS, **LATENT),
        "agm agrm agrm",
        gate_width=16,
        switchable=True,
    ),
}


# Families that the oldest supported transformers lacks.
NEWER = {"bailing_hybrid"}


def need_router_logits(name: str) -> None:
    """Skip where the family's router keeps its logits to itself; the plan's self-check then says so of the site."""
    if name == "longcat_flash" and tuple(map(int, transformers.__version__.split(".")[:2])) < (5, 19):
        pytest.skip("LongCat's router returns no logits before transformers 5.19")


def build(name: str, **overrides: Any) -> torch.nn.Module:
    """The family's model: float32, in eval mode, matrices scaled by 3 so that maxima stand apart."""
    family = FAMILIES[name]
    if name in NEWER and not hasattr(transformers, family.config):
        pytest.skip(f"transformers {transformers.__version__} has no {family.config}")
    config = getattr(transformers, family.config)(**{**family.fields, **overrides})
    torch.manual_seed(11)
    if family.model:
        model = getattr(transformers, family.model)(config)
    else:
        model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.mul_(3)
    return model.eval()


def tokens(samples: int, length: int, seed: int = 5) -> torch.Tensor:
    """int64 [samples, length] token ids that are neither special nor image placeholders."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(8, VOCABULARY, (samples, length), generator=generator)
