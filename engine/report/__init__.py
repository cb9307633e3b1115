"""Exports of a session, finished or not (numpy only).

- `export`     the formats by name; `export_session` writes one into a folder, atomically
- `summary`    `summary_dict`: the summary as a plain dict, ready for JSON
- `complete`   everything the session holds about every site, as one documented JSON
- `html`       one self-contained page; `charts` and `svg` draw its figures
- `markdown`   a report for an issue or a README, and a section for a model card
- `records`    the tables of sites, largest elements, channels and samples, typed
- `tabular`    those tables as CSV and as Parquet
- `scales`     input scales by module for SmoothQuant and others; `torch_file` saves them
- `recipe`     a recipe for llm-compressor
- `comparison` sessions side by side
- `reference`  the two files of the code of arXiv 2605.15572, drop-in
- `source`     what the readable reports are made from; `sentences` and `tables` put it into words
- `wording`    numbers and foreign text as the reports print them
- `effects`    what changed activations do to predictions, as table, notes and JSON
- `plain`      numbers and texts as JSON can carry them
- `needs`      what a run must have measured for a format
- `errors`     `ReportError`
"""
