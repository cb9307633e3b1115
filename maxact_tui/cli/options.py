"""The options of a run, as the command line takes them, and the `Job` they make.

- `RunOptions`  one frozen record shared by every command that measures
- `FAIL_ON_HELP`  what `--fail-on` takes, for every command that has it
- `make_job`    options and a model -> `Job`
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter, validators

from engine.base.job import Job, Policy, SiteChoice
from maxact_tui.errors import UserError

FAIL_ON_HELP = (
    "Exit with 1, and a line for each, if one of these holds at any site: nonfinite, overflow (of fp16), massive; m,"
    " max, crest, kurtosis, sqnr (INT8, dB) or damage (INT8, a share) with < <= > >= and a number. With commas, quoted:"
    " 'nonfinite,overflow,sqnr<20,damage>5%,m>1e4'. What was not measured fails, too."
)
WHAT = Group("What is measured", sort_key=1)
HOW = Group("How the model runs", sort_key=2)
WHERE = Group("Where results go", sort_key=3)
_positive = validators.Number(gte=1)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What a user may choose about a run; every default is a sensible one."""

    corpus: Annotated[
        str, Parameter(group=WHAT, help="Texts to run: `starter` (bundled), or a .jsonl, .parquet or .txt file.")
    ] = "starter"
    samples: Annotated[
        int | None, Parameter(group=WHAT, validator=_positive, help="At most this many samples, of every category.")
    ] = None
    max_length: Annotated[
        int | None,
        Parameter(group=WHAT, validator=_positive, help="Tokens per sample; longer texts are cut. [default: 4096]"),
    ] = None
    bos: Annotated[
        bool,
        Parameter(
            group=WHAT,
            negative="--no-bos",
            help="Put the BOS token before each text. Without it, as in the paper, no special token is added.",
        ),
    ] = False
    chat: Annotated[
        bool, Parameter(group=WHAT, negative=(), help="Put the model's chat template around each text.")
    ] = False
    ab: Annotated[
        Literal["bos", "chat"] | None,
        Parameter(group=WHAT, help="Run the samples twice, raw and like this, and compare. Headless."),
    ] = None
    seed: Annotated[int, Parameter(group=WHAT, help="Fixes the choice and the order of samples.")] = 42
    sites: Annotated[
        SiteChoice,
        Parameter(
            group=WHAT,
            help="`paper`: residual stream and branches; `gemm`: inputs of matrix products, which W8A8 quantises;"
            " `paper+gemm`: both; `all`: the insides of experts, too; `auto`: both, unless timing the loaded model"
            " shows them to be dear.",
        ),
    ] = "auto"
    vision: Annotated[
        bool, Parameter(group=WHAT, negative=(), help="Hook the vision tower of a multimodal model, too.")
    ] = False
    detail: Annotated[
        Literal["lean", "standard", "compat"],
        Parameter(group=WHAT, help="What is kept per site; `compat` adds all the paper's own fields."),
    ] = "standard"
    quant: Annotated[
        Literal["off", "basic", "full"],
        Parameter(
            group=WHAT,
            help="`basic`: thresholds from calibration samples, errors over others; `full`: also INT8 per token,"
            " channel and group, SmoothQuant, MX and NVFP4, summed in the pass.",
        ),
    ] = "basic"
    schemes: Annotated[
        list[str] | None,
        Parameter(
            group=WHAT,
            negative=(),
            help="Further quantisers, as columns of the board; several with commas: mxfp4,int4-g32,e5m2-mse. Only what"
            " is asked for is summed in the pass, without --quant full, too. `maxact-tui effect --help` lists names.",
        ),
    ] = None
    protocol: Annotated[
        Literal["exact", "paper"],
        Parameter(group=WHAT, help="Of the INT8 check; `paper`: the first samples calibrate, its quantile's bins."),
    ] = "exact"
    calibration: Annotated[
        int, Parameter(group=WHAT, validator=_positive, help="Samples that thresholds come from.")
    ] = 128
    evaluation: Annotated[
        int, Parameter(group=WHAT, validator=_positive, help="Samples that quantisation errors are taken over.")
    ] = 256
    device: Annotated[
        str, Parameter(group=HOW, help="`auto`, `cpu`, `cuda`, `cuda:1`, or a device map such as `balanced`.")
    ] = "auto"
    dtype: Annotated[
        Literal["auto", "bfloat16", "float16", "float32"],
        Parameter(group=HOW, help="Of weights and activations; `auto` is the checkpoint's own."),
    ] = "auto"
    batch_tokens: Annotated[
        int | None,
        Parameter(group=HOW, validator=_positive, help="Tokens per batch. [default: 2048 on a CPU, 16384 on a GPU]"),
    ] = None
    backend: Annotated[
        Literal["auto", "torch", "numba", "triton"], Parameter(group=HOW, help="What computes the statistics.")
    ] = "auto"
    threads: Annotated[int | None, Parameter(group=HOW, validator=_positive, help="CPU threads. [default: all]")] = None
    revision: Annotated[str | None, Parameter(group=HOW, help="Branch, tag or commit of a hub model.")] = None
    trust_remote_code: Annotated[
        bool, Parameter(group=HOW, negative=(), help="Run model code that comes with the checkpoint.")
    ] = False
    allow_pickle: Annotated[
        bool, Parameter(group=HOW, negative=(), help="Load .bin checkpoints where there are no safetensors.")
    ] = False
    session: Annotated[
        Path | None, Parameter(group=WHERE, help="The session file to write. [default: a new one in your data folder]")
    ] = None
    headless: Annotated[
        bool, Parameter(group=WHERE, negative=(), help="No screen: progress on stderr, the summary on stdout.")
    ] = False
    json: Annotated[
        bool, Parameter(group=WHERE, negative=(), help="Headless, with the summary as one JSON object.")
    ] = False
    fail_on: Annotated[str | None, Parameter(group=WHERE, help=f"Headless. {FAIL_ON_HELP}")] = None
    debug: Annotated[bool, Parameter(group=WHERE, negative=(), help="On failure, show the engine's traceback.")] = False


def make_job(model: str, options: RunOptions) -> Job:
    """The job these options ask for; local paths are made absolute, since the engine runs elsewhere.

    Raises:
        UserError: a quantiser that does not exist, or none can be judged without samples set apart.
    """
    schemes = _read_schemes(options) if options.schemes else ()
    policy: Policy = "chat" if options.chat else "bos" if options.bos else "raw"
    return Job(
        model=_absolute(model),
        revision=options.revision,
        corpus=options.corpus if options.corpus == "starter" else str(Path(options.corpus).expanduser().absolute()),
        samples=options.samples,
        max_length=options.max_length,
        batch_tokens=options.batch_tokens,
        device=options.device,
        dtype=options.dtype,
        policy=policy,
        seed=options.seed,
        sites=options.sites,
        vision=options.vision,
        detail=options.detail,
        quant=options.quant,
        schemes=schemes,
        protocol=options.protocol,
        calibration=options.calibration,
        evaluation=options.evaluation,
        backend=options.backend,
        threads=options.threads,
        trust_remote_code=options.trust_remote_code,
        allow_pickle=options.allow_pickle,
    )


def _read_schemes(options: RunOptions) -> tuple[str, ...]:
    """The further quantisers by the names they are stored under."""
    from engine.formats import QuantizationError
    from engine.scheme_names import read_choice

    if options.quant == "off":
        raise UserError("--schemes needs samples set apart, which --quant off does not; leave one of them away", code=2)
    try:
        return read_choice(options.schemes or ())
    except QuantizationError as error:
        raise UserError(str(error), code=2) from None


def _absolute(model: str) -> str:
    path = Path(model).expanduser()
    looks_local = path.exists() or path.is_absolute() or model.startswith((".", "~")) or model.endswith(".gguf")
    return str(path.absolute()) if looks_local else model
