"""The registry of quantisers: an element format, what shares a scale, and how the scale is found.

- `Scheme`           one quantiser; its name says everything, see `engine.scheme_names`
- `UnknownScheme`    a name in a session that this version does not know; `Column`, either
- `DEFAULT_SCHEMES`  the columns of every board: a scale per tensor, from histograms
- `PASS_SCHEMES`, `SMOOTH_SCHEMES`  what `--quant full` sums in the pass, at every site and at inputs of matrix products
- `FULL_SCHEMES`     both of them
- `NVFP4`            the one with two levels of scales

A scheme with a scale per tensor is evaluated from histograms, after the pass; the others change their scale within a
tensor, so their errors are summed while the model runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from engine.formats import ELEMENTS, CodeBook, FloatFormat, Format, IntegerFormat, QuantizationError

ScaleRule = Literal["tensor", "token", "channel", "group", "block-power-of-two", "block-e4m3"]
Policy = Literal["max_abs", "quantile", "reference_quantile", "mse", "value", "unscaled"]

MICROSCALED_BLOCK: Final = 32  # OCP MX 1.0, section 5.2
POLICY_LETTERS: Final[dict[Policy, str]] = {"quantile": "q", "reference_quantile": "paper", "value": "t"}
_BOOK_SCALE_BITS: Final = 32  # QLoRA's, before its scales are quantised as well
_RANGED: Final[tuple[ScaleRule, ...]] = ("tensor", "token", "group")  # whose least and largest numbers are known
_POLICY_WORDS: Final[dict[Policy, str]] = {"max_abs": "", "mse": "-mse", "unscaled": "-unscaled"}
_SCALE_BITS: Final[dict[ScaleRule, int]] = {"group": 16, "block-power-of-two": 8, "block-e4m3": 8}
_WORDS: Final[dict[ScaleRule, str]] = {
    "tensor": "{element}, one scale per tensor",
    "token": "{element}, a scale per token, taken from the token",
    "channel": "{element}, a scale per channel, from the calibration samples",
    "group": "{element}, a scale per {block} channels of a token",
    "block-power-of-two": "OCP {microscaled}, a power of two per {block} channels",
    "block-e4m3": "NVFP4, an E4M3 scale per {block} channels and one per tensor",
}
_SMOOTHED: Final = (
    "{element} per token after SmoothQuant with alpha {alpha:g}; what it does to the weights is not counted"
)


@dataclass(frozen=True, slots=True)
class Scheme:
    """A quantiser of activations.

    Attributes:
        element: name of the element format, one of `engine.formats.ELEMENTS`.
        scale: what shares a scale: the tensor or a channel (taken from the calibration samples), or, taken from the
            values themselves, a token or a number of neighbouring channels of one token. Blocks store their scale as a
            power of two (MX), or as E4M3 under one more scale of the tensor (NVFP4).
        block: channels of a group or block, 0 without; the last of a token may be shorter.
        policy: of the threshold of a tensor: what becomes the format's largest number. `unscaled` is a plain cast.
        value: the level of a quantile, or the threshold itself (`value`).
        alpha: SmoothQuant's migration strength, of INT8 per token; None without smoothing.
    """

    element: str = "int8"
    scale: ScaleRule = "tensor"
    block: int = 0
    policy: Policy = "max_abs"
    value: float = 0.0
    alpha: float | None = None

    def __post_init__(self) -> None:
        """Refuse what does not exist.

        Raises:
            QuantizationError: element, level or threshold out of range, or a rule that the element does not have.
        """
        if self.element not in ELEMENTS:
            raise QuantizationError(f"there is no element {self.element!r}; there are {', '.join(ELEMENTS)}")
        if self.policy in ("quantile", "reference_quantile") and not 0 < self.value <= 1:
            raise QuantizationError(f"a quantile of {self.value}: give one above 0 and up to 1, such as 0.999")
        if self.policy == "value" and not 0 <= self.value < float("inf"):
            raise QuantizationError(f"a threshold of {self.value}: give a number above 0")
        if self.policy == "unscaled" and not isinstance(self.form, FloatFormat):
            floats = " and ".join(name for name, one in ELEMENTS.items() if isinstance(one, FloatFormat))
            raise QuantizationError(f"unscaled: only {floats} can be cast without a scale")
        if (self.scale != "tensor" and self.policy != "max_abs") or not (self.is_symmetric or self.scale in _RANGED):
            is_peak = self.is_symmetric or self.scale == "channel"
            what = "largest |x|, symmetric" if is_peak else "least and largest number"
            raise QuantizationError(f"{self.name}: per {self.scale} the scale is from the {what}; drop the rest")
        if self.scale == "group" and self.block < 2:
            raise QuantizationError(f"{self.name}: a group has at least 2 channels, as in int8-g32")
        if self.alpha is not None and not (
            self.scale == "token"
            and isinstance(self.form, IntegerFormat)
            and self.is_symmetric
            and 0 <= self.alpha <= 1
        ):
            rule = "smoothing, of a strength from 0 to 1, goes before integers per token"
            raise QuantizationError(f"{self.name}: {rule}, as in int8-token-smooth0.5")

    @property
    def form(self) -> Format:
        """The element format."""
        return ELEMENTS[self.element]

    @property
    def bits(self) -> int:
        """Of an element, scales not counted."""
        return self.form.bits

    @property
    def is_symmetric(self) -> bool:
        """Whether the largest |x| fixes the scale; else the range of both signs does."""
        return not isinstance(self.form, IntegerFormat) or self.form.is_symmetric

    @property
    def is_in_pass(self) -> bool:
        """Whether its errors are summed while the model runs."""
        return self.scale != "tensor"

    @property
    def source(self) -> str:
        """How its errors become known."""
        return "in pass" if self.is_in_pass else "from histogram"

    @property
    def needs_calibration(self) -> bool:
        """Whether its scales come from other samples than those that are quantised."""
        if self.scale == "tensor":
            return self.policy not in ("value", "unscaled") or not self.is_symmetric
        return self.scale in ("channel", "block-e4m3") or self.alpha is not None

    @property
    def bits_with_scales(self) -> float:
        """Bits an element takes with its share of its block's scale; scales of tokens and channels add nothing.

        A group that is asymmetric stores its zero point, too.
        """
        if not self.block:
            return float(self.bits)
        scale = _BOOK_SCALE_BITS if isinstance(self.form, CodeBook) else _SCALE_BITS[self.scale]
        return self.bits + (scale + (0 if self.is_symmetric else self.bits)) / self.block

    @property
    def name(self) -> str:
        """The name `engine.scheme_names.parse_scheme` reads."""
        form = self.form
        if self.scale == "block-e4m3":
            return "nvfp4"
        if self.scale == "block-power-of-two":
            return form.microscaled if isinstance(form, FloatFormat) else ""
        rule = {"tensor": "", "group": f"-g{self.block}"}.get(self.scale, f"-{self.scale}")
        head = self.element.removesuffix("-asym") + rule + ("" if self.is_symmetric else "-asym")
        if self.alpha is not None:
            return f"{head}-smooth{digits(self.alpha)}"
        tail = _POLICY_WORDS.get(self.policy)
        return head + (f"-{POLICY_LETTERS[self.policy]}{digits(self.value)}" if tail is None else tail)

    @property
    def label(self) -> str:
        """One line that says what it does."""
        form = self.form
        words = _SMOOTHED if self.alpha is not None else _WORDS[self.scale]
        microscaled = form.microscaled.upper().replace("-", " ") if isinstance(form, FloatFormat) else ""
        return words.format(element=form.title, block=self.block, microscaled=microscaled, alpha=self.alpha)


@dataclass(frozen=True, slots=True)
class UnknownScheme:
    """A quantiser of which a session holds numbers and this version knows nothing but the name.

    Attributes:
        name: as it is stored.
    """

    name: str

    @property
    def source(self) -> str:
        """Only what was summed in the pass is kept by name."""
        return "in pass"

    @property
    def bits(self) -> int:
        """Not known: 0."""
        return 0

    @property
    def bits_with_scales(self) -> float:
        """Not known: 0."""
        return 0.0

    @property
    def label(self) -> str:
        """One line for a reader."""
        return "a quantiser that this version does not know"


Column = Scheme | UnknownScheme


def digits(value: float) -> str:
    """As few digits as give this very number back; those of most numbers fit in twelve."""
    return short if float(short := f"{value:.12g}") == value else repr(value)


DEFAULT_SCHEMES: Final = (
    Scheme(),
    Scheme(policy="quantile", value=0.999),
    Scheme(policy="quantile", value=0.9999),
    Scheme(policy="mse"),
    Scheme("int8-asym"),
    Scheme("int6"),
    Scheme("int6", policy="quantile", value=0.999),
    Scheme("int4"),
    Scheme("int4", policy="quantile", value=0.999),
    Scheme("int4", policy="mse"),
    Scheme("e4m3"),
    Scheme("e5m2"),
)
NVFP4: Final = Scheme("e2m1", "block-e4m3", 16)
PASS_SCHEMES: Final = (
    Scheme("int8", "token"),
    Scheme("int8", "channel"),
    Scheme("int8", "group", 32),
    Scheme("int8", "group", 64),
    Scheme("int8", "group", 128),
    Scheme("e4m3", "block-power-of-two", MICROSCALED_BLOCK),
    Scheme("e5m2", "block-power-of-two", MICROSCALED_BLOCK),
    Scheme("e2m1", "block-power-of-two", MICROSCALED_BLOCK),
    NVFP4,
)
SMOOTH_SCHEMES: Final = tuple(Scheme("int8", "token", alpha=alpha) for alpha in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8))
FULL_SCHEMES: Final = (*PASS_SCHEMES, *SMOOTH_SCHEMES)
