"""Which modules may be smoothed into the linears that read them, proven on the model itself.

- `prove_smoothings`            pairs of a module and its readers, and why others are none
- `READ_ELSEWHERE`, `NOT_FINITE`  why a pair that looked right is none

SmoothQuant (arXiv 2211.10438) divides what a module gives by s, channel by channel, and multiplies the columns of the
weights that read it by s. The model stays what it was only if nobody else reads the module. So each block runs once
more on the eight tokens of the self-check, with the outputs divided and the readers' inputs multiplied, and must give
what it gave. For a plain linear, x s W is x (s W), so that no weight is copied; how a norm takes a changed weight is
tried on the norm alone. Every s is a power of two: then products are the same to the last bit in every dtype, and a
difference is no rounding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn
from torch.func import functional_call

from engine.base.computing import computing
from engine.base.private import tree_flatten
from engine.sites.backbone import Backbone
from engine.sites.coverage import InputPrints, fingerprint
from engine.sites.modules import child, is_norm, walk
from engine.sites.site import LINEAR, OFFSET, Law, Smoothing
from engine.sites.trials import Call, Watched, fresh, is_same, powers_of_two, run_block

NOT_FINITE: Final = "could not be tried: NaN or infinity in the self-check"
READ_ELSEWHERE: Final = "is read by more than linears, or what lies between is not linear"


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A pair to be proven; paths within the block."""

    smooth: str
    balance: tuple[str, ...]
    law: Law


def prove_smoothings(
    model: nn.Module, backbone: Backbone, seen: Watched, inputs: InputPrints, others: Iterable[torch.Tensor] = ()
) -> tuple[tuple[Smoothing, ...], tuple[str, ...]]:
    """The pairs that leave every block what it was.

    Args:
        model: the model, of whose weights none may be shared with a third module.
        backbone: its skeleton.
        seen: the forward's calls.
        inputs: what reached the linear modules in it.
        others: what reached routers and experts.

    Returns:
        The proven pairs, block by block, and one line for each kind of norm that has readers and no pair; `N` stands
        for the block's number.
    """
    known = _Known.of(model, seen, inputs, others)
    proven: list[Smoothing] = []
    refused: dict[str, None] = {}
    with computing(backbone.text_model):
        for layer, (prefix, block) in enumerate(backbone.blocks):
            call = seen.blocks.get(layer)
            if call is None:
                continue
            found, why = _norms(block, prefix, seen, known)
            kept, failed = _prove_block(block, call, [*found, *_gated(block, prefix, known)])
            why |= dict.fromkeys(
                (one.smooth for one in failed), READ_ELSEWHERE if _is_finite(call.output) else NOT_FINITE
            )
            refused |= {f"{prefix.rpartition('.')[0]}.N.{path} {text}": None for path, text in why.items()}
            for one in kept:
                balance = tuple(f"{prefix}.{path}" for path in one.balance)
                name = type(block.get_submodule(one.smooth)).__name__
                proven.append(Smoothing(layer, f"{prefix}.{one.smooth}", balance, one.law, name))
    return tuple(proven), tuple(refused)


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """What the forward tells of who reads what.

    Attributes:
        prints: of each norm called once, by path.
        alike: how many norms gave each print.
        readers: linear modules by the print of their input.
        others: prints of what reached routers and experts.
        shared: identities of the parameters that stand in more than one place.
    """

    prints: Mapping[str, bytes]
    alike: Mapping[bytes, int]
    readers: Mapping[bytes, Sequence[str]]
    others: frozenset[bytes]
    shared: frozenset[int]

    @classmethod
    def of(cls, model: nn.Module, seen: Watched, inputs: InputPrints, others: Iterable[torch.Tensor]) -> _Known:
        norms = {path: call.output for path, call in seen.norms.items() if call is not None}
        prints = {path: fingerprint(x) for path, x in norms.items() if isinstance(x, torch.Tensor)}
        readers: dict[bytes, list[str]] = {}
        for path, one in inputs.prints.items():
            readers.setdefault(one, []).append(path)
        held = Counter(id(one) for _, one in model.named_parameters(remove_duplicate=False))
        shared = frozenset(number for number, count in held.items() if count > 1)
        return cls(prints, Counter(prints.values()), readers, frozenset(map(fingerprint, others)), shared)

    def was_called(self, path: str) -> bool:
        """Whether a linear module was."""
        return any(path in names for names in self.readers.values())


def _norms(block: nn.Module, prefix: str, seen: Watched, known: _Known) -> tuple[list[_Candidate], dict[str, str]]:
    """A block's norms that look right with their readers, and why others are none, by path in the block."""
    found: list[_Candidate] = []
    refused: dict[str, str] = {}
    for whole, one in known.prints.items():
        if not whole.startswith(f"{prefix}."):
            continue
        path, call = whole.removeprefix(f"{prefix}."), seen.norms[whole]
        names = known.readers.get(one, ())
        if not names:
            if one in known.others:
                refused[path] = "is read by a router or by experts without linear modules"
            continue
        if call is not None and isinstance(call.output, torch.Tensor) and not bool(call.output.isfinite().any()):
            refused[path] = NOT_FINITE
            continue
        balance = tuple(name.removeprefix(f"{prefix}.") for name in names)
        why = _unfit(block, path, balance, known)
        if known.alike[one] > 1:
            why = "gives what another norm gives, so that its readers are not known"
        law = _law(block.get_submodule(path), call) if not why and call is not None else None
        if law is not None:
            found.append(_Candidate(path, balance, law))
        else:
            refused[path] = why or "does not follow its weight as norms do, or its weight is offloaded"
    return found, refused


def _gated(block: nn.Module, prefix: str, known: _Known) -> list[_Candidate]:
    """Gated MLPs: `down_proj` reads act(gate) * up, so that what divides `up` divides it."""
    found = []
    for path, _module in walk(block):
        folder = path.rpartition(".")[0]
        gate, up, down = (f"{folder}.{part}" if folder else part for part in ("gate_proj", "up_proj", "down_proj"))
        is_gated = path == up and all(known.was_called(f"{prefix}.{part}") for part in (gate, up, down))
        if is_gated and not _unfit(block, up, (down,), known):
            found.append(_Candidate(up, (down,), LINEAR))
    return found


def _unfit(block: nn.Module, smooth: str, balance: Sequence[str], known: _Known) -> str:
    """What is wrong with a pair, before the block runs; "" for nothing."""
    smoothed = block.get_submodule(smooth)
    for path in (smooth, *balance):
        module = child(block, path)
        if module is None:
            return "is read in another block"
        if not is_norm(module) and not _is_plain(module):
            return f"is read by {type(module).__name__}, which does not multiply by its weight as nn.Linear does"
        if id(module.weight) in known.shared:
            return "shares its weight, or a reader's, with another module"
    width, reads = len(smoothed.weight), block.get_submodule(balance[0]).in_features
    return "" if width == reads else f"has {width} weights for the {reads} channels that are read"


def _is_finite(output: object) -> bool:
    """Whether every tensor in it is without NaN and infinity; else what was the same cannot be told."""
    return all(bool(x.isfinite().all()) for x in tree_flatten(output)[0] if isinstance(x, torch.Tensor))


def _is_plain(module: nn.Module) -> bool:
    """Whether a module multiplies its input by the columns of its weight, [outputs, inputs], and nothing else."""
    if not isinstance(module, nn.Linear) or not module.weight.is_floating_point():
        return False
    if type(module).forward is nn.Linear.forward:
        return True
    if module.weight.is_meta:
        return False
    weight = module.weight
    scale = powers_of_two(module.in_features, 0).to(weight.device, weight.dtype)
    x = torch.linspace(-2, 2, module.in_features, device=weight.device).to(weight.dtype)[None]
    return is_same(functional_call(module, {"weight": weight * scale}, (x / scale,)), module(x))


def _law(norm: nn.Module, call: Call) -> Law | None:
    """How the norm's output follows its weight: `linear`, `offset` (1 + weight), or None for neither."""
    weight = norm.weight
    assert isinstance(weight, torch.Tensor)
    if weight.is_meta or not isinstance(call.output, torch.Tensor) or call.output.shape[-1] != len(weight):
        return None
    scale = powers_of_two(len(weight), 0).to(weight.device, torch.float32)
    bias = getattr(norm, "bias", None)
    beside = {"bias": bias / scale.to(bias.dtype)} if isinstance(bias, torch.Tensor) else {}
    changed: dict[Law, torch.Tensor] = {
        LINEAR: weight / scale.to(weight.dtype),
        OFFSET: (1 + weight.float()) / scale - 1,
    }
    for law, other in changed.items():
        try:
            given = functional_call(norm, {"weight": other, **beside}, *fresh((call.args, call.kwargs)))
        except (TypeError, RuntimeError):
            continue  # a norm that takes no float32 weight for its input is not of this kind
        if is_same(given * scale.to(given.dtype), call.output):
            return law
    return None


def _prove_block(
    block: nn.Module, call: Call, candidates: Sequence[_Candidate]
) -> tuple[list[_Candidate], list[_Candidate]]:
    """Those that leave the block what it was, all together; and the others."""
    if not candidates or _leaves_alone(block, call, candidates):
        return list(candidates), []
    # What was seen may have been computed by other kernels, with the hooks of the check in place.
    again = Call(call.args, call.kwargs, run_block(block, call, ()))
    kept = [one for one in candidates if _leaves_alone(block, again, [one])]
    if kept and not _leaves_alone(block, again, kept):
        kept = []
    return kept, [one for one in candidates if one not in kept]


def _leaves_alone(block: nn.Module, call: Call, candidates: Sequence[_Candidate]) -> bool:
    """Whether the block gives the same under these smoothings."""
    given, expected = (tree_flatten(value)[0] for value in (run_block(block, call, candidates), call.output))
    pairs = list(zip(given, expected, strict=False))
    return len(given) == len(expected) and all(is_same(a, b) for a, b in pairs if isinstance(b, torch.Tensor))
