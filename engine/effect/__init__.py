"""What a change of activations does to a model's predictions, measured end to end on held-out samples.

- `interventions`  what is changed and where: quantisers and ablations by name, the scope (no torch)
- `known`          what a hook plan tells of a request before a model is loaded (no torch)
- `results`        the numbers of a job as the session keeps them, and their table (no torch)
- `errors`         `EffectError`
- `samples`        held-out and calibration samples
- `targets`        the sites of a scope
- `rounding`       fake quantisation in torch
- `changes`        an intervention made ready for a model: tensor in, tensor out
- `replacing`      put changed tensors in the place of a site's, for the length of a `with` block
- `calibration`    thresholds, scales and means, from samples that are not held out
- `head`           hidden states -> logits in pieces, by the model's own code
- `divergence`     KL, agreement and perplexity against the unchanged model
- `work`           `effect`: the work a session's engine does

The definitions follow arXiv 2402.17762 (Sun et al.) for ablations; weights are left as they are.
"""
