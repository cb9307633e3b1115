"""The engine room: model -> hooks -> statistics -> session. Headless; never imports textual.

One straight line, each step a module a newcomer can read in a sitting:

- `engine.job`          what to run, frozen, stored in the session file
- `engine.loading`      a model and its tokenizer, from the hub, a folder or a GGUF file   (torch)
- `engine.sites`        where to look: the hook plan                                       (torch)
- `engine.hooks`        attach to the sites, as a context manager                          (torch)
- `engine.statistics`   what to keep of each site; `totals` and `patterns` are numpy only  (torch)
- `engine.splitting`    calibration samples, evaluation samples, the rest: chosen, and batches in that order
- `engine.parts`        what is kept where one of these ends, and the sums taken in the pass (torch)
- `engine.runner`       the loop: batch, forward, tick, checkpoint, command                (torch)
- `engine.work`         what else the loaded model is asked for, between batches           (torch)
- `engine.serving`      the same for the model of an ended run                             (torch)
- `engine.session`      the session file: writer and reader                                (numpy, sqlite3)
- `engine.analysis`     what the totals mean: M, verdicts, emergence, threads, convergence (numpy)
- `engine.quantization` what INT8 makes of a site, from its histogram                      (numpy)
- `engine.report`       exports of a session                                               (numpy)
- `engine.process`      start the engine detached                                          (psutil)

Rooms marked numpy may be imported by the screen; rooms marked torch may not.
"""
