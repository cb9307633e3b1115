"""A model with its hook plan and batches, ready to run.

- `prepare`    from a job to model, plan and batches, in memory                           (torch)
- `splitting`  calibration samples, evaluation samples, the rest
- `forward`    one batch through the text model                                           (torch)

This file imports nothing.
"""
