"""The command line: every command, its help, its errors and exit codes. Heavy imports happen where they are used.

- `main`  parse and run; returns the exit code
"""

from __future__ import annotations

import difflib
import traceback
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter, validators

from engine.base.job import SiteChoice
from maxact_tui.bugs import report_bug
from maxact_tui.cli import effect as cli_effect
from maxact_tui.cli import screen as cli_screen
from maxact_tui.cli.empty import refuse_empty
from maxact_tui.cli.failures import explain
from maxact_tui.cli.options import RunOptions, make_job
from maxact_tui.cli.output import drop_unwritten, reader_may_leave
from maxact_tui.cli.sessions import register
from maxact_tui.cli.trust import Trust, give
from maxact_tui.errors import UserError
from maxact_tui.terminal.printing import DoorConsole, guard_logs, note

USAGE = """\
Usage: maxact-tui MODEL [OPTIONS]
       maxact-tui COMMAND [OPTIONS] [ARGS]
"""

EXAMPLES = """\

Examples:
  maxact-tui demo                         bundled model and corpus, in a minute
  maxact-tui Qwen/Qwen3-8B                a model of the hub, live, on your GPU
  maxact-tui ./my-model --sites all       a folder; matrix product inputs, too
  maxact-tui model.gguf --samples 200 --json      no screen, the summary as JSON
  maxact-tui                              your sessions
  maxact-tui attach                       the run you left going

The run belongs to an engine in the background: close the terminal, it goes on.
"""


def _version() -> str:
    from importlib.metadata import version

    return version("maxact-tui")


app = App(
    name="maxact-tui",
    help="Measure how large the activations of a language model get: every layer, live, down to token and channel.",
    help_epilogue=EXAMPLES,
    usage=USAGE,
    help_format="plaintext",
    version=_version,
    console=DoorConsole(),
    error_console=DoorConsole(stderr=True),
)
_run_options = Parameter(name="*")
_NO_TRUST = Trust()
HELP_FLAGS = frozenset({"--help", "-h"})


@app.default
def measure(
    model: Annotated[str | None, Parameter(help="A hub id, a local folder, or a GGUF file.")] = None,
    *,
    options: Annotated[RunOptions, _run_options] = RunOptions(),  # noqa: B008  # frozen
) -> int:
    """Measure a model; without one, list your sessions."""
    from maxact_tui.cli.commands import running, sessions

    if model is None:
        return sessions.browse()
    _refuse_typo(model)
    return running.measure(make_job(model, options), options)


@app.command
def demo(*, options: Annotated[RunOptions, _run_options] = RunOptions()) -> int:  # noqa: B008  # frozen
    """Measure the demo model, SmolLM2-135M-Instruct, on the bundled corpus."""
    from engine.loading.demo import find_demo_model
    from maxact_tui.cli.commands import running

    return running.measure(make_job(find_demo_model(), options), options)


@app.command
def export(
    session: Annotated[Path | None, Parameter(help="A session file, or the start of its name.")] = None,
    *,
    format: Annotated[  # the user's word
        list[str] | None,
        Parameter(negative=(), help="Several with commas. Without a session, the formats are listed. [default: json]"),
    ] = None,
    output: Annotated[
        str, Parameter(name=("--output", "-o"), allow_leading_hyphen=True, help="Folder to write into, `-` for stdout.")
    ] = ".",
    scheme: Annotated[
        str | None,
        Parameter(
            help="Of a recipe. llm-compressor: int8-token (usual), int8 (static), fp8 (static), fp8-dynamic, nvfp4;"
            " modelopt: nvfp4 (usual), fp8, fp8-dynamic."
        ),
    ] = None,
    force: Annotated[bool, Parameter(negative=(), help="Replace files that exist.")] = False,
) -> int:
    """Write a session as HTML, Markdown, model card, CSV, Parquet, JSON, the paper's files, scales, or a recipe."""
    from maxact_tui.cli.commands import exporting

    if session is None:
        return exporting.list_formats()
    return exporting.export(session, format or ["json"], output, scheme=scheme, force=force)


@app.command
def compare(
    sessions: Annotated[list[Path], Parameter(negative=(), help="Two sessions or more; the first is the base.")],
    *,
    format: Annotated[
        Literal["markdown", "html", "json"] | None,
        Parameter(help="Print a report, instead of the screen. [default without a terminal: markdown]"),
    ] = None,
    all: Annotated[  # the user's word
        bool, Parameter(negative=(), help="Every site in Markdown, not only those that differ most.")
    ] = False,
    output: Annotated[
        str, Parameter(name=("--output", "-o"), allow_leading_hyphen=True, help="Folder to write into, `-` for stdout.")
    ] = "-",
    force: Annotated[bool, Parameter(negative=(), help="Replace files that exist.")] = False,
) -> int:
    """Set sessions side by side: what differs in their protocols, M, layers, threads, INT8."""
    from maxact_tui.cli.commands import exporting

    return exporting.compare(sessions, format, output, all_sites=all, force=force)


@app.command
def stability(
    session: Annotated[Path, Parameter(help="A session file, or the start of its name.")],
    *,
    samples: Annotated[int, Parameter(validator=validators.Number(gte=1), help="At most so many are run again.")] = 20,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16", "none"],
        Parameter(help="Of the second rerun: `auto` is float32, `none` leaves it out."),
    ] = "auto",
    trust: Trust = _NO_TRUST,
) -> int:
    """Run the samples that hold the maxima again, alone and in fp32: what batch and dtype explain."""
    from maxact_tui.cli.commands import stability as rerunning

    give(session, trust)
    return rerunning.stability(session, samples=samples, dtype=dtype)


@app.command
def published(
    search: Annotated[str, Parameter(help="Part of a name or family.")] = "",
    *,
    sort: Annotated[
        Literal["m", "name", "ratio", "jump", "layers"],
        Parameter(help="By M, name, M over the median (`ratio`), largest step (`jump`), or layers."),
    ] = "m",
) -> int:
    """List the checkpoints whose maxima the paper published."""
    from maxact_tui.cli.commands import exporting

    return exporting.published(search, sort)


corpus_app = App(name="corpus", help="Recipes for corpora, building one, looking into one.", usage=None)
app.command(corpus_app)


@corpus_app.command(name="list")
def corpus_list() -> int:
    """List the recipes."""
    from maxact_tui.cli.commands import corpora

    return corpora.list_recipes()


@corpus_app.command(name="build")
def corpus_build(
    recipe: Annotated[str, Parameter(help="A recipe's name (maxact-tui corpus list), or your own .toml file.")],
    *,
    output: Annotated[
        Path | None, Parameter(name=("--output", "-o"), help=".jsonl or .parquet. [default: RECIPE.jsonl]")
    ] = None,
    source: Annotated[
        list[str] | None,
        Parameter(
            negative=(),
            help="Quoted CATEGORY=GLOB, e.g. 'code=src/**/*.py'; may be given again.",
        ),
    ] = None,
) -> int:
    """Build a corpus and its manifest: the same inputs and seed give the same bytes."""
    from maxact_tui.cli.commands import corpora

    return corpora.build(recipe, output, source or [])


@corpus_app.command(name="show")
def corpus_show(
    file: Annotated[str, Parameter(help="A corpus file, or `starter`.")] = "starter",
    *,
    tokenizer: Annotated[str | None, Parameter(help="Count in the tokens of this model, not in characters.")] = None,
    policy: Annotated[Literal["raw", "bos", "chat"], Parameter(help="How text becomes tokens.")] = "raw",
    max_length: Annotated[
        int, Parameter(validator=validators.Number(gte=1), help="Tokens per sample; longer ones count as cut.")
    ] = 4096,
) -> int:
    """Show what is in a corpus: samples, lengths, scripts, languages, by category."""
    from maxact_tui.cli.commands import corpora

    return corpora.show(file, tokenizer=tokenizer, policy=policy, max_length=max_length)


@app.command
def plan(
    model: Annotated[str, Parameter(help="A hub id, a local folder or a GGUF file.")],
    *,
    sites: Annotated[SiteChoice, Parameter(help="Which sites, as for a run.")] = "auto",
    vision: Annotated[bool, Parameter(negative=(), help="The vision tower, too.")] = False,
    trust_remote_code: Annotated[bool, Parameter(negative=(), help="Run model code of the repository.")] = False,
) -> int:
    """Show where a model would be hooked, from its config alone."""
    from maxact_tui.cli.commands import planning

    return planning.plan(model, sites=sites, vision=vision, trust_remote_code=trust_remote_code)


@app.command
def doctor() -> int:
    """Check this machine: packages, devices, terminal, folders."""
    from maxact_tui.cli.commands import doctor as checks

    return checks.doctor()


register(app)
cli_effect.register(app)


def main(arguments: list[str]) -> int:
    """Parse and run; every error is one line on stderr, and one that nobody has foreseen is called a bug.

    Returns:
        0 done, 1 failed, 2 usage, 3 detached, 130 interrupted. Output that nobody reads to its end (`| head`) is no
        failure: the code is that of the work, whichever command printed it, and its help, too.
    """
    guard_logs()
    code = 0
    if "effect" in arguments and not HELP_FLAGS.isdisjoint(arguments):
        cli_effect.name_schemes(app)
    try:
        with reader_may_leave():
            refuse_empty(arguments)
            code = _run(app.meta, arguments)
        return code
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001  # the last boundary: a mistake of ours is told as one
        found = explain(error)
        if found is None:
            if "--debug" in arguments:
                note(*traceback.format_exc().splitlines())
            found = report_bug(error), 1
        drop_unwritten()
        with reader_may_leave():
            note(f"maxact-tui: {found[0]}")
        return found[1]


def _run(parser: App, arguments: list[str]) -> int:
    command, bound, _ = parser.parse_args(arguments, exit_on_error=False, print_error=False)
    result = command(*bound.args, **bound.kwargs)
    return result if isinstance(result, int) else 0


cli_screen.register(app, lambda arguments: _run(app, arguments))
for _name in app:
    if not _name.startswith("-"):
        app[_name].help_epilogue = ""  # the examples are those of the whole program


def _refuse_typo(model: str) -> None:
    """A mistyped command would be looked up as a model of the hub."""
    commands = [name for name in app if not name.startswith("-")]
    nearest = difflib.get_close_matches(model, commands, n=1, cutoff=0.75)
    if nearest and "/" not in model and not Path(model).exists():
        raise UserError(f"no model '{model}' here; did you mean the command {nearest[0]}?", code=2)
