"""What is kept of each site: mergeable sufficient statistics, one forward pass.

- `totals`        `SiteTotals`: the numpy arrays of one site, with merge rules as data     (numpy only)
- `patterns`      16-bit pattern histograms: values, moments, quantiles                     (numpy only)
- `experts`       what the experts of one MoE layer received                                (numpy only)
- `rows`          `Rows`: which rows of a flattened activation count, and whose they are    (torch)
- `state`         `SiteState`: what a site's device keeps between two drains, and its size  (torch)
- `backends`      the sweep itself: torch (the judge), numba (CPU), Triton (CUDA)           (torch)
- `accumulator`   `SiteAccumulator`: one site on its device, updated without a host sync    (torch)
- `live`          the scalars of every site between checkpoints                             (torch)
- `meter`         `Meter`: all sites; what the hooks feed and the loop reads                (torch)
- `pass_sums`     quantisers whose scales change within a tensor: names, mergeable sums    (numpy only)
- `quantisers`    their errors, the torch judge; `backends.numba_errors` is the compiled one (torch)
- `pass_meter`    the sums of all sites over evaluation samples                           (torch)
- `expert_meter`  the counts of the experts, fed during the forward                         (torch)

This file imports nothing, so that the numpy-only modules load without torch.
"""
