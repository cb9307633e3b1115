"""Tokenization policies, and the text of every token, on the demo model's tokenizer and three small ones."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from corpus.reading import content_hash
from corpus.samples import Corpus, CorpusError, PolicyError, Sample
from corpus.tokenization import tokenize, tokenizer_hash
from tests.models import tiny_tokenizer

HARD_TEXTS = (
    "春眠不觉晓 — 你好，世界！",
    "family 👩‍👩‍👧‍👦 flag 🇩🇪 skin 👍🏽",
    "עברית العربية ไทย தமிழ்",
    "tabs\tand\r\nnewlines\n\n   and spaces   ",
    "control \x00 \x1b[31m bytes and \ufeff marks",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 e\u0301 \u00a0",
)


def corpus_of(*texts: str) -> Corpus:
    samples = tuple(Sample(text, "other") for text in texts)
    return Corpus("test", samples, content_hash(samples))


def test_pieces_of_the_demo_model_join_to_the_exact_text(starter: Corpus, demo_tokenizer) -> None:
    corpus = corpus_of(*HARD_TEXTS, *(sample.text for sample in starter.samples))
    tokenized = tokenize(corpus, demo_tokenizer, policy="raw", max_length=4096)
    for number, sample in enumerate(corpus.samples):
        assert b"".join(tokenized.pieces(number)) == sample.text.encode()


def test_raw_ids_are_those_of_the_tokenizer_without_special_tokens(starter: Corpus, demo_tokenizer) -> None:
    tokenized = tokenize(starter, demo_tokenizer, policy="raw", max_length=4096)
    expected = demo_tokenizer([sample.text for sample in starter.samples], add_special_tokens=False)["input_ids"]
    assert [tokenized.tokens(number).tolist() for number in range(len(tokenized))] == expected
    assert tokenized.ids.dtype == np.int32
    assert set(tokenized.vocabulary) == set(tokenized.ids.tolist())


def test_pieces_of_a_sentencepiece_tokenizer_join_to_the_text_after_one_space(sentencepiece_like) -> None:
    texts = ("Bees on the roof, one year on", "蜂 and 👍🏽 are bytes", "  two spaces")
    tokenized = tokenize(corpus_of(*texts), sentencepiece_like, policy="raw", max_length=512)
    assert any(len(piece) == 1 and piece[0] > 127 for piece in tokenized.vocabulary.values())
    for number, text in enumerate(texts):
        assert b"".join(tokenized.pieces(number)) == b" " + text.encode()


def test_pieces_of_a_wordpiece_tokenizer_show_words_and_their_continuations(word_piece) -> None:
    tokenized = tokenize(corpus_of("the measurements of rivers"), word_piece, policy="raw", max_length=64)
    assert tokenized.pieces(0) == [b" the", b" measure", b"ment", b"s", b" of", b" river", b"s"]


def test_raw_adds_no_bos_even_where_the_tokenizer_adds_one(byte_level) -> None:
    text = "The river carries snow."
    assert byte_level(text)["input_ids"][0] == byte_level.bos_token_id
    tokenized = tokenize(corpus_of(text), byte_level, policy="raw", max_length=64)
    assert byte_level.bos_token_id not in tokenized.tokens(0)


def test_bos_stands_once_before_every_text(byte_level) -> None:
    corpus = corpus_of("The river.", "<s>already there")
    raw = tokenize(corpus, byte_level, policy="raw", max_length=64)
    bos = tokenize(corpus, byte_level, policy="bos", max_length=64)
    assert bos.tokens(0).tolist() == [byte_level.bos_token_id, *raw.tokens(0).tolist()]
    assert bos.tokens(1).tolist().count(byte_level.bos_token_id) == 1
    assert bos.vocabulary[byte_level.bos_token_id] == b"<s>"


def test_chat_puts_the_models_template_around_the_text(byte_level) -> None:
    tokenized = tokenize(corpus_of("How deep is the river?"), byte_level, policy="chat", max_length=128)
    assert b"".join(tokenized.pieces(0)) == b"<s>[user] How deep is the river? [/user][assistant]"


def test_a_long_chat_text_is_cut_inside_its_template(byte_level) -> None:
    text = "deep water " * 200
    tokenized = tokenize(corpus_of(text), byte_level, policy="chat", max_length=60)
    joined = b"".join(tokenized.pieces(0))
    assert tokenized.cut == (0,) and 50 <= tokenized.lengths[0] <= 60
    assert joined.startswith(b"<s>[user] deep water") and joined.endswith(b" [/user][assistant]")


def test_the_demo_models_template_is_kept_around_a_cut_text(demo_tokenizer) -> None:
    tokenized = tokenize(corpus_of("春天的花开在山坡上。" * 50), demo_tokenizer, policy="chat", max_length=100)
    assert b"".join(tokenized.pieces(0)).endswith(b"<|im_end|>\n<|im_start|>assistant\n")
    assert tokenized.cut == (0,) and tokenized.lengths[0] <= 100


def test_a_template_that_writes_the_date_gives_the_same_ids_every_day(byte_level) -> None:
    from copy import deepcopy

    dated = deepcopy(byte_level)
    dated.chat_template = "\n{%- set day = strftime_now('%d %b %Y') %}{{ 'On ' + day }}: {{ messages[0]['content'] }}"
    tokenized = tokenize(corpus_of("hello"), dated, policy="chat", max_length=64)
    assert b"".join(tokenized.pieces(0)) == b"On 01 Jan 2026: hello"


def test_long_texts_are_cut_and_counted_with_stable_numbers(byte_level) -> None:
    tokenized = tokenize(corpus_of("short", "river " * 500, "end"), byte_level, policy="raw", max_length=16)
    assert tokenized.cut == (1,)
    assert tokenized.lengths[1] == 16
    assert b"".join(tokenized.pieces(2)) == b"end"


def test_bos_counts_towards_the_length(byte_level) -> None:
    tokenized = tokenize(corpus_of("river " * 500), byte_level, policy="bos", max_length=16)
    assert tokenized.lengths[0] == 16 and tokenized.tokens(0)[0] == byte_level.bos_token_id


def test_a_text_without_tokens_is_dropped_and_named_and_the_others_keep_their_numbers(word_piece) -> None:
    tokenized = tokenize(corpus_of("the", "\x00\x01", "river"), word_piece, policy="raw", max_length=16)
    assert tokenized.dropped == (1,)
    assert tokenized.lengths.tolist() == [1, 0, 1]
    assert tokenized.pieces(2) == [b" river"]


@pytest.mark.parametrize(("policy", "option"), [("bos", "--bos"), ("chat", "--chat")])
def test_a_policy_the_tokenizer_cannot_follow_is_refused_in_one_line(word_piece, policy, option) -> None:
    with pytest.raises(CorpusError, match=f"run without {option}") as caught:
        tokenize(corpus_of("the river"), word_piece, policy=policy, max_length=16)
    assert "\n" not in str(caught.value)


def test_a_template_that_refuses_is_one_line(byte_level) -> None:
    from copy import deepcopy

    refusing = deepcopy(byte_level)
    refusing.chat_template = "{{ raise_exception('no users here\\nsecond line') }}"
    with pytest.raises(CorpusError, match="no users here; run without --chat"):
        tokenize(corpus_of("x"), refusing, policy="chat", max_length=16)


def test_a_length_below_one_and_a_corpus_without_tokens_are_refused(word_piece) -> None:
    with pytest.raises(CorpusError, match="at least 1"):
        tokenize(corpus_of("the"), word_piece, policy="raw", max_length=0)
    with pytest.raises(CorpusError, match="no sample has a single token"):
        tokenize(corpus_of("\x00"), word_piece, policy="raw", max_length=8)


def test_tokenizing_is_not_disturbed_by_truncation_set_elsewhere(byte_level) -> None:
    byte_level("a b c d e f", truncation=True, max_length=3)
    tokenized = tokenize(corpus_of("a b c d e f"), byte_level, policy="raw", max_length=64)
    assert b"".join(tokenized.pieces(0)) == b"a b c d e f"


def test_progress_ends_at_the_number_of_samples(byte_level) -> None:
    seen: list[tuple[int, int, str]] = []
    tokenize(
        corpus_of(*["river"] * 150), byte_level, policy="raw", max_length=8, progress=lambda *step: seen.append(step)
    )
    assert [done for done, _, _ in seen] == [64, 128, 150]
    assert {(total, label) for _, total, label in seen} == {(150, "tokenising")}


def test_the_tokenizer_hash_is_stable_and_tells_tokenizers_apart(byte_level, sentencepiece_like, word_piece) -> None:
    from copy import deepcopy

    hashes = [tokenizer_hash(t) for t in (byte_level, sentencepiece_like, word_piece)]
    assert len(set(hashes)) == 3
    assert tokenizer_hash(byte_level) == hashes[0]
    other = deepcopy(byte_level)
    other.chat_template = "{{ messages }}"
    assert tokenizer_hash(other) != hashes[0]


def test_a_tokenizer_written_in_python_works_too() -> None:
    from transformers import ByT5Tokenizer

    slow = ByT5Tokenizer()
    tokenized = tokenize(corpus_of("plain words", "more words"), slow, policy="raw", max_length=5)
    assert not slow.is_fast and tokenized.cut == (0, 1)
    assert b"".join(tokenized.pieces(0)) == b"plain"
    assert tokenizer_hash(slow) == tokenizer_hash(ByT5Tokenizer())


@pytest.mark.parametrize(
    "template",
    [
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ 1 / 0 }}",
        "{{ x.y.z }}",
        "{{ messages[7].content }}",
        "{% include '/etc/passwd' %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ raise_exception('no') }}",
        "{%",
    ],
)
def test_whatever_a_template_does_it_is_the_template_that_fails(template: str) -> None:
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.chat_template = template
    with pytest.raises(PolicyError, match="the chat template fails: ") as caught:
        tokenize(corpus_of("a text"), tokenizer, policy="chat", max_length=32)
    assert "\n" not in str(caught.value)
