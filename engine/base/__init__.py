"""What every room of the engine may use: light, and without knowledge of any other room.

- `job`        what to run, frozen, stored in the session file
- `importing`  modules are loaded without looking for garbage
- `choice`     when `--sites auto` measures the GEMM inputs, too
- `stored`     what a file holds, checked against the types it should have
- `naming`     names of models, corpora and sessions as people read them
- `weights`    whether sessions are of the same weights
- `wording`    numbers and foreign text as the reports print them
- `files`      files that get their name when they are whole
- `duty`       pacing of what costs time
- `memory`     what to do when a device runs out of it                                    (torch)
- `computing`  how a model is run: without gradients, with products no CPU is slow at     (torch)
- `private`    the door to what torch, transformers and accelerate do not promise         (torch)

This file imports nothing.
"""
