"""The page as a browser has it: nothing loaded, nothing of a model's name run, rows that sort and filter."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelpick import api
from modelpick.planning.filters import Filters, LeftOut
from modelpick.planning.recommend import Recommendations
from modelpick.report.html import page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "evil/<script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def answer() -> Any:
    return api.recommend(filters=Filters(max_parameters=4_000_000_000), finetune_rows=3)


def with_a_hostile_name(answer: Any) -> Any:
    first, *others = answer.recommendations.passed
    hostile = replace(first, model=replace(first.model, id=HOSTILE))
    left = LeftOut(HOSTILE, "license_review", "<img src=x onerror=\"document.title='owned'\">")
    return replace(answer, recommendations=Recommendations((hostile, *others), (left,)))


def test_it_loads_nothing_and_names_everything(answer: Any) -> None:
    text = page(answer, 5)
    assert not re.search(r"<(link|img|iframe|object|script)[^>]+(src|href)\s*=", text)
    assert "default-src 'none'" in text
    for row in answer.recommendations.passed[:5]:
        assert row.model.id in text
        assert row.placement.offer.instance.name in text
    assert all(left.model in text for left in answer.recommendations.rejected)
    assert answer.policy.sha256 in text


def test_no_row_at_all_is_a_page_too(answer: Any) -> None:
    assert "Left out" in page(replace(answer, recommendations=Recommendations((), answer.recommendations.rejected)))


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_in_a_real_browser_it_sorts_filters_and_runs_nothing_foreign(answer: Any, tmp_path: Path) -> None:
    user = """
<script>
const rows = () => [...document.querySelectorAll("#models tbody tr")].filter(row => !row.hidden);
const told = {models: rows().length, title: document.title};
document.querySelectorAll("#models th")[8].click();
told.prices = rows().map(row => +row.cells[8].dataset.value);
document.querySelectorAll("#models th")[3].click(); document.querySelectorAll("#models th")[3].click();
told.scores = rows().map(row => +row.cells[3].dataset.value);
const box = document.querySelector("input[data-for=models]");
box.value = "QWEN"; box.dispatchEvent(new Event("input"));
told.filtered = rows().map(row => row.cells[1].textContent);
told.bars = rows().map(row => row.querySelector(".bar").getBoundingClientRect().width);
document.body.innerHTML = ""; document.body.textContent = "TOLD" + JSON.stringify(told) + "DLOT";
</script>"""
    file = tmp_path / "page.html"
    file.write_text(page(with_a_hostile_name(answer), 40).replace("</body>", f"{user}</body>"), encoding="utf-8")
    words = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    shown = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search("TOLD(.*)DLOT", shown, re.S)
    assert found is not None, shown[:2000]
    told = json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert told["models"] == 40
    assert told["title"].startswith("modelpick: commercial")
    assert told["prices"] == sorted(told["prices"])
    assert told["scores"] == sorted(told["scores"], reverse=True)
    assert told["filtered"]
    assert all("qwen" in name.lower() for name in told["filtered"])
    assert all(width > 50 for width in told["bars"])
