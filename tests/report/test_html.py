"""The HTML report: one file, well formed, nothing loaded, nothing run, whatever the tokens are."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from engine.report.errors import ReportError
from engine.report.export import render
from engine.session.reader import SessionReader
from tests.analysis import sessions
from tests.report.test_readable import hostile  # noqa: F401  (a fixture)
from tests.values import some
from tests.waiting import PROGRAM_SECONDS

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """What a page consists of; `problems` names tags that do not match."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text: list[str] = []
        self.problems: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page_of(path: Path) -> tuple[str, Page]:
    with SessionReader(path) as reader:
        (document,) = render(reader, "html")
    text = document.content.decode("utf-8")
    page = Page()
    page.feed(text)
    page.close()
    return text, page


@pytest.mark.parametrize("which", ["bfloat16", "float32", "standard", "lean", "partial"])
def test_every_kind_of_session_makes_a_well_formed_page(which: str, session_files: dict[str, Path]) -> None:
    text, page = page_of(session_files[which])
    assert page.problems == [] and page.open == []
    assert len(re.findall("<svg", text)) >= 4
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(svg)
    assert ("Partial: the run is stopped" in "".join(page.text)) == (which == "partial")


def test_the_page_loads_and_runs_nothing(session_files: dict[str, Path]) -> None:
    text, page = page_of(session_files["bfloat16"])
    assert page.tags.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "image", "form", "base"})
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    addresses = [v for _, name, v in page.attributes if name in ("href", "src", "xlink:href")]
    assert all(some(v).startswith(("#", "https://arxiv.org/abs/")) for v in addresses)
    assert not re.search(r"url\((?!#)|@import", text)


def test_the_page_says_what_the_summary_says(session_files: dict[str, Path]) -> None:
    _, page = page_of(session_files["bfloat16"])
    text = " ".join("".join(page.text).split())
    peak = -sessions.values("bfloat16", "layer_2_hidden").min()
    assert f"M = {peak:,.0f} (L2 hidden)" in text
    for heading in ("Findings", "Where the large activations are", "Threads", "Has M converged?", "Protocol",
                    "Among the published checkpoints", "Tokens that carry the largest elements"):  # fmt: skip
        assert heading in text
    assert "gemma-3-27b-it" in text and "→ Tiny-Model" in text


def test_colours_follow_the_page_and_ids_are_not_repeated(session_files: dict[str, Path]) -> None:
    text, page = page_of(session_files["bfloat16"])
    assert "#0102" not in text and "prefers-color-scheme: dark" in text
    used = set(re.findall(r"var\((--[a-z0-9]+)\)", text))
    assert used <= set(re.findall(r"(--[a-z0-9]+):", text))
    ids: dict[str, bytes] = {}
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        for element in ElementTree.fromstring(svg).iter():
            name = element.get("id")
            content = ElementTree.tostring(element).strip()
            # The same id is only ever given to the same shape.
            assert name is None or ids.setdefault(name, content) == content
    assert not any(name == "style" and value and "#000000" in value for _, name, value in page.attributes)


def test_hostile_tokens_categories_and_names_stay_text(hostile: Path) -> None:  # noqa: F811
    text, page = page_of(hostile)
    assert page.problems == [] and page.open == []
    assert page.tags.isdisjoint({"script", "img", "b", "iframe"})
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    shown = "".join(page.text)
    assert "<script>alert(1)</script>" in shown and "$x^2$" in shown
    svgs = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert any("$x^2$" in svg for svg in svgs)
    for svg in svgs:
        ElementTree.fromstring(svg)


def test_without_matplotlib_the_next_step_is_named(
    session_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with (
        SessionReader(session_files["bfloat16"]) as reader,
        pytest.raises(ReportError, match=r"pip install 'maxact-tui\[report\]'"),
    ):
        render(reader, "html")


def test_the_same_session_makes_the_same_page(session_files: dict[str, Path]) -> None:
    assert page_of(session_files["bfloat16"])[0] == page_of(session_files["bfloat16"])[0]


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DARK, LIGHT = 0, 1  # of Chromium's preferredColorScheme


def chromium(page: Path, width: int, scheme: int) -> tuple[str, list[str]]:
    """The page's document after loading, and what the browser wrote to its console."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("no Chromium here")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900", "--enable-logging=stderr"]
    options.append("--virtual-time-budget=3000")
    command = [browser, *options, f"--blink-settings=preferredColorScheme={scheme}", "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=True)
    return shown.stdout, [line for line in shown.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize(("width", "scheme"), [(390, DARK), (1280, LIGHT)])
def test_chromium_shows_the_page_without_a_complaint_a_request_or_sideways_scrolling(
    width: int, scheme: int, session_files: dict[str, Path], tmp_path: Path
) -> None:
    text, _ = page_of(session_files["bfloat16"])
    page = tmp_path / "page.html"
    page.write_text(text)
    assert chromium(page, width, scheme)[1] == []
    asked = (
        "document.documentElement.scrollWidth,innerWidth,performance.getEntriesByType('resource').length,"
        "document.querySelectorAll('svg').length,+/(\\d+)/.exec(getComputedStyle(document.body).backgroundColor)[1]"
    )
    probe = f"<script>parent.postMessage(JSON.stringify([{asked}]),'*')</script>"
    # The probe is the test's: with the page's own policy it would not run, and the console would say so.
    page.write_text(text.replace("</main>", f"</main>{probe}"))
    assert any("Content Security Policy" in line for line in chromium(page, width, scheme)[1])
    page.write_text(re.sub(r"<meta http-equiv[^>]*>", "", text).replace("</main>", f"</main>{probe}"))
    frame = tmp_path / "frame.html"  # a window is 500 pixels wide at least, a frame as wide as it is told
    listening = "<script>addEventListener('message',e=>{document.title=e.data})</script>"
    frame.write_text(f'{listening}<iframe src="page.html" style="width:{width}px;height:800px;border:0"></iframe>')
    shown, complaints = chromium(frame, 1400, scheme)
    assert complaints == []
    found = re.search(r"<title>\[(\d+),(\d+),(\d+),(\d+),(\d+)\]</title>", shown)
    assert found is not None
    scroll, inner, requests, figures, red = map(int, found.groups())
    assert inner == width and scroll <= inner and requests == 0 and figures >= 5
    assert (red < 100) is (scheme == DARK)
