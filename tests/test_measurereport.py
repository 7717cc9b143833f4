"""The page about measurements, read back: numbers, and pictures with outlines where they belong."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image as Picture
from tiny import write_any, wsseg_

from wsseg.colours import class_colour
from wsseg.measure import Cleaning
from wsseg.measurefolder import Sources, draw_folder, measure_folder
from wsseg.measurereport import SIDE, cut_through, write_measure_report
from wsseg.steps import finish
from wsseg.webpage import Outlines, outlined


class Cells(HTMLParser):
    """The texts of all table cells and captions, row by row, and that all that was opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Picture.open(io.BytesIO(png)).convert("RGB"))


def _pictures(text: str) -> list[np.ndarray]:
    return [_pixels(base64.b64decode(code)) for code in re.findall(r"base64,([^\"]+)", text)]


def _is(pixels: np.ndarray, colour: str) -> np.ndarray:
    return (abs(pixels.astype(int) - 255 * np.array(to_rgb(colour))) < 2).all(-1)


def test_a_page_of_a_dataset(tmp_path, data, dims):
    page = tmp_path / "page.html"
    command = ["measure", tmp_path / "truth", "--images", data / "images", "--hints", data]
    wsseg_(*command, "--out", tmp_path / "a.csv", "--report", page)
    text = page.read_text(encoding="utf-8")
    cells = Cells(text)
    assert cells.open == ["html"] or not cells.open
    assert cells.rows[0] == [
        *("class", "images", "objects", "median", "smallest", "largest", "sum", "unit", "as hinted")
    ]
    volumes = [row["volume"] for row in finish(measure_folder(tmp_path / "truth")) if row["class"] == 1]
    name, images, objects, middle, least, most, total, _, agreed = cells.rows[1]
    assert (name, images, objects, agreed) == ("ball", "2", "2", "100.0 %")
    numbers = [np.median(volumes), min(volumes), max(volumes), sum(volumes)]
    assert [float(n) for n in (middle, least, most, total)] == pytest.approx(numbers, rel=1e-5)
    pictures = _pictures(text)
    assert len(pictures) == 2
    for picture in pictures:
        assert max(picture.shape[:2]) == SIDE
        edge = _is(picture, class_colour(1))
        rows, columns = np.nonzero(edge)
        inside = (slice(rows.min(), rows.max()), slice(columns.min(), columns.max()))
        assert 0 < edge[inside].mean() < 0.4  # a line, no disc
    assert "<b>ball0</b><br>ball:" in text
    assert (
        "is there already" in wsseg_(*command, "--out", tmp_path / "b.csv", "--report", page, code=2).stderr
    )
    assert not (tmp_path / "b.csv").exists()
    wrong = wsseg_(*command, "--out", tmp_path / "b.csv", "--report", tmp_path / "page.txt", code=2).stderr
    assert "name it page.html" in wrong


def test_of_a_volume_the_slice_with_most_across_the_coarsest_axis():
    values = np.zeros((1, 6, 8, 10), np.float32)
    values[0, :, 4] = np.arange(10)
    mask = np.zeros((6, 8, 10), np.uint8)
    mask[1, 2], mask[2:5, 4, 3:8] = 1, 2
    picture = _pixels(cut_through("a", values, mask, (1.0, 3.0, 2.0)).png)
    assert picture.shape[:2] == (54, SIDE)  # 6 mm by 20 mm
    found = _is(picture, class_colour(2))
    rows, columns = np.nonzero(found)
    np.testing.assert_allclose([rows.min(), rows.max() + 1], [2 * 9, 5 * 9], atol=1)
    np.testing.assert_allclose([columns.min(), columns.max() + 1], [3 * 18, 8 * 18], atol=1)
    assert not _is(picture, class_colour(1)).any()
    assert picture[0, 0, 0] < picture[0, -1, 0]  # the image shows through


def test_a_line_lies_within_its_label_and_neighbours_have_one_each():
    labels = np.zeros((10, 20), np.int64)
    labels[2:8, 2:10], labels[2:8, 10:18] = 1, 300
    colours = {1: "#ff0000", 300: "#0000ff"}
    picture = _pixels(outlined(np.zeros((1, 10, 20)), (100, 200), Outlines(labels, colours.__getitem__, 3)))
    for k, colour in colours.items():
        line, here = _is(picture, colour), np.kron(labels == k, np.ones((10, 10), bool))
        assert not (line & ~here).any()
        inner = here.copy()
        rows, columns = np.nonzero(here)
        inner[:], inner[rows.min() + 3 : rows.max() - 2, columns.min() + 3 : columns.max() - 2] = False, True
        np.testing.assert_array_equal(line, here & ~inner)


def test_masks_are_drawn_as_they_were_cleaned(tmp_path, dims):
    mask = np.zeros((20,) * dims, np.uint8)
    mask[(slice(2, 12),) * dims], mask[(slice(15, 18),) * dims] = 1, 2
    write_any(tmp_path / "masks", "a", mask)
    for least, there in ((0.0, True), (3.5**dims * 3, False)):
        (cut,) = finish(draw_folder(tmp_path / "masks", Sources(cleaning=Cleaning(min_size=least))))
        assert _is(_pixels(cut.png), class_colour(2)).any() == (there and dims == 2)
        assert _is(_pixels(cut.png), class_colour(1)).any()


def test_objects_of_several_images_and_names_that_are_markup(tmp_path):
    masks = tmp_path / "masks"
    for index in range(5):
        objects = np.zeros((32, 24), np.uint8)
        objects[2:6, 2 : 4 + index], objects[10:14, 2:6] = 1, 2
        write_any(masks, f"<i>{index}", objects)
    sources = Sources(instances=True)
    rows, cuts = finish(measure_folder(masks, sources)), finish(draw_folder(masks, sources))
    write_measure_report(tmp_path / "page.html", rows, cuts, {"masks": masks})
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "10 objects in 5 masks." in text
    cells = Cells(text)
    assert cells.rows[1] == [
        "all",
        "5",
        "10",
        "16",
        "8",
        "24",
        str(sum(4 * (2 + i) + 16 for i in range(5))),
        "pixels",
    ]
    assert "<i>" not in text
    assert "&lt;i&gt;0" in text
    assert "2 objects, 24 pixels" in text
    assert len(_pictures(text)) == 6  # five images and the distribution


def test_nothing_found_is_a_page_too(tmp_path):
    write_any(tmp_path / "masks", "empty", np.zeros((16, 16), np.uint8))
    rows, cuts = finish(measure_folder(tmp_path / "masks")), finish(draw_folder(tmp_path / "masks"))
    write_measure_report(tmp_path / "page.html", rows, cuts, {})
    assert "Classes" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_objects_are_drawn_and_not_the_classes_beside_them(tmp_path):
    mask, objects = np.zeros((12, 12), np.uint8), np.zeros((12, 12), np.uint8)
    mask[2:10, 2:10] = 1
    objects[2:10, 2:6], objects[2:10, 6:10] = 2, 3
    write_any(tmp_path / "masks", "a", mask)
    write_any(tmp_path / "masks" / "instances", "a", objects)
    for instances, drawn in ((False, {1}), (True, {2, 3})):
        (cut,) = finish(draw_folder(tmp_path / "masks", Sources(instances=instances)))
        assert {k for k in (1, 2, 3) if _is(_pixels(cut.png), class_colour(k)).any()} == drawn
