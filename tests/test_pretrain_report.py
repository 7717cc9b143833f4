"""The page of a pretraining run: what must stand in it, and that it needs nothing else."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from test_pretrain_crops import ramps

from pretrain.crops import CropSampler
from pretrain.report import write_report


def record(**changes):
    return {
        "method": "simclr",
        "scans": 8,
        "subjects": 1,
        "modality": "mr",
        "modality_guessed": True,
        "crops_seen": 24,
        "loss": {"first": 2.0, "last": 1.5},
        "skipped": {},
        "warnings": [],
        "names": ["not shown"],
        "command": "wsseg pretrain <scans>",
        **changes,
    }


def rows(count, task=True):
    found = [{"step": 0, "spread": 0.9, "rank": 5.0, "alignment": 1.0, "uniformity": -1.0, "nearest": 0.1}]
    for step in range(1, count + 1):
        row = {"step": step, "loss": 2 - step / count, "nearest_chance": 0.1}
        found.append(row | ({"accuracy": step / count, "chance": 0.25} if task else {}))
    return found


def pictures(page):
    codes = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(code))).convert("L")) for code in codes]


def test_everything_is_in_the_one_page():
    sampler = CropSampler(ramps(8, (40, 24, 20)), (1.0, 1.0, 2.0), (16, 16, 8), seed=0)
    page = write_report(record(), rows(300), sampler)
    assert "simclr on 8 scans of 1 subject (mr, guessed): 300 steps" in page
    assert "from 2.000 to 1.500" in page
    assert "wsseg pretrain &lt;scans&gt;" in page
    assert "not shown" not in page
    assert "An encoder from unlabelled scans" in page
    assert re.search(r"(src|href)=\"(?!data:)", page) is None
    curves, crops = pictures(page)
    assert (curves < 250).any()
    assert len(np.unique(crops)) > 20  # ramps, not an even grey


@pytest.mark.parametrize("told", [{}, {"agreement": 0.3, "kept": 0.8}])
def test_methods_without_a_task_show_whether_views_agree(told):
    sampler = CropSampler(ramps(8, (40, 24)), (1.0, 1.0), (16, 16), seed=0)
    page = write_report(record(), [row | told for row in rows(9, task=False)], sampler)
    curves, _ = pictures(page)
    corner = curves[len(curves) // 2 :, 2 * curves.shape[1] // 3 + 20 :]
    assert (corner < 200).any() == bool(told)


def test_a_failed_run_says_why_and_what_was_left_out():
    sampler = CropSampler(ramps(8, (40, 24)), (1.0, 1.0), (16, 16), seed=0)
    told = record(warnings=["It has <collapsed>."], skipped={"b.png": "b.png: is empty"})
    page = write_report(told, rows(1, task=False), sampler, failed=True)
    assert "The run learned nothing" in page
    assert '<p class="warning">It has &lt;collapsed&gt;.</p>' in page
    assert "b.png: is empty" in page
    assert ": 1 step," in page
