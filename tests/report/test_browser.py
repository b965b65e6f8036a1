"""The page in a real browser: it sorts and filters without a complaint, and fits a phone."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from jaxgen.report.writing import write_report
from support.stored_runs import sweep

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BROWSER is None or sys.platform != "linux", reason="needs chromium on the PATH"
    ),
]

DRIVER = """
<script>
window.addEventListener("load", () => {
  const seen = {};
  const page = document.querySelector("iframe").contentWindow;
  const table = page.document.querySelector("table[data-many]");
  const heads = [...table.tHead.rows[0].cells];
  const column = (name) => heads.findIndex((head) => head.textContent.startsWith(name));
  const cells = (name) => [...table.tBodies[0].rows].filter((row) => !row.hidden)
    .map((row) => row.cells[column(name)].textContent.trim().replaceAll("\\u00a0", " "));
  const click = (name) => heads[column(name)].querySelector("button").click();
  seen.runs = cells("run");
  click("candidate, tokens"); seen.descending = cells("candidate, tokens");
  seen.sort = heads.map((head) => head.getAttribute("aria-sort"))
    .filter((order) => order !== "none");
  click("candidate, tokens"); seen.ascending = cells("candidate, tokens");
  click("run"); click("run"); seen.by_run = cells("run");
  const input = page.document.querySelector("#filter");
  input.value = "cache=fixed FASTER";
  input.dispatchEvent(new page.Event("input"));
  seen.filtered = cells("run");
  seen.count = page.document.querySelector("#shown").textContent;
  seen.focusable = heads.every((head) => head.querySelector("button").tabIndex === 0);
  seen.wide = page.document.documentElement.scrollWidth;
  const letters = [...page.document.querySelectorAll("figure svg text")]
    .filter((text) => text.getClientRects().length);
  seen.letters = Math.min(...letters.map((text) => text.getBoundingClientRect().height));
  const style = page.getComputedStyle(page.document.body);
  seen.paper = style.backgroundColor; seen.ink = style.color;
  document.body.textContent = JSON.stringify(seen);
});
</script>
"""


def browse(folder, *flags):
    """Return what the page did in a frame as wide as a phone, and what the console said."""
    frame = "<iframe src='report.html' style='border:0;width:390px;height:800px'></iframe>"
    (folder / "driver.html").write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{frame}{DRIVER}")
    argv = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--enable-logging=stderr",
        "--dump-dom",
        *flags,
    ]
    argv += [
        "--allow-file-access-from-files",
        f"--user-data-dir={folder / 'profile'}",
        f"file://{folder}/driver.html",
    ]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr[-2000:]
    seen = re.search(r"\{.*\}", ended.stdout)
    assert seen is not None, ended.stdout[-2000:] + ended.stderr[-2000:]
    complaints = [line for line in ended.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(seen[0]), complaints


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = sweep(tmp_path_factory.mktemp("browser") / "sweep")
    write_report([folder])
    return folder


def test_the_sweep_s_table_sorts_and_filters_without_a_complaint(page):
    seen, complaints = browse(page)
    assert complaints == []
    assert seen["runs"] == ["0", "1", "2", "10", "3"]
    assert [text.split(" ")[0] for text in seen["descending"]] == [
        "800.0",
        "300.0",
        "200.0",
        "-",
        "",
    ]
    assert seen["sort"] == ["descending"]
    assert [text.split(" ")[0] for text in seen["ascending"]] == [
        "200.0",
        "300.0",
        "800.0",
        "-",
        "",
    ]
    assert seen["by_run"] == ["0", "1", "2", "3", "10"]
    assert seen["filtered"] == ["0", "1"]
    assert seen["count"] == "2 of 5 rows"
    assert seen["focusable"]


def test_the_page_fits_a_phone_and_follows_the_dark(page):
    light, _ = browse(page)
    assert light["wide"] == 390
    assert light["letters"] > 9
    dark, _ = browse(page, "--blink-settings=preferredColorScheme=0")
    assert (light["paper"], light["ink"]) == ("rgb(255, 255, 255)", "rgb(31, 35, 40)")
    assert (dark["paper"], dark["ink"]) == ("rgb(13, 17, 23)", "rgb(230, 237, 243)")
