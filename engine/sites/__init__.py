"""Where to look: a model's measurable sites, found structurally, and what could not be found.

One straight line: skeleton -> parts of a block -> sites -> self-check.

- `site`        `Site`, `MissingSite`, `HookPlan`: plain records, no torch
- `backbone`    the text model, its blocks, embedding and final norm                (torch)
- `branches`    what one block is made of: mixers, MLPs, routers, gates, post-norms (torch)
- `gemms`       inputs of matrix products, grouped by shared tensor                 (torch)
- `exceptions`  the one table of families that break the structural rules
- `discovery`   model -> `HookPlan`                                                 (torch)
- `check`       `HookPlan` -> the same, proven on eight tokens; its helpers: `residual`, `routers`, `coverage`, `layout`
- `experts`     rows inside fused experts, with the token of each                   (torch)
- `vision`      blocks of a vision tower                                            (torch)
- `printing`    a plan as a plain-text table; `dry` makes one from a config alone
- `modules`, `placement`  what a module is, and where its weights are               (torch)
- `errors`      `SiteError`

A new family: usually nothing; else one row in `exceptions` and one in `tests/sites/families.py`.
This file imports nothing, so that the records load without torch.
"""
