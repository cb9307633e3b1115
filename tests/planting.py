"""Models with NaN and infinity planted in them, and models that are nearly dead.

- `PLANTS`          name -> what is done to a tiny Llama
- `planted_llama`   such a Llama in a folder
- `planted_demo`    the demo model with one matrix scaled, in a folder
- `POISON`          a token of the tiny tokenizer that one plant makes infinite
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.models import TINY_LLAMA, tiny_folder, tiny_tokenizer

if TYPE_CHECKING:
    from engine.loading.load import LoadedModel

POISON: Final = "秋"
NAN, INF = float("nan"), float("inf")
DOWN: Final = "model.layers.11.mlp.down_proj.weight"


def _everything(model: Any) -> None:
    for parameter in model.parameters():
        parameter.fill_(NAN)


def _layer(model: Any) -> None:
    for parameter in model.model.layers[1].parameters():
        parameter.fill_(NAN)


def _weight(model: Any) -> None:
    model.model.layers[1].mlp.down_proj.weight[3, 5] = NAN


def _channel(model: Any) -> None:
    model.model.layers[2].mlp.up_proj.weight[3] = NAN  # that channel of down_proj's input is NaN for every token


def _token(model: Any) -> None:
    (number, *_) = tiny_tokenizer()(POISON)["input_ids"]
    model.model.embed_tokens.weight[number, 4] = INF


def _head(model: Any) -> None:
    model.lm_head.weight.fill_(NAN)


def _zeros(model: Any) -> None:
    model.model.embed_tokens.weight.zero_()


def _dead(model: Any) -> None:
    model.model.layers[1].mlp.gate_proj.weight[3] = 0
    model.model.layers[1].mlp.up_proj.weight[3] = 0
    model.model.layers[0].input_layernorm.weight[4] = 0


PLANTS: Final[dict[str, Callable[[Any], None]]] = {
    "everything": _everything,
    "layer": _layer,
    "weight": _weight,
    "channel": _channel,
    "token": _token,
    "head": _head,
    "zeros": _zeros,
    "dead": _dead,
}


def planted_llama(path: Path, plant: str | None) -> Path:
    """The tiny Llama of `tests.models` in bfloat16 with one of `PLANTS` done to it; None plants nothing."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    tiny_folder(path, LlamaConfig(**TINY_LLAMA), dtype="bfloat16")
    if plant is not None:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16)
        with torch.no_grad():
            PLANTS[plant](model)
        model.save_pretrained(path)
    return path


def planted_demo(path: Path, demo: LoadedModel, factor: float, rest: Path) -> Path:
    """The demo model with `DOWN` times `factor`, as a folder; `rest` keeps what all of them share."""
    import torch
    from safetensors.torch import save_file

    state = {name: x.contiguous() for name, x in demo.model.state_dict().items() if name != "lm_head.weight"}
    if not rest.exists():
        save_file({name: x for name, x in state.items() if name != DOWN}, rest, metadata={"format": "pt"})
    path.mkdir()
    (path / "rest.safetensors").symlink_to(rest)
    scaled = (state[DOWN].float() * factor).to(torch.bfloat16)
    save_file({DOWN: scaled}, path / "planted.safetensors", metadata={"format": "pt"})
    files = {name: "planted.safetensors" if name == DOWN else "rest.safetensors" for name in state}
    index = {"metadata": {}, "weight_map": files}
    (path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    config = {name: value for name, value in demo.model.config.to_dict().items() if name != "quantization_config"}
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    demo.tokenizer.save_pretrained(path)
    return path
