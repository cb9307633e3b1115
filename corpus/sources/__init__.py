"""Where texts come from, one function per kind of source; each yields samples and notes what it had to skip.

- `corpus.sources.reading`  `SourceReading`: limits, problems and progress of one build, handed to every source
- `corpus.sources.rows`     rows of JSONL, Parquet and datasets: text or token ids, category, language
- `corpus.sources.text`     plain text and code, in pieces, from files and standard input
- `corpus.sources.local`    globs: finds the files and picks the reader by suffix
- `corpus.sources.hub`      Hugging Face datasets in streaming
"""
