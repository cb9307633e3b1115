"""Where to look: a model's measurable sites, found structurally, and what could not be found.

- `site`       `Site`, `MissingSite`, `HookPlan`: plain records, no torch
- `discovery`  model -> `HookPlan`                                                  (torch)

This file imports nothing, so that the records load without torch.
"""
