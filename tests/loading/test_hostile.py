"""Models that would be waited for, built or read without an end, or that name code of strangers."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.base.job import Job
from engine.loading.errors import LoadError
from engine.loading.hostile import MOST_ADDED_TOKENS, MOST_LAYERS, check_config, check_tokenizer
from engine.loading.load import load_model
from engine.sites.dry import plan_from_config

pytestmark = pytest.mark.timeout(300)  # a pipe that is waited for never ends


@pytest.fixture
def folder(tmp_path: Path, tiny_model_folder: Path) -> Path:
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))


def edit(folder: Path, **changes: Any) -> None:
    rewrite(folder / "config.json", **changes)


def rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refusal(act: Callable[[], object]) -> LoadError:
    with pytest.raises(LoadError) as caught:
        act()
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return caught.value


def loading(model: Path, **options: Any) -> Callable[[], object]:
    return lambda: load_model(Job(model=str(model), device="cpu", **options), lambda progress: None)


FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]


@pytest.mark.parametrize(
    "name", [*FILES, "chat_template.jinja", "added_tokens.json", "merges.txt", "pytorch_model.bin"]
)
def test_a_pipe_instead_of_a_file(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    for act in (loading(folder), lambda: plan_from_config(str(folder))):
        assert f"{folder / name} is a pipe or a device, not a file" in refusal(act).message


@pytest.mark.parametrize("name", FILES)
def test_a_link_to_an_endless_device(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    assert "is a pipe or a device" in refusal(loading(folder)).message


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors.index.json"]
)
def test_a_file_of_a_terabyte_of_nothing(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as file:
        file.truncate(1 << 40)
    found = refusal(loading(folder))
    assert f"{folder / name} has 1,099,511,627,776 bytes, and at most" in found.message


def test_links_to_plain_files_are_read_as_the_hubs_cache_has_them(tmp_path: Path, tiny_model_folder: Path) -> None:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    for file in tiny_model_folder.iterdir():
        (folder / file.name).symlink_to(file)
    assert load_model(Job(model=str(folder), device="cpu"), lambda progress: None).provenance.weight_hash


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_hidden_layers", 10**9),
        ("n_layer", 10**9),
        ("num_nextn_predict_layers", 10**9),
        ("num_attention_heads", 10**9),
        ("num_local_experts", 10**8),
        ("hidden_size", 10**12),
        ("vocab_size", 10**12),
    ],
)
def test_a_configuration_of_a_model_that_cannot_be(folder: Path, name: str, value: int) -> None:
    edit(folder, **{name: value})
    for act in (loading(folder), lambda: plan_from_config(str(folder))):
        assert f"{name} = {value:,}, and no model has more than" in refusal(act).message
    edit(folder, **{name: 2, "text_config": {name: value}})
    assert f"{name} = {value:,}" in refusal(loading(folder)).message


def test_a_gguf_file_of_a_billion_blocks(tmp_path: Path, tiny_gguf: Path) -> None:
    content = tiny_gguf.read_bytes()
    key = b"llama.block_count"
    place = content.index(key) + len(key) + 4  # behind the type of the value
    spoiled = content[:place] + struct.pack("<I", 10**9) + content[place + 4 :]
    path = tmp_path / "deep.gguf"
    path.write_bytes(spoiled)
    for act in (loading(path), lambda: plan_from_config(str(path))):
        assert f"block = 1,000,000,000, and no model has more than {MOST_LAYERS:,}" in refusal(act).message


def test_real_configurations_pass() -> None:
    fields = {
        "num_hidden_layers": 126, "hidden_size": 16384, "intermediate_size": 53248, "vocab_size": 262_144,
        "max_position_embeddings": 10_485_760, "rope_theta": 1_000_000_000, "n_routed_experts": 384,
        "num_attention_heads": 128, "sliding_window": 2**31, "eos_token_id": [1, 2], "attn_implementation": "sdpa",
        "layer_types": ["full_attention"] * 126, "_name_or_path": "org/name", "num_hidden_layers_text": True,
        "quantization_config": {"group_size": 128, "modules_to_not_convert": ["a/b"]},
    }  # fmt: skip
    check_config(fields, "m", trust_remote_code=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"attn_implementation": "stranger/kernel"},
        {"_attn_implementation": "stranger/kernel@main:attention"},
        {"_attn_implementation_internal": "paged|stranger/kernel"},
        {"attn_implementation": {"text_config": "stranger/kernel"}},
        {"experts_implementation": "stranger/kernel"},
        {"text_config": {"attn_implementation": "stranger/kernel"}},
    ],
)
def test_kernels_of_strangers_need_the_permission_for_code(folder: Path, changes: dict[str, Any]) -> None:
    edit(folder, **changes)
    for act in (loading(folder), lambda: plan_from_config(str(folder))):
        found = refusal(act)
        assert found.kind == "policy"
        assert "wants code of" in found.message and "stranger/kernel" in found.message
        assert "--trust-remote-code" in found.hint
    check_config({**changes}, "m", trust_remote_code=True)


def test_kernels_of_strangers_are_not_fetched_where_the_package_is_installed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.integrations import hub_kernels

    asked: list[str] = []
    monkeypatch.setattr(hub_kernels, "get_kernel", lambda name, **_: asked.append(name))
    monkeypatch.setattr(hub_kernels, "is_kernels_available", lambda: True)
    edit(folder, attn_implementation="stranger/kernel")
    refusal(loading(folder))
    assert asked == []


@pytest.mark.parametrize("dtype", ["load", "os.system", "__import__", "hub", "", "float32; import os"])
def test_a_type_that_is_none(folder: Path, dtype: str) -> None:
    edit(folder, dtype=dtype, torch_dtype=dtype)
    refusal(loading(folder))


def test_code_beside_a_tokenizer_is_not_run(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    rewrite(
        folder / "tokenizer_config.json", tokenizer_class="Strange", auto_map={"AutoTokenizer": ["strange.T", None]}
    )
    (folder / "strange.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass T: pass\n")
    try:
        loading(folder)()
    except LoadError as error:
        assert error.kind in ("policy", "format")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", lambda many: {"added_tokens": [0] * many}),
        ("tokenizer_config.json", lambda many: {"added_tokens_decoder": {str(n): 0 for n in range(many)}}),
        ("added_tokens.json", lambda many: {str(n): n for n in range(many)}),
    ],
)
def test_a_million_added_tokens(tmp_path: Path, name: str, content: Callable[[int], Any]) -> None:
    (tmp_path / name).write_text(json.dumps(content(1_000_000)))
    found = refusal(lambda: check_tokenizer(tmp_path, "m"))
    assert f"adds 1,000,000 tokens ({name}), and at most {MOST_ADDED_TOKENS:,} are loaded" in found.message
    (tmp_path / name).write_text(json.dumps(content(1000)))
    check_tokenizer(tmp_path, "m")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_json_that_is_nested_without_an_end(folder: Path, name: str) -> None:
    (folder / name).write_text('{"a":' * 200_000 + "1" + "}" * 200_000)
    refusal(loading(folder))
