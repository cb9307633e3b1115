"""Models that break expectations, as checkpoints with their own code do.

- `LingLike`      a decoder whose router returns expert indices first, with separate expert modules and an MTP block
- `TellingBlock`  a Llama block with a module inside that may return anything
- `telling_llama` a tiny Llama with one such block
- `PackedLinear`  a linear layer with int8 weights that is no nn.Linear, like those of GPTQ and AWQ loaders
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaMLP, LlamaRMSNorm

from tests.sites.families import build


class LingLikeConfig(PreTrainedConfig):
    """As small as can be; the model type is in no table of the project."""

    model_type = "ling_like"

    def __init__(self, **fields: Any) -> None:
        self.hidden_size, self.num_hidden_layers, self.num_experts = 32, 2, 4
        self.intermediate_size, self.hidden_act, self.mlp_bias = 16, "silu", False
        self.vocab_size = 128
        super().__init__(**fields)


class LingLikeGate(nn.Module):
    """Returns (indices, weights, raw logits), in this order."""

    def __init__(self, config: LingLikeConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(config.num_experts, config.hidden_size))

    def forward(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        logits = nn.functional.linear(hidden_states.reshape(-1, hidden_states.shape[-1]), self.weight)
        weights, indices = logits.softmax(dim=-1).topk(2, dim=-1)
        return indices, weights, logits


class LingLikeMoE(nn.Module):
    """Separate expert modules; returns (output, (logits, indices))."""

    def __init__(self, config: LingLikeConfig) -> None:
        super().__init__()
        self.gate = LingLikeGate(config)
        self.experts = nn.ModuleList(LlamaMLP(config) for _ in range(config.num_experts))
        self.shared_experts = LlamaMLP(config)

    def forward(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        flat = hidden_states.reshape(-1, hidden_states.shape[-1])
        indices, weights, logits = self.gate(hidden_states)
        out = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            row, slot = torch.where(indices == number)
            if row.numel():
                out[row] += weights[row, slot, None] * expert(flat[row])
        out = out.reshape(hidden_states.shape) + self.shared_experts(hidden_states)
        return out, (logits.reshape(*hidden_states.shape[:2], -1), indices)


class LingLikeAttention(nn.Module):
    """Causal single-head attention in the words of the Ling checkpoints."""

    def __init__(self, config: LingLikeConfig) -> None:
        super().__init__()
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, None]:
        q, k, v = self.query_key_value(hidden_states).chunk(3, dim=-1)
        return self.dense(nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)), None


class LingLikeLayer(nn.Module):
    """A pre-norm block that returns a tuple."""

    def __init__(self, config: LingLikeConfig) -> None:
        super().__init__()
        self.attention = LingLikeAttention(config)
        self.mlp = LingLikeMoE(config)
        self.input_layernorm = LlamaRMSNorm(config.hidden_size)
        self.post_attention_layernorm = LlamaRMSNorm(config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor]:
        hidden_states = hidden_states + self.attention(hidden_states=self.input_layernorm(hidden_states))[0]
        return (hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))[0],)


class LingLikeMTPLayer(LingLikeLayer):
    """Predicts the token after the next; never called here."""


class LingLikeModel(PreTrainedModel):
    """Two blocks and an MTP block in one list."""

    config_class = LingLikeConfig

    def __init__(self, config: LingLikeConfig) -> None:
        super().__init__(config)
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([LingLikeLayer(config), LingLikeLayer(config), LingLikeMTPLayer(config)])
        self.norm = LlamaRMSNorm(config.hidden_size)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.word_embeddings

    def forward(self, input_ids: torch.Tensor, **_: Any) -> tuple[torch.Tensor]:
        x = self.word_embeddings(input_ids)
        for layer in self.layers[: self.config.num_hidden_layers]:
            x = layer(x)[0]
        return (self.norm(x),)


class LingLike(PreTrainedModel):
    """The same with an LM head."""

    config_class = LingLikeConfig

    def __init__(self, config: LingLikeConfig) -> None:
        super().__init__(config)
        self.model = LingLikeModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.word_embeddings

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head


class Teller(nn.Module):
    """Returns whatever it was given to return."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, hidden_states: torch.Tensor) -> Any:
        return self.answer


class TellingBlock(LlamaDecoderLayer):
    """Calls its `teller` and then does what a Llama block does."""

    def __init__(self, config: LlamaConfig, layer_idx: int, answer: Any) -> None:
        super().__init__(config, layer_idx)
        self.teller = Teller(answer)

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.teller(hidden_states=hidden_states)
        return super().forward(hidden_states, *args, **kwargs)


def telling_llama(answer: Any) -> nn.Module:
    """A tiny Llama whose second block calls a module that returns `answer`."""
    model = build("llama")
    model.model.layers[1] = TellingBlock(model.config, 1, answer).eval()
    return model


class PackedLinear(nn.Module):
    """y = x (scale * q)^T with int8 q, made from a linear layer; known only by in_features and out_features."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        scale = linear.weight.detach().abs().amax(dim=1, keepdim=True) / 127
        self.qweight = nn.Buffer(torch.round(linear.weight.detach() / scale).to(torch.int8))
        self.scale = nn.Buffer(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.qweight.to(x.dtype) * self.scale)


class QuantLinear(PackedLinear):
    """Under the name the GPTQ loader uses."""
