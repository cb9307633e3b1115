"""A tiny random model and a tokenizer of words, so that the examples run anywhere in seconds."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = "the river carries snow of mountains down to warm sea and library closes in winter while summer is long".split()
TEXTS = [
    "the river carries snow of mountains down to the warm sea",
    "the library closes in winter",
    "summer is long and the sea is warm",
    "snow closes the mountains in winter while the river carries summer",
]


def tiny_model(seed: int = 0) -> LlamaForCausalLM:
    """Two random blocks of width 64."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(WORDS) + 2,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
    )
    return LlamaForCausalLM(config)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word."""
    vocabulary = {word: number for number, word in enumerate(["<pad>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")
