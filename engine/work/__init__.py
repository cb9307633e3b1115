"""Work on the loaded model beside the measuring: asked for by a command, done in steps between batches.

- `work`      what a work is: a generator of steps; its context, progress and error
- `queue`     `WorkQueue`: one work after the other, each step when the engine has time
- `registry`  which works there are, by command name
- `probe`     largest |x| of every site and token, for a prompt or one sample

A new work is a module here (or a room of its own) and one line in `registry`. Nothing here touches what a run
measures: its hooks are off while a step runs.
"""
