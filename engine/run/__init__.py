"""The engine at work: one process, one session, one model.

- `runner`     the loop: batch, forward pass, tick, checkpoint, request
- `measuring`  one batch at a time through the hooked model, and what was measured into the file
- `recording`  status, ticks, checkpoints and events
- `parts`      what is kept where calibration and evaluation end
- `choosing`   which sites `--sites auto` takes, timed on the loaded model
- `stopwatch`  what the statistics take of a run's time
- `notable`    what matters while numbers come in, said once each
- `restoring`  going on from the last checkpoint
- `commands`   requests and signals, obeyed between two batches
- `works`      what else the loaded model can be asked for
- `serving`    the same for the model of a run that has ended
- `heartbeat`  says twice a second that the engine is alive
- `ending`     a load that was asked to stop ends within seconds

Everything here needs torch. This file imports nothing.
"""
