"""What the JSON documents say of a model: the keys of the shorter document."""

from __future__ import annotations

from typing import Final

from tests.docs.schema_words import Node, choice, count, either, flag, many, number, or_null, plain, record, ref, text

SUMMARY: Final[dict[str, Node]] = {
    "format": {"const": "maxact-tui/summary"},
    "version": {"const": 1, "description": "Version of this document; keys are only ever added within a version."},
    "model": record(
        {
            "name": text("Hub id or path, as asked for."),
            "revision": text("Hub revision.", null=True),
            "family": text("The configuration's model_type.", null=True),
            "layers": plain("integer", "Decoder blocks.", null=True),
            "hidden_size": plain("integer", "Width of the residual stream.", null=True),
            "dtype": text("Activation dtype.", null=True),
        },
        "What was measured.",
    ),
    "run": record(
        {
            "partial": flag("The run has not finished; every number is of the part measured so far."),
            "phase": text("What the engine was doing."),
            "created": plain("number", "Unix time."),
            "seconds": plain("number", "Seconds of running."),
            "tokens_per_second": plain("number", "Last moving rate."),
            "samples": count("Samples measured."),
            "samples_total": count("Samples planned."),
            "tokens": count("Tokens measured."),
            "tokens_total": count("Tokens planned."),
            "peak_bytes": count("Peak memory of the engine, bytes."),
        },
        "The run.",
    ),
    "protocol": record(
        {
            "corpus": text("Corpus, as asked for."),
            "corpus_hash": text("sha256 over categories and texts.", null=True),
            "policy": choice("raw", "bos", "chat", about="How text became tokens."),
            "detail": choice("lean", "standard", "compat", about="Which statistics were kept."),
            "seed": plain("integer", "Orders the samples."),
            "differences": many(text(), "What differs from the protocol of arXiv 2605.15572."),
        },
        "How it was measured.",
    ),
    "maximum": or_null(
        record(
            {
                "magnitude": number("M, the largest |x| over embedding, hidden states, branch outputs and final norm."),
                "value": number("The element, signed."),
                "label": text("All sites within one bfloat16 step of M, in words."),
                "site": text("The first site that has exactly M."),
                "plateau": many(text(), "All sites within one bfloat16 step of M."),
                "bf16_step": number("That step."),
                "fp16_headroom_bits": number(
                    "log2(65504 / M). null with NaN or infinity at any site, which `overflows_fp16`, `overflows_e4m3` and `excluded_sites` say."
                ),
                "overflows_fp16": flag("M > 65,504, or NaN or infinity at any site."),
                "e4m3_headroom_bits": number(
                    "log2(448 / M). null with NaN or infinity at any site, which `overflows_fp16`, `overflows_e4m3` and `excluded_sites` say."
                ),
                "overflows_e4m3": flag("M > 448, or NaN or infinity at any site."),
                "excluded_sites": count("Sites that hold NaN or infinity; M is over the finite elements."),
                "at": or_null(
                    record(
                        {
                            "sample": count("Sample number."),
                            "position": count("Token position within the sample, from 0."),
                            "channel": count("Channel."),
                            "category": text("The sample's category."),
                            "token_id": plain(
                                "integer", "Token id; null if the session does not hold the sample.", null=True
                            ),
                            "token": text("Text of the token; bytes that are not UTF-8 as \\xNN."),
                            "before": text("Text of up to 8 tokens before."),
                            "after": text("Text of up to 8 tokens after."),
                        }
                    ),
                    "Where M is.",
                ),
            }
        ),
        "M; null before the first number, and for a run that did not measure the paper's sites (`site_set`).",
    ),
    "largest_input": or_null(
        record(
            {
                "magnitude": number("M, the largest |x| over embedding, hidden states, branch outputs and final norm."),
                "value": number("The element, signed."),
                "label": text("All sites within one bfloat16 step of M, in words."),
                "site": text("The first site that has exactly M."),
                "plateau": many(text(), "All sites within one bfloat16 step of M."),
                "bf16_step": number("That step."),
                "fp16_headroom_bits": number(
                    "log2(65504 / M). null with NaN or infinity at any site, which `overflows_fp16`, `overflows_e4m3` and `excluded_sites` say."
                ),
                "overflows_fp16": flag("M > 65,504, or NaN or infinity at any site."),
                "e4m3_headroom_bits": number(
                    "log2(448 / M). null with NaN or infinity at any site, which `overflows_fp16`, `overflows_e4m3` and `excluded_sites` say."
                ),
                "overflows_e4m3": flag("M > 448, or NaN or infinity at any site."),
                "excluded_sites": count("Sites that hold NaN or infinity; M is over the finite elements."),
                "at": or_null(
                    record(
                        {
                            "sample": count("Sample number."),
                            "position": count("Token position within the sample, from 0."),
                            "channel": count("Channel."),
                            "category": text("The sample's category."),
                            "token_id": plain(
                                "integer", "Token id; null if the session does not hold the sample.", null=True
                            ),
                            "token": text("Text of the token; bytes that are not UTF-8 as \\xNN."),
                            "before": text("Text of up to 8 tokens before."),
                            "after": text("Text of up to 8 tokens after."),
                        }
                    ),
                    "Where M is.",
                ),
            }
        ),
        "The largest |x| that a matrix product reads, as `maximum`; null where no such site was measured.",
    ),
    "site_set": ref("site_set"),
    "massive_activations": record(
        {
            "layer_median": flag(
                "A hidden state has |x| > 100 and > 1000 x the median of |x| over the site (arXiv 2402.17762); null if unknown.",
                null=True,
            ),
            "token_median": flag("The same by the token's own lower median.", null=True),
            "layer_median_sites": many(text(), "Sites that pass by the layer median."),
            "token_median_sites": many(text(), "Sites that pass by the token median."),
        },
        "Sun et al.'s criterion.",
    ),
    "emergence": or_null(ref("emergence"), "Growth of |x| over the depth."),
    "emergence_compat": or_null(ref("emergence"), "The same from positive maxima alone, as in the reference."),
    "profile": many(
        record(
            {
                "layer": count("Layer."),
                "magnitude": number("Largest |x| of its hidden state."),
            }
        ),
        "The residual stream over the depth.",
    ),
    "threads": many(
        record(
            {
                "sample": count("Sample."),
                "position": count("Position."),
                "channel": count("Channel."),
                "birth": count("First layer in which the element is massive."),
                "death": plain(
                    "integer", "First layer in which it is not any more; null if it lives to the last.", null=True
                ),
                "peak": number("Signed value of largest magnitude."),
                "peak_layer": count("Where that is."),
                "values": many(number("Signed value."), "From birth on, one per layer."),
                "birth_certain": flag("False if it may have been born earlier."),
                "death_certain": flag("False if it may die later."),
            }
        ),
        "One (sample, position, channel) massive through consecutive layers.",
    ),
    "convergence": record(
        {
            "samples": count("Samples."),
            "tokens": count("Tokens."),
            "last_increase_tokens": plain("integer", "Tokens after which M last grew.", null=True),
            "last_increase_share": number("The same as a share of all tokens."),
            "points": many(
                record(
                    {
                        "tokens": count("Tokens seen."),
                        "samples": count("Samples seen."),
                        "sample": count("The sample that raised M."),
                        "magnitude": number("M from here on."),
                    }
                ),
                "Every rise of the running maximum, in run order.",
            ),
        },
        "The running maximum.",
    ),
    "categories": many(
        record(
            {
                "category": text("Category."),
                "samples": count("Samples."),
                "tokens": count("Tokens."),
                "magnitude": number("M within the category."),
            }
        ),
        "M by category, the largest first.",
    ),
    "bootstrap": many(
        record(
            {
                "size": count("Samples per subset."),
                "magnitudes": many(number("M of a repeat."), "One per repeat."),
                "mean": number("Mean."),
                "cv": number("Sample standard deviation over mean."),
                "low": number("Smallest."),
                "high": number("Largest."),
            }
        ),
        "M over category-proportional random subsets.",
    ),
    "structure": or_null(
        record(
            {
                "values": many(number("Signed."), "The five largest at M's site."),
                "sign_consistency": number("Share of the commoner sign."),
                "concentration": number("|top1| / mean|top5|."),
                "is_saturated": flag("All five have the same |x|."),
            }
        ),
        "Shape of the five largest.",
    ),
    "hot_sites": many(text(), "Sites that reach 0.9 M."),
    "standing": or_null(
        record(
            {
                "tier": text("T1 to T5."),
                "larger": count("Published checkpoints with a larger M."),
                "of": count("Published checkpoints."),
                "next_above": or_null(
                    record(
                        {
                            "name": text("Checkpoint."),
                            "magnitude": number("Its M."),
                        }
                    )
                ),
                "next_below": or_null(
                    record(
                        {
                            "name": text("Checkpoint."),
                            "magnitude": number("Its M."),
                        }
                    )
                ),
                "finite_only": flag("The model holds NaN or infinity; tier and rank are by its finite elements alone."),
            }
        ),
        "Among the published checkpoints.",
    ),
    "experts": many(
        record(
            {
                "layer": plain("integer", "Decoder block.", null=True),
                "experts": count("How many experts the layer has.", least=1),
                "never_hit": many(count(), "Experts that saw no token."),
                "fewest": count("Tokens of the least visited expert; null where they were not counted.", null=True),
                "most": count("Tokens of the most visited expert; null where they were not counted.", null=True),
                "gate_max": plain(
                    "number", "Largest |gate pre-activation| of any expert; null without a gate.", null=True
                ),
                "gate_expert": count("Its expert, -1 without one.", least=-1),
                "input_max": plain("number", "Largest |x| of the rows routed to any expert.", null=True),
            }
        ),
        "Coverage of the experts of every mixture-of-experts layer that was tapped.",
    ),
    "nonfinite": many(
        record(
            {
                "site": text("Site."),
                "nan": count("NaN."),
                "positive_infinity": count("+inf."),
                "negative_infinity": count("-inf."),
                "first": or_null(
                    record(
                        {
                            "sample": count("Sample number."),
                            "position": count("Token position within the sample, from 0."),
                            "channel": count("Channel."),
                        }
                    ),
                    "Address of the first, null if there is none.",
                ),
            }
        ),
        "Sites that saw NaN or infinity.",
    ),
    "effects": many(ref("effect"), "Effects of changed activations on predictions, one entry for each job."),
    "not_measured": many(
        text(),
        "What the session does not hold, as one of an earlier version does not; only there if something is missing.",
        least=1,
    ),
    "first_nonfinite": or_null(
        record(
            {
                "site": text("Site."),
                "kind": choice("Inf", "NaN", "Inf/NaN", about="What the site holds; `Inf/NaN` where it holds both."),
                "sites": count("Sites that hold any.", least=1),
                "sites_after": count("Those after it in a forward."),
                "at": record(
                    {
                        "sample": count("Sample number."),
                        "position": count("Token position within the sample, from 0."),
                        "channel": count("Channel."),
                        "category": text("The sample's category."),
                        "token_id": plain(
                            "integer", "Token id; null if the session does not hold the sample.", null=True
                        ),
                        "token": text("Text of the token; bytes that are not UTF-8 as \\xNN."),
                        "before": text("Text of up to 8 tokens before."),
                        "after": text("Text of up to 8 tokens after."),
                    },
                    "Its address.",
                ),
            }
        ),
        "The first NaN or infinity in the order of one forward: of the sites that hold any the one that is computed first, and there the lowest sample, position and channel; null where every element is finite.",
    ),
    "quantization": either(
        plain("null"),
        ref("quantization_summary"),
        about="What quantisers cost; null where none is known (detail `lean`, or nothing measured).",
    ),
    "threads_known": flag(
        "False where a hidden state holds NaN or infinity: `threads` are those of the finite elements then, and there may be others. False, too, where no hidden state was measured."
    ),
}
OPTIONAL: Final = ("effects", "not_measured", "quantization")
