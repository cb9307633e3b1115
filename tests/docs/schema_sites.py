"""What the whole JSON document says beside the shorter one: of every site, and of the run."""

from __future__ import annotations

from typing import Final

from engine.fields.field import SiteField
from engine.fields.registry import in_file
from tests.docs.schema_words import Node, choice, count, either, flag, many, number, or_null, plain, record, ref, text


def _node(field: SiteField) -> Node:
    """What a field of the registry is in JSON."""
    empty = "Null where there is none." if field.got == "plan" else "Null where it was not counted."
    about = f"{field.sentence} {empty}" if field.is_optional else field.sentence
    match field.kind:
        case "real":
            return number(about)
        case "integer":
            return count(about, null=field.is_optional)
        case "flag":
            return flag(about, null=field.is_optional)
    return choice(*field.choices, about=about) if field.choices else text(about, null=field.is_optional)


SITE: Final = record(
    {
        **{one.name: _node(one) for one in in_file("json")},
        **{
            "nonfinite": record(
                {
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
                },
                "Elements that are not finite; they are in no other number. Null where they were not counted.",
                null=True,
            ),
            "sun_layer": record(
                {
                    "passes": flag("M_site > threshold.", null=True),
                    "certain": flag("False where float32's median leaves it open."),
                    "median": number("Lower median of |x| over the site."),
                    "ratio": number("M_site / median."),
                    "threshold": number("max(100, 1000 x median)."),
                    "tokens": or_null(ref("bracket"), "Tokens with an element above the threshold."),
                }
            ),
            "sun_token": record(
                {
                    "passes": flag("A token passes.", null=True),
                    "tokens": plain("integer", "Tokens that pass.", null=True),
                    "peak_median": number("Lower median of |x| over M_site's token."),
                    "peak_ratio": number("M_site over it."),
                    "largest_ratio": number("Largest ratio over the judged tokens."),
                    "largest_ratio_max": number("max|x| of that token."),
                    "largest_ratio_median": number("Its median."),
                    "largest_ratio_sample": count("Its sample, -1 if none.", least=-1),
                    "largest_ratio_position": count("Its position, -1 if none.", least=-1),
                }
            ),
            "top": many(
                record(
                    {
                        "value": plain("number", "Signed."),
                        "sample": count("Sample."),
                        "position": count("Position."),
                        "channel": count("Channel."),
                    }
                ),
                "The largest |x|, at most 100.",
            ),
            "channels": or_null(
                many(
                    record(
                        {
                            "channel": count("Channel."),
                            "magnitude": number("max|x|."),
                            "kind": choice(
                                "massive",
                                "outlier",
                                "mixed",
                                about="`massive`: above the threshold in at most 10 % of tokens; `outlier`: large in at least half.",
                            ),
                            "massive_tokens": ref("bracket"),
                            "large_tokens": ref("bracket"),
                            "tokens": count("All tokens."),
                        }
                    ),
                    "Channels that stand out.",
                ),
                "null where channels were not counted.",
            ),
        },
    },
    "One measured tensor.",
)
REPORT: Final[dict[str, Node]] = {
    "format": {"const": "maxact-tui/report"},
    "job": plain("object", "Everything the user chose."),
    "provenance": plain("object", "Model, weights, tokenizer, versions."),
    "corpus": plain("object", "The corpus."),
    "sites": many(ref("site"), "One entry per site that was seen, in forward order."),
    "missing": many(
        record(
            {
                "layers": many(plain("integer"), "Decoder blocks."),
                "component": text("Component."),
                "reason": text("Why."),
            }
        ),
        "Sites that were looked for and not found.",
    ),
    "notes": many(text(), "Notes on the hook plan."),
    "stability": either(
        plain("null"),
        record(
            {
                "dtype": text("Of the session."),
                "other_dtype": text("Of the second rerun, empty without one."),
                "skipped": text("Why there was no second rerun."),
                "samples": many(plain("integer"), "Samples run again, each in a batch of its own."),
                "maximum": many(
                    number(), "M of the session, of these samples alone, and in the other dtype.", least=3, most=3
                ),
                "batch_limit": number("Relative difference that batch composition explains at 95 % of the sites."),
                "dtype_limit": number("The same for the other dtype."),
                "sites": many(
                    record(
                        {
                            "name": text("Site."),
                            "batch": number("Alone over in its batch, less 1."),
                            "dtype": number("In the other dtype over alone, less 1."),
                        },
                        "One site.",
                    ),
                    "Sites whose peak sample was run again.",
                ),
                "nonfinite": many(
                    count(),
                    "Sites with NaN or infinity in the session, in the rerun alone, and in the other dtype; empty where an earlier version did not look.",
                ),
            },
            "What `maxact-tui stability` found.",
        ),
        about="How much batch composition and dtype move the maxima; null if not measured.",
    ),
    "quantization": either(
        plain("null"),
        ref("quantization"),
        about="Errors of quantisers; null where none is known (detail `lean`, or nothing measured).",
    ),
}
PARTS: Final[dict[str, Node]] = {
    "number": either(
        plain("number"),
        plain("null"),
        choice("infinity", "-infinity"),
        about="A number; null where it is not known, the strings `infinity` and `-infinity` where it is infinite.",
    ),
    "bracket": record(
        {
            "lower": count("At least."),
            "upper": count("At most."),
        },
        "A count between two bounds, exact where they are equal.",
    ),
    "emergence": record(
        {
            "kind": choice(
                "sudden",
                "gradual",
                about="`sudden` if the maximum of the hidden state grows tenfold or more within one layer.",
            ),
            "layer": plain("integer", "First such layer; null if gradual.", null=True),
            "ratio": number("The step into that layer."),
            "largest_ratio": number("The largest step of all."),
            "largest_layer": count("The layer it leads into."),
        }
    ),
    "trial": record(
        {
            "sites": plain("integer", "Sites that were hooked."),
            "tokens": plain("integer", "Tokens of the batch."),
            "slowdown": number("Time of the statistics over the model's own."),
            "added_seconds": number("What the statistics would add to the whole run."),
            "damage_seconds": number("What computing blocks again would take at least."),
        },
        "One warm batch with and without the statistics of some sites, timed before the run.",
    ),
    "site_set": record(
        {
            "name": text("The set, as `--sites` names it."),
            "asked": text("What was asked for; `auto` is decided by a trial."),
            "count": plain("integer", "Sites with numbers."),
            "no_m": text("Why there is no M; null where there is one.", null=True),
            "estimated": or_null(ref("trial"), "The trial of the set that was taken; null where nothing was timed."),
            "refused": or_null(
                ref("trial"),
                "The trial of the paper's sites with the GEMM inputs, where it was found too dear; else null.",
            ),
            "spent": either(
                plain("null"),
                record(
                    {
                        "slowdown": number("Time of the statistics over the model's own."),
                        "model_seconds": plain("number", "Of the batches that were timed, without the statistics."),
                        "statistics_seconds": plain("number", "Of the same batches, in the hooks."),
                        "bookkeeping_seconds": plain("number", "Of ticks, and of setting checkpoints aside."),
                        "damage_seconds": plain("number", "Of computing blocks again."),
                    }
                ),
                about="What was spent in the run; null before its end.",
            ),
        },
        "Which sites were measured, why, and what their statistics cost.",
    ),
}
