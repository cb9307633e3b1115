"""The corpus room: text -> samples -> token batches. Knows tokenizers; knows no model and no screen.

A run needs these:
- `corpus.samples`       Sample and Corpus, what a corpus is once it is read
- `corpus.reading`       read the bundled starter corpus or a user's file
- `corpus.tokenization`  text -> token ids under a stated policy (raw, bos, chat)
- `corpus.pieces`        token id -> the text it stands for
- `corpus.cache`         tokenised corpora kept on disk
- `corpus.batching`      token ids -> a batch plan by token budget, and the padded batches
- `corpus.sampling`      seeded orders, stratified subsets, the calibration and evaluation split
- `corpus.summary`       what is in a corpus: counts, lengths, scripts

Building a corpus (the extra `corpus`):
- `corpus.recipe`        recipes: quotas, lengths, sources, seed; the bundled ones lie in `corpus/recipes`
- `corpus.sources`       where texts come from: local files, standard input, Hugging Face datasets
- `corpus.network`       the errors of the HTTP library under the hub's
- `corpus.selection`     which texts are taken, uniformly and in flat memory
- `corpus.duplicates`    near-duplicates, by MinHash
- `corpus.language`      language and script of a text
- `corpus.building`      the whole way from a recipe to a file
- `corpus.writing`       the file and its manifest, both or neither
- `corpus.manifest`      what was wanted, what was found, what is missing
"""
