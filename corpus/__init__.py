"""The corpus room: text -> samples -> token batches. Knows tokenizers; knows no model and no screen.

- `corpus.samples`       Sample and Corpus, what a corpus is once it is read
- `corpus.reading`       read the bundled starter corpus or a user's file
- `corpus.tokenization`  text -> token ids under a stated policy (raw, bos, chat)
- `corpus.batching`      token ids -> a batch plan by token budget, and the padded batches
"""
