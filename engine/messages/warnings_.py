"""Sentences of warnings: what is not as it was, and what could not be measured."""

from __future__ import annotations

from engine.messages.codes import Code
from engine.messages.message import Message, fixed, sentence, words

_EMPTY = Message("tensor.empty")


@sentence(Code.RESUMED_ALTHOUGH, difference=Message("difference.weights"))
def _resumed_although(difference: Message) -> str:
    return f"resumed although {words(difference)}"


@sentence(Code.ANSWERS_ALTHOUGH, difference=Message("difference.weights"))
def _answers_although(difference: Message) -> str:
    return f"answers come although {words(difference)}"


fixed(Code.WEIGHTS_CHANGED, "model weights changed")


@sentence(Code.INPUT_CHANGED, what="corpus")
def _input_changed(what: str) -> str:
    return f"{what} changed"


@sentence(Code.VERSION_CHANGED, library="torch", was="2.6.0", now="2.7.1")
def _version_changed(library: str, was: str | None, now: str | None) -> str:
    return f"{library} was {was}, is {now}"


@sentence(
    Code.AT_SITE, site="layer_3_attn_output", problem=Message("warning.not_measured", {"cause": _EMPTY.to_json()})
)
def _at_site(site: str, problem: Message) -> str:
    return f"{site}: {words(problem)}"


@sentence(Code.NOT_MEASURED, cause=_EMPTY)
def _not_measured(cause: Message) -> str:
    return f"not measured: the tensor {words(cause)}"


@sentence(Code.OTHER_BACKEND, reason="no compiler was found")
def _other_backend(reason: str) -> str:
    return f"measured with the torch backend: {reason}"


fixed(Code.NO_SMOOTHING, "no SmoothQuant sums: the weights that read it are not stored as plain matrices")


@sentence(Code.NO_DAMAGE, reason="blocks take other arguments than their first tensor")
def _no_damage(reason: str) -> str:
    return f"damage not measured: {reason}"


fixed(Code.NO_DAMAGE_MEMORY, "damage not measured: not enough memory to compute a block again")


@sentence(Code.NO_DAMAGE_REPEAT, block="model.layers.3")
def _no_damage_repeat(block: str) -> str:
    return f"damage not measured: {block} gives another output when it is called again"


@sentence(Code.PASS_ENDED, error="RuntimeError")
def _pass_ended(error: str) -> str:
    return f"a forward pass ended early ({error}): not every site has measured it"


@sentence(Code.PASS_UNKNOWN, cause=Message("pass.no_inputs"))
def _pass_unknown(cause: Message) -> str:
    return f"a forward pass was not measured: {words(cause)}"


fixed(Code.META_DEVICE, "is on the meta device and holds no numbers")


@sentence(Code.WRONG_DTYPE, dtype="float64")
def _wrong_dtype(dtype: str) -> str:
    return f"is {dtype}, not bfloat16, float16 or float32"


@sentence(Code.WRONG_DIMENSIONS, dimensions=1)
def _wrong_dimensions(dimensions: int) -> str:
    return f"has {dimensions} dimensions, not rows of channels"


fixed(Code.EMPTY, "is empty")


@sentence(Code.TOO_WIDE, channels=2_097_153, most=1_048_576)
def _too_wide(channels: int, most: int) -> str:
    return f"has {channels:,} channels, more than {most:,}"


@sentence(Code.CHANGED, what=("dtype",), was=("bfloat16",), now=("float32",))
def _changed(what: list[str], was: list[str], now: list[str]) -> str:
    changes = (f"{name} from {old} to {new}" for name, old, new in zip(what, was, now, strict=False))
    return f"changed its {' and its '.join(changes)}"


@sentence(Code.UNLIKE_TOTALS, dtype="float32", width=576, held_dtype="bfloat16", held_width=576)
def _unlike_totals(dtype: str, width: int, held_dtype: str, held_width: int) -> str:
    return f"is {dtype} x {width}, the session's totals are {held_dtype} x {held_width}"


@sentence(Code.ROWS, rows=7, places=8)
def _rows(rows: int, places: int) -> str:
    return f"has {rows:,} rows where the batch has {places:,} places"


@sentence(Code.ROWS_OF_INDEX, rows=7, shape=(8,))
def _rows_of_index(rows: int, shape: list[int]) -> str:
    return f"has {rows:,} rows but a token index of shape {tuple(shape)}"


@sentence(Code.ROWS_UNEVEN, rows=7, places=8)
def _rows_uneven(rows: int, places: int) -> str:
    return f"has {rows:,} rows, which is not the same number for each of {places:,} places"


@sentence(Code.NO_TENSOR, found="dict")
def _no_tensor(found: str | None) -> str:
    return f"gave {found or 'nothing'} instead of a tensor"


fixed(Code.NO_DATA, "gave a tensor without data (meta device)")


@sentence(Code.COMPLEX, dtype="torch.complex64")
def _complex(dtype: str) -> str:
    return f"gave complex numbers ({dtype})"


@sentence(Code.NOT_FLOATING, dtype="torch.int64")
def _not_floating(dtype: str) -> str:
    return f"gave {dtype} instead of floating-point numbers"


fixed(Code.GAVE_EMPTY, "gave an empty tensor")
fixed(Code.NO_INPUTS, "it was called without input_ids [B, T] and without inputs_embeds [B, T, D]")
