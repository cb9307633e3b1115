"""A hub id becomes local files, or one line that tells offline from missing from forbidden, quickly.

Every test runs the real hub client in a fresh process, because it reads its settings when it is imported. Quickly is
counted, not timed: how often the hub is asked, and for how long the client asks to sleep before it tries again.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from engine.loading import download
from engine.messages import Code
from tests import models
from tests.loading.hub import COMMIT, Hub

PROGRAM = """
import json, sys, time
from engine.base.job import Job
from engine.loading.errors import LoadError
from engine.loading.progress import Reporter
from engine.loading.resolve import resolve
slept, seen, really_sleep = [], [], time.sleep
time.sleep = lambda seconds: (slept.append(seconds), really_sleep(seconds))
try:
    found = resolve(Job(**json.loads(sys.argv[1])), Reporter(lambda p: seen.append((p.phase, p.done, p.total, p.unit))))
    result = {"kind": found.kind, "path": str(found.path), "commit": found.commit, "hub_id": found.hub_id,
              "notes": found.notes, "files": sorted(p.name for p in found.path.parent.iterdir())
              if found.kind == "gguf" else sorted(p.name for p in found.path.iterdir())}
except LoadError as error:
    result = {"error": error.kind, "line": str(error), "cause": type(error.__cause__).__name__}
result["slept"] = sum(slept)
result["progress"] = seen
result["torch"] = "torch" in sys.modules
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    from transformers import LlamaConfig

    folder = tmp_path_factory.mktemp("hub")
    whole = models.tiny_llama_folder(folder / "whole")
    (whole / "README.md").write_text("# not needed")
    (whole / "modeling_tiny.py").write_text("raise RuntimeError('must not even be fetched')")
    (whole / "tf_model.h5").write_bytes(bytes(1000))
    shutil.copy(whole / "model.safetensors", whole / "consolidated.safetensors")
    sharded = models.tiny_folder(folder / "sharded", LlamaConfig(**models.TINY_LLAMA), max_shard_size="60KB")
    pickled = models.tiny_llama_folder(folder / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    gguf = folder / "gguf"
    gguf.mkdir()
    models.tiny_llama_gguf(gguf / "tiny.gguf", whole)
    empty = folder / "empty"
    empty.mkdir()
    (empty / "config.json").write_text("{}")
    return {
        "org/tiny": whole,
        "org/sharded": sharded,
        "org/pickled": pickled,
        "org/gguf": gguf,
        "org/empty": empty,
    }


@pytest.fixture(scope="module")
def hub(repositories):
    server = Hub(repositories)
    yield server
    server.close()


def fetch(endpoint, home, model, *, environment=None, program=PROGRAM, **options):
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps({"model": model, **options})],
        env={**keep, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def questions(hub):
    """What was asked about models; the client asks for other things by itself."""
    return [path for path in hub.requests if path.startswith("api/models/")]


def test_the_files_a_load_needs_are_fetched_with_progress_and_no_others(hub, tmp_path):
    found = fetch(hub.url, tmp_path, "org/tiny")
    assert (found["kind"], found["commit"], found["hub_id"]) == ("folder", COMMIT, "org/tiny")
    assert found["files"] == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert not found["torch"]
    wanted = sum((hub.repositories["org/tiny"] / name).stat().st_size for name in found["files"])
    progress = [(done, total) for phase, done, total, unit in found["progress"] if phase == Code.DOWNLOADING]
    assert {total for _, total in progress} == {wanted}
    assert progress == sorted(progress)
    assert progress[-1] == (wanted, wanted)


def test_code_is_fetched_only_when_it_may_run(hub, tmp_path):
    assert "modeling_tiny.py" in fetch(hub.url, tmp_path, "org/tiny", trust_remote_code=True)["files"]


def test_all_shards_are_fetched(hub, tmp_path):
    files = fetch(hub.url, tmp_path, "org/sharded")["files"]
    expected = {path.name for path in hub.repositories["org/sharded"].glob("model*.safetensors*")}
    assert len(expected) > 3
    assert expected <= set(files)


def test_the_only_gguf_file_of_a_repository_is_the_model(hub, tmp_path):
    found = fetch(hub.url, tmp_path, "org/gguf")
    assert (found["kind"], found["files"]) == ("gguf", ["tiny.gguf"])


def test_a_second_start_downloads_nothing(hub, tmp_path):
    fetch(hub.url, tmp_path, "org/tiny")
    hub.requests.clear()
    found = fetch(hub.url, tmp_path, "org/tiny")
    assert not any(phase == Code.DOWNLOADING for phase, *_ in found["progress"])
    assert not any("resolve" in path for path in hub.requests)


def test_a_copy_in_the_cache_is_used_when_the_hub_is_away(hub, tmp_path):
    fetch(hub.url, tmp_path, "org/tiny")
    away = fetch("http://127.0.0.1:9", tmp_path, "org/tiny")
    assert (away["kind"], away["commit"]) == ("folder", COMMIT)
    assert away["notes"] == ["using the copy in the local cache: the hub cannot be reached"]
    forbidden = fetch(hub.url, tmp_path, "org/tiny", environment={"HF_HUB_OFFLINE": "1"})
    assert forbidden["commit"] == COMMIT


@pytest.mark.parametrize(
    ("model", "kind", "words"),
    [
        ("org/none", "missing", "does not exist on the hub, or is private"),
        ("org/gated", "access", "is gated"),
        ("org/bad-token", "access", "rejected the access token"),
        ("org/disabled", "access", "disabled by the hub"),
        ("org/limited", "network", "429"),
        ("org/broken", "network", "error 503"),
        ("org/pickled", "policy", "--allow-pickle"),
        ("org/empty", "format", "no model.safetensors"),
    ],
)
def test_what_the_hub_refuses_is_told_apart_at_once(hub, tmp_path, model, kind, words):
    hub.requests.clear()
    found = fetch(hub.url, tmp_path, model)
    assert found["error"] == kind
    assert words in found["line"] and "\n" not in found["line"]
    assert ("nor is there a folder" in found["line"]) == (kind in ("missing", "network"))
    assert (questions(hub), found["slept"]) == ([f"api/models/{model}"], 0)


def test_an_unknown_revision(hub, tmp_path):
    found = fetch(hub.url, tmp_path, "org/tiny", revision="nope")
    assert (found["error"], "no revision 'nope'" in found["line"]) == ("missing", True)


def test_no_network_is_told_from_a_missing_model_without_a_second_try(tmp_path):
    found = fetch("http://127.0.0.1:9", tmp_path, "org/tiny")
    assert found["error"] == "network"
    assert "cannot be reached" in found["line"]
    assert "nor is there a folder or file org/tiny where it was typed" in found["line"]
    assert found["slept"] == 0


def test_a_name_that_does_not_resolve(tmp_path):
    found = fetch("http://hub.invalid", tmp_path, "org/tiny")
    assert (found["error"], found["slept"]) == ("network", 0)


def test_a_hub_that_does_not_answer_is_given_up_after_seconds(hub, tmp_path):
    """It never answers, so that only the client's own limit ends the wait."""
    hub.requests.clear()
    found = fetch(hub.url, tmp_path, "org/silent")
    assert (found["error"], "in time" in found["line"]) == ("network", True)
    assert (questions(hub), found["slept"]) == (["api/models/org/silent"], 0)
    assert download._LOOKUP_SECONDS <= 10


def test_a_full_disk_is_noticed_before_the_download(hub, tmp_path):
    shrink = "import shutil; shutil.disk_usage = lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000)\n"
    found = fetch(hub.url, tmp_path, "org/tiny", program=shrink + PROGRAM)
    assert (found["error"], "HF_HOME" in found["line"]) == ("storage", True)


def test_a_model_of_the_hub_is_loaded_whole(hub, tmp_path):
    program = """
import json, sys
from engine.base.job import Job
from engine.loading.load import load_model
loaded = load_model(Job(**json.loads(sys.argv[1]), device="cpu"), lambda progress: None)
print(json.dumps({**loaded.provenance.to_json(), "training": loaded.model.training}))
"""
    found = fetch(hub.url, tmp_path, "org/tiny", program=program)
    assert found["resolved"] == found["model"] == "org/tiny"
    assert found["commit"] == COMMIT
    assert found["architecture"] == "LlamaForCausalLM"
    assert not found["training"]


def test_a_download_can_be_cancelled(hub, tmp_path):
    program = """
import json, sys
from engine.base.job import Job
from engine.loading.load import load_model
from engine.messages import Code
class StopRequested(Exception): pass
def report(progress):
    if progress.phase == Code.DOWNLOADING and progress.done > 0:
        raise StopRequested
try:
    load_model(Job(**json.loads(sys.argv[1])), report)
except StopRequested:
    print(json.dumps("stopped"))
"""
    assert fetch(hub.url, tmp_path, "org/sharded", program=program) == "stopped"
