"""What the JSON documents say of changed activations."""

from __future__ import annotations

from typing import Final

from tests.docs.schema_words import Node, count, many, number, record, text

EFFECT: Final[dict[str, Node]] = {
    "effect": record(
        {
            "number": count("Number of the result in the session."),
            "at": number("When it was kept, Unix seconds."),
            "scope": record(
                {
                    "site": text("One site, or null.", null=True),
                    "component": text(
                        "All sites of a component, or null; both null: all inputs of matrix products.", null=True
                    ),
                    "layers": many(count(), "These decoder blocks only; null for all.", null=True),
                    "exclude": many(text(), "Patterns of sites and linear modules that were left as they are."),
                },
                "Where quantisers worked.",
                optional=("exclude",),
            ),
            "samples": count("Held-out samples."),
            "tokens": count("Their tokens."),
            "predictions": count("Tokens predicted: all but the first of each sample."),
            "calibration_samples": count("Samples that static thresholds and means come from."),
            "calibration_tokens": count("Their tokens."),
            "perplexity": number("Of the unchanged model."),
            "outcomes": many(
                record(
                    {
                        "name": text("The intervention: a quantiser, `ablate-zero`, `ablate-mean`, or `none`."),
                        "sites": count("Sites changed."),
                        "numbers": record(
                            {
                                "tokens": count("Predictions whose numbers are finite."),
                                "nonfinite_tokens": count("Predictions left out because NaN or infinity reached them."),
                                "kl_mean": number("Mean KL(P_ref || P_changed) over the whole vocabulary, in nats."),
                                "kl_q95": number("Its 95 % quantile over predictions."),
                                "kl_max": number("Its largest value."),
                                "agreement": number(
                                    "Share of predictions whose most likely token is the unchanged model's."
                                ),
                                "perplexity": number("exp of the mean negative log likelihood of the changed model."),
                                "perplexity_reference": number("The same of the unchanged model."),
                                "nll_difference": number("Mean difference of negative log likelihoods, in nats."),
                                "nll_difference_error": number("Its standard error over predictions."),
                            },
                            "Over all predictions; null if it could not be measured.",
                            null=True,
                        ),
                        "categories": many(
                            record(
                                {
                                    "category": text("Category of the samples."),
                                    "tokens": count("Predictions."),
                                    "perplexity_reference": number("Of the unchanged model."),
                                    "perplexity": number("Of the changed model."),
                                    "kl_mean": number("Mean KL, in nats."),
                                    "agreement": number("Share with the same most likely token."),
                                }
                            ),
                            "By category.",
                        ),
                        "massive": record(
                            {
                                "site": text("The hidden state."),
                                "layer": count("Its decoder block, -1 outside the blocks.", least=-1),
                                "threshold": number("|x| above which an element was replaced."),
                                "elements": count("Elements replaced, in real tokens."),
                                "kept": count(
                                    "Elements above the threshold in channels without a mean, left as they were."
                                ),
                                "channels": many(
                                    record(
                                        {
                                            "channel": count("Channel."),
                                            "mean": number("What its massive values were set to."),
                                        }
                                    ),
                                    "Channels with a mean; empty for zeros.",
                                ),
                            },
                            "What an ablation replaced; null for quantisers.",
                            null=True,
                        ),
                        "worst": many(
                            record(
                                {
                                    "kl": number("KL, in nats."),
                                    "sample": count("Sample."),
                                    "position": count("Position of the predicted token in it."),
                                }
                            ),
                            "Predicted tokens that moved most.",
                        ),
                        "problem": text("Why there are no numbers, or what must be known of them; else empty."),
                        "rounds": text(
                            "Of a recipe, what it rounds: `weights`, `inputs`, or `weights and inputs`; empty for others, and where an earlier version measured it."
                        ),
                    }
                ),
                "One for each intervention.",
            ),
            "notes": many(text(), "What is different from what was asked."),
            "seconds": number("Computing time."),
        },
        "What changed activations do to predictions on held-out samples; weights unchanged.",
    ),
}
