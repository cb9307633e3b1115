"""Exports of a session, finished or not (numpy only).

- `export`     the formats by name; `export_session` writes one into a folder, atomically
- `summary`    `summary_dict`: the summary as a plain dict, ready for JSON
- `complete`   everything the session holds about every site, as one documented JSON
- `reference`  the two files of the code of arXiv 2605.15572, drop-in
- `plain`      numbers and texts as JSON can carry them
- `errors`     `ReportError`
"""
