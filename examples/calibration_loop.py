"""The calibration loop of a quantiser, watched: which input of a matrix product INT8 hurts most.

python examples/calibration_loop.py [SESSION] [MODEL]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.path.insert(0, str(Path(__file__).parent))
from tiny import TEXTS, tiny_model, tiny_tokenizer

import engine


def main(session: str = "calibration.maxact", model_name: str = "") -> engine.Session:
    """Run the texts through the model as a calibration does, and print the five worst sites under INT8."""
    if model_name:
        model = AutoModelForCausalLM.from_pretrained(model_name)
        tokenizer = AutoTokenizer.from_pretrained(model_name)
    else:
        model, tokenizer = tiny_model(), tiny_tokenizer()
    model.eval()
    with engine.watch(model, session, sites="gemm", tokenizer=tokenizer), torch.no_grad():
        for text in TEXTS:
            model(**tokenizer(text, return_tensors="pt"))
    found = engine.open(session)
    table = found.to_pandas("quantization")
    worst = table[table["scheme"] == "int8"].nlargest(5, "rel_mae")
    print(worst[["site", "rel_mae", "sqnr_db", "zeroed"]].to_string(index=False))
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
