"""What is kept of each site: mergeable sufficient statistics, one forward pass.

- `totals`       `SiteTotals`: the numpy arrays of one site, with merge rules as data  (numpy only)
- `patterns`     16-bit pattern histograms: values, moments, quantiles                  (numpy only)
- `rows`         `Rows`: which rows of a flattened activation count, and whose they are (torch)
- `accumulator`  `SiteAccumulator`: the state on the device, updated without a host sync (torch)
- `backends`     the sweep itself: torch (the judge), numba (CPU), Triton (CUDA)        (torch)

This file imports nothing, so that the numpy-only modules load without torch.
"""
