"""The page on a batch, parsed as a browser does: what stands in it, and that nothing of a file acts in it."""

import base64
import hashlib
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import napari_exposure as nx
from napari_exposure.batch import Outcome, Plan
from napari_exposure.report import Report

VOLUME = np.random.default_rng(0).gamma(4, 100, (8, 40, 60)).astype(np.uint16)
MIDDLE = VOLUME[4]
NAMES = ('"><script>alert(1)</script>', "<img src=x onerror=alert(1)>", "javascript:alert(1)", "' onclick='alert(1)")


class Page(HTMLParser):
    """Tags with their attributes, the text of each table row, and what scripts and styles hold."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.own, self._within = [], [], {}, ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._within = tag
        if tag == "tr":
            self.rows.append([])
        elif tag == "td":
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self._within = ""

    def handle_data(self, data):
        if self._within in ("script", "style"):
            self.own[self._within] = data
        elif self._within in ("td", "a") and self.rows:
            self.rows[-1][-1] += data

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Of a file with channels of any name, one that needs an adjustment, and one that failed."""
    folder = tmp_path_factory.mktemp("report")
    volume = VOLUME
    recipe = nx.Recipe((nx.PercentileClip(1, 99),))
    report = Report(Plan(recipe), folder / "r.html")
    for number, channels in enumerate((NAMES, ())):
        data = np.stack([volume] * len(channels)) if channels else volume
        axes = "czyx" if channels else "zyx"
        source = nx.write_tiff(data, folder / f"{number}.ome.tif", axes=axes, channels=channels)
        target = nx.write_tiff(recipe.apply(data), folder / f"{number} after.ome.tif", axes=axes)
        report.add(Outcome(source, target, "done", 0.25))
    report.add(Outcome(Path(NAMES[0]), folder / "none.tif", "failed", 0.5, NAMES[1]))
    report.write()
    return Page((folder / "r.html").read_text(encoding="utf-8"))


def test_nothing_acts_but_the_page_s_own_script(page):
    assert len(page.of("script")) == len(page.of("style")) == 1
    allowed = page.of("meta")[1]
    assert allowed["http-equiv"] == "Content-Security-Policy"
    assert allowed["content"].startswith("default-src 'none'; img-src data:; ")
    for tag in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.own[tag].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in allowed["content"]
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        assert attributes.get("href", "#").startswith("#")
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
    assert {tag for tag, _ in page.tags}.isdisjoint({"iframe", "object", "form", "link", "base", "svg"})


def test_a_row_for_each_channel_that_can_be_sorted(page):
    heads = [each for each in page.of("th") if "scope" in each]
    assert len(heads) == 9
    assert sum("data-number" in each for each in heads) == 6
    rows = [row for row in page.rows if len(row) == 9]
    assert sorted(row[1] for row in rows) == sorted(["", "", *NAMES])
    failed = next(row for row in rows if row[2] == "failed")
    assert failed == [NAMES[0], "", "failed", *[""] * 6]
    for row in rows:
        if row is not failed:
            assert row[3] == "0.25"
            assert all(float(each) > 0 for each in row[4:8])
            assert int(row[8]) >= 0
    # links lead to the parts of the page
    targets = {each["id"] for each in page.of("section")}
    assert {each["href"].removeprefix("#") for each in page.of("a")} == targets


def test_before_and_after_lie_one_over_the_other(page):
    pictures = page.of("img")
    assert len(pictures) == 4 * (len(NAMES) + 1)
    for number in range(0, len(pictures), 4):
        words = [each["alt"] for each in pictures[number : number + 4]]
        assert [each.split(",")[0] for each in words[:3]] == [
            f"middle plane {each}" for each in ("before", "after", "before")
        ]
        planes = [
            np.asarray(Image.open(io.BytesIO(base64.b64decode(each["src"][22:]))))
            for each in pictures[number : number + 3]
        ]
        assert {plane.shape for plane in planes} == {(40, 60)}
        # each voxel has its shade, also those that are few
        low, high = map(float, words[0].split("from ")[1].split(" to "))
        shades = 255 * (np.clip(MIDDLE, low, high) - low) / (high - low)
        np.testing.assert_allclose(planes[0], shades, rtol=0, atol=5)
    sliders = page.of("input")
    assert len(sliders) == len(NAMES) + 1
    assert all(each["type"] == "range" and each["aria-label"] for each in sliders)
