"""What the totals mean: numbers, verdicts and shapes read off a session's sufficient statistics (numpy only).

One site:
- `site`         `summarise`: every field of a site
- `verdicts`     Sun et al.'s criterion by the token's and by the layer's median
- `channels`     channels that are massive in few tokens, or large in most

One model:
- `maximum`      M, its plateau, the headroom to fp16 and e4m3
- `emergence`    sudden or gradual over the depth
- `threads`      one token and channel followed through the layers
- `convergence`  M against the tokens seen, by category, and the bootstrap
- `structure`    sign, concentration and saturation of the five largest
- `published`    the 27 checkpoints of the paper, tiers, where a model stands
- `model`        `analyse`: all of it for a session
- `compare`      sessions side by side
"""
