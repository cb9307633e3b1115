"""Fixtures of the corpus tests: the demo model's tokenizer and three small ones trained in-process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from corpus.reading import load_corpus
from corpus.samples import Corpus

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} [/{{ m['role'] }}]{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.fixture(scope="session")
def starter() -> Corpus:
    return load_corpus("starter")


@pytest.fixture(scope="session")
def demo_tokenizer(demo_gguf: Path) -> PreTrainedTokenizerBase:
    """SmolLM2's own tokenizer, byte-level, 49,152 tokens."""
    return AutoTokenizer.from_pretrained(str(demo_gguf.parent), gguf_file=demo_gguf.name)


@pytest.fixture(scope="session")
def byte_level(starter: Corpus) -> PreTrainedTokenizerBase:
    """Byte-level BPE with BOS, which it adds by itself, and a chat template."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([sample.text for sample in starter.samples], trainer)
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@pytest.fixture(scope="session")
def sentencepiece_like(starter: Corpus) -> PreTrainedTokenizerBase:
    """BPE with ▁ for the space and <0xNN> for unknown bytes, spelt as Llama-2 and Gemma spell theirs."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=["<unk>", "<s>", *[f"<0x{byte:02X}>" for byte in range(256)]],
        limit_alphabet=120,
        show_progress=False,
    )
    trained.train_from_iterator([sample.text for sample in starter.samples if sample.category == "web"], trainer)
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    # In a published tokenizer the byte tokens are plain vocabulary, not added tokens as the trainer makes them.
    backend = Tokenizer(models.BPE(model["vocab"], merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    backend.normalizer = trained.normalizer
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", unk_token="<unk>")


@pytest.fixture(scope="session")
def word_piece() -> PreTrainedTokenizerBase:
    """WordPiece without BOS and without a chat template."""
    words = ["[UNK]", "the", "measure", "##ment", "##s", "of", "river", ",", "."]
    backend = Tokenizer(models.WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.add_special_tokens([AddedToken("[UNK]", special=True)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
