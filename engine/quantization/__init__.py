"""What a quantiser makes of a site, computed from its pattern histogram alone (numpy only, no second pass).

- `distribution`  `Distribution`: the distinct |x| of a site with their counts
- `metrics`       `QuantError`: mae, rmse, SQNR, clip rate, clipping against rounding
- `uniform`       integer quantisers, symmetric and asymmetric, 2 to 8 bits
- `floating`      small floats such as FP8 e4m3
- `code_book`     code books such as NF4
- `thresholds`    max_abs, quantile, MSE-optimal, and the reference's 2,048-bin quantile
- `schemes`       a quantiser with a threshold policy, by name; `evaluate`
- `board`         sites x schemes, the summary per scheme, headroom to fp16 and e4m3
- `groups`        GEMM inputs apart from the other sites
- `populations`   thresholds from calibration samples, errors over evaluation samples; the board of a session

Exact for bfloat16 and float16 sites, whose patterns are their values. For float32 sites a pattern stands for all
numbers that share its upper 16 bits: results are labelled approximate.
"""
