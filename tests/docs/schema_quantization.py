"""What the JSON documents say of quantisers."""

from __future__ import annotations

from typing import Final

from tests.docs.schema_words import Node, choice, count, flag, many, number, record, text

_BOTH: Final[dict[str, Node]] = {
    "population": text("In words, which samples thresholds and errors are of."),
    "errors_over": choice("all", "evaluation", about="Samples whose errors those from histograms are."),
    "thresholds_from": choice("all", "calibration", about="Samples the thresholds come from."),
    "calibration_samples": count("How many samples calibrate; null without a split.", null=True),
    "evaluation_samples": count("How many samples evaluate; null without a split.", null=True),
    "is_complete": flag("Whether all evaluation samples were measured; true without a split."),
    "schemes": many(
        record(
            {
                "name": text("Name of the quantiser."),
                "source": choice(
                    "from histogram",
                    "in pass",
                    about="How its errors became known: from the pattern histogram after the pass, or summed in the pass.",
                ),
                "bits": count("Bits of an element, scales not counted."),
                "errors_over": choice(
                    "all",
                    "evaluation",
                    about="Samples whose errors these are; `evaluation` always for those summed in the pass.",
                ),
                "sites": count("Sites with a number."),
                "rel_rmse": number(
                    "Mean over sites, weighted by their numbers of elements, of the root mean square error / rms; no unit."
                ),
                "rel_mae": number("Mean over sites, weighted likewise, of mean |error| / mean |x|; no unit."),
                "sqnr_db": number(
                    "Mean over the sites where it is finite, weighted likewise, in dB; `infinity` if it is infinite at all of them."
                ),
                "infinite_sites": count("Sites without any error, which are not in that mean."),
                "clip_rate": number(
                    "Mean over sites, weighted likewise, of the share of elements beyond their threshold; 0 to 1."
                ),
                "worst_site": text(
                    "Site of the group that the quantiser hurts most, by `worst_by`; null where none is known.",
                    null=True,
                ),
                "worst_sqnr_db": number("Its SQNR, in dB, which a few massive elements mask."),
                "is_exact": flag("Whether all sites are exact; not so from float32's histograms."),
                "group": choice(
                    "gemm_inputs",
                    "streams",
                    "expert_gates",
                    about="Group in which the sites are judged: inputs of matrix products, which W8A8 quantises; residual stream and branches, as in the paper; gates of experts.",
                ),
                "worst_by": choice(
                    "nonfinite",
                    "damage",
                    "rel_mae",
                    None,
                    about="What it is the worst by; relative MAE where damage was not measured; `nonfinite` for a site without a finite element.",
                ),
                "worst_value": number("That number, the larger the worse; null without a finite element."),
            }
        ),
        "Each quantiser over the sites of each group, the GEMM inputs first.",
    ),
}

QUANTIZATION: Final[dict[str, Node]] = {
    "quantization": record(
        {
            **_BOTH,
            "sites": many(
                record(
                    {
                        "name": text("Name of the site."),
                        "schemes": many(
                            record(
                                {
                                    "name": text("Name of the quantiser."),
                                    "count": count("Finite elements the error is over."),
                                    "sqnr_db": number(
                                        "10 log10(sum x^2 / sum error^2), in dB; `infinity` for no error."
                                    ),
                                    "rel_rmse": number("Root mean square error / rms, no unit; 0 for a site of zeros."),
                                    "rel_mae": number("Mean |error| / mean |x|, no unit; 0 for a site of zeros."),
                                    "clip_rate": number(
                                        "Share of elements beyond the threshold of their own scale; 0 to 1."
                                    ),
                                    "threshold": number(
                                        "|x| up to which nothing is clipped, in the activation's unit; null where scales change within the tensor."
                                    ),
                                    "is_exact": flag("Whether it is exact; not so from float32's histograms."),
                                    "zeroed": number(
                                        "Share of the elements that were not 0 and became 0; null where it was not counted."
                                    ),
                                    "bulk_db": number(
                                        "SQNR of the elements that are not massive; null where it was not taken."
                                    ),
                                    "below_top_db": number(
                                        "SQNR of all but the 100 largest |x|; null where it was not taken."
                                    ),
                                },
                                optional=(
                                    "zeroed",
                                    "bulk_db",
                                    "below_top_db",
                                ),
                            ),
                            "Quantisers applied to it.",
                        ),
                        "local": many(
                            record(
                                {
                                    "name": text("Of the quantiser."),
                                    "damage": number(
                                        "Root mean square over tokens of the relative change of the residual stream behind the site's block; null where the block could not be computed again."
                                    ),
                                    "tokens": count("How many tokens."),
                                    "token_median": number("Median over tokens of ||x' - x|| / ||x||, to 2 %."),
                                    "token_q90": number("90 % quantile of the same."),
                                    "token_worst": number("Largest of the same."),
                                    "zeroed": number("Share of these tokens' elements that were not 0 and became 0."),
                                    "bulk_db": number("SQNR of these tokens' elements that are not massive."),
                                    "rel_mae": number("Mean |error| over mean |x| of these tokens."),
                                }
                            ),
                            "What quantising this site alone does to a few tokens of evaluation samples, by scheme; empty where it was not measured.",
                        ),
                    },
                    optional=("local",),
                ),
                "Sites with a number, in forward order.",
            ),
            "ranking": many(
                record(
                    {
                        "name": text("Of the site."),
                        "scheme": text("Name of the quantiser."),
                        "by": choice(
                            "nonfinite",
                            "damage",
                            "rel_mae",
                            about="What the site is ranked by; relative MAE where damage was not measured; `nonfinite` for one without a finite element, which comes first.",
                        ),
                        "value": number("That number, the larger the worse; null without a finite element."),
                        "sqnr_db": number("SQNR beside it."),
                        "is_harmful": flag("Whether the site is better left unquantised."),
                        "group": choice(
                            "gemm_inputs",
                            "streams",
                            "expert_gates",
                            about="Group in which the sites are judged: inputs of matrix products, which W8A8 quantises; residual stream and branches, as in the paper; gates of experts.",
                        ),
                    }
                ),
                "Sites by what INT8 per tensor does to them, the worst first; the GEMM inputs before the other groups.",
            ),
        },
        "Errors x' - x of quantisers, over finite elements.",
        optional=("ranking",),
    ),
    "quantization_summary": record(
        {
            **_BOTH,
            "costs": many(
                record(
                    {
                        "scheme": text("Name of the quantiser."),
                        "over": choice("GEMM inputs", "sites", about="What the sites are."),
                        "sites": count("Sites with a number."),
                        "rel_mae": number("Mean over these sites of mean |error| / mean |x|; no unit."),
                        "worst": many(
                            record(
                                {
                                    "name": text("Name of the site."),
                                    "by": choice(
                                        "nonfinite",
                                        "damage",
                                        "rel_mae",
                                        about="What the site is ranked by; relative MAE where damage was not measured; `nonfinite` for one without a finite element, which comes first.",
                                    ),
                                    "value": number(
                                        "That number, the larger the worse; null without a finite element."
                                    ),
                                    "sqnr_db": number(
                                        "10 log10(sum x^2 / sum error^2), in dB, which a few massive elements mask."
                                    ),
                                }
                            ),
                            "The dearest sites, the worst first.",
                        ),
                    }
                ),
                "The schemes asked for first, over the inputs of matrix products; over all sites where none was measured.",
            ),
            "ranking": many(
                record(
                    {
                        "name": text("Of the site."),
                        "scheme": text("Name of the quantiser."),
                        "by": choice(
                            "nonfinite",
                            "damage",
                            "rel_mae",
                            about="What the site is ranked by; relative MAE where damage was not measured; `nonfinite` for one without a finite element, which comes first.",
                        ),
                        "value": number("That number, the larger the worse; null without a finite element."),
                        "sqnr_db": number("SQNR beside it."),
                        "is_harmful": flag("Whether the site is better left unquantised."),
                        "group": choice(
                            "gemm_inputs",
                            "streams",
                            "expert_gates",
                            about="Group in which the sites are judged: inputs of matrix products, which W8A8 quantises; residual stream and branches, as in the paper; gates of experts.",
                        ),
                    }
                ),
                "Sites by what INT8 per tensor does to them, the worst first; the GEMM inputs before the other groups.",
            ),
        },
        "What quantisers cost, in short; every site is in the whole report.",
    ),
}
