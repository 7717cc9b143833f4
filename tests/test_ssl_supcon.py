"""Supervised contrast against the paper's formula in slow loops; tags from the table beside the scans."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_pretrain_crops import make as make_scan
from test_pretrain_crops import ramps
from tiny import write_any

from pretrain.alike import alike, supervised_contrast
from pretrain.crops import LEAST, CropSampler
from pretrain.parts import nt_xent, unit
from pretrain.run import fingerprint
from pretrain.tags import with_tags
from wsseg.errors import InputError


def pair(count=5, width=6):
    generator = torch.Generator().manual_seed(4)
    return torch.randn(2, count, width, generator=generator, dtype=torch.float64).unbind(0)


def numbers(tags, scans=None):
    tags = torch.tensor(tags)
    scans = torch.arange(len(tags)) if scans is None else torch.tensor(scans)
    return torch.cat([scans.view(-1, 1), tags], 1)


def slow_khosla(views, labels, temperature):
    """L_out by the paper: for each view the mean over all others with its label."""
    total = 0.0
    for i in range(len(views)):
        scores = {a: math.exp(float(views[i] @ views[a]) / temperature) for a in range(len(views)) if a != i}
        positives = [p for p in scores if labels[p] == labels[i]]
        total -= sum(math.log(scores[p] / sum(scores.values())) for p in positives) / len(positives)
    return total / len(views)


def slow_weighted(views, places, scans, tags, temperature):
    """The same with several tags: a pair counts by the share of its tags that both have."""
    losses, right, luck = [], [], []
    for i in range(len(views)):
        weights, scores = {}, {}
        for a in range(len(views)):
            one, two = tags[i], tags[a]
            share = 0.0
            if one is not None and two is not None:
                share = len(one & two) / len(one | two) if one | two else 1.0
            share = 1.0 if places[i] == places[a] else share
            if a != i and (share or scans[i] != scans[a]):
                weights[a], scores[a] = share, math.exp(float(views[i] @ views[a]) / temperature)
        if len(scores) > 1:
            below = sum(scores.values())
            terms = [w * math.log(scores[a] / below) for a, w in weights.items() if w]
            losses.append(-sum(terms) / sum(weights.values()))
            right.append(weights[max(scores, key=scores.get)] > 0)
            luck.append(sum(w > 0 for w in weights.values()) / len(weights))
    return [sum(values) / len(values) for values in (losses, right, luck)]


def test_with_one_tag_each_it_is_the_papers_loss():
    first, second = pair()
    found = supervised_contrast(first, second, numbers([[1, 0], [0, 1], [1, 0], [1, 0], [0, 1]]), 0.2)
    slow = slow_khosla(unit(torch.cat([first, second])), [0, 1, 0, 0, 1] * 2, 0.2)
    assert float(found.loss) == pytest.approx(slow, abs=1e-10)


@pytest.mark.parametrize("scans", [[0, 1, 2, 3, 4], [0, 0, 1, 1, 1]])
def test_without_tags_it_is_simclr(scans):
    first, second = pair()
    found = supervised_contrast(first, second, numbers([[-1, -1]] * 5, scans), 0.2)
    plain = nt_xent(first, second, torch.tensor(scans), 0.2)
    for one, other in zip(found, plain, strict=True):
        assert float(one) == pytest.approx(float(other), abs=1e-6)


@pytest.mark.parametrize("scans", [[0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 2, 2]])
def test_several_tags_against_slow_loops(scans):
    first, second = pair(6)
    tags = [[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0], [-1, -1, -1], [0, 1, 1]]
    sets = [None if -1 in row else {k for k, there in enumerate(row) if there} for row in tags]
    found = supervised_contrast(first, second, numbers(tags, scans), 0.3)
    views = unit(torch.cat([first, second]))
    slow = slow_weighted(views, [*range(6)] * 2, scans * 2, sets * 2, 0.3)
    assert [float(value) for value in found] == pytest.approx(slow, abs=1e-6)


def test_how_far_tags_belong_together():
    found = alike(torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0], [-1, -1, -1]]))
    expected = torch.eye(6)
    expected[5, 5] = 0  # not tagged: nothing is known, not even of itself
    expected[0, 1] = expected[1, 0] = 0.5
    expected[3, 4] = expected[4, 3] = 1
    assert torch.allclose(found, expected)


def test_all_of_one_kind_and_no_other_scan_is_no_trouble():
    first, second = (view.requires_grad_() for view in pair(3))
    supervised_contrast(first, second, numbers([[1]] * 3, [0, 0, 0]), 0.2).loss.backward()
    assert first.grad.isfinite().all()


class TestTable:
    def scan(self, folder, stem, **options):
        return replace(make_scan(stem, np.eye(24)), path=folder / f"{stem}.png", **options)

    def folder(self, tmp_path, table, inside="images", classes=None):
        for index in range(4):
            write_any(tmp_path / inside, f"a{index}", np.zeros((24, 24), np.uint8))
        (tmp_path / "tags.csv").write_text(table)
        if classes:
            (tmp_path / "classes.json").write_text(json.dumps(classes))
        return [self.scan(tmp_path / inside, f"a{index}") for index in range(4)]

    @pytest.mark.parametrize("inside", ["images", "."])
    def test_of_whole_scans(self, tmp_path, inside):
        table = "image,class\na0,cyst\na0,bleeding\na1.png,cyst\na3,\n"
        scans = self.folder(tmp_path, table, inside, {"1": "cyst", "2": "stroke", "3": "bleeding"})
        found = [scan.tags.tolist() for scan in with_tags(scans)]
        assert found == [[[1, 1]], [[1, 0]], [[-1, -1]], [[0, 0]]]
        assert [scan.tags.tolist() for scan in with_tags(scans[:2])] == found[
            :2
        ]  # rows of others are no mistake

    def test_of_slices(self, tmp_path):
        scans = []
        for stem in ("v0", "v1"):
            path = write_any(tmp_path / "images", stem, np.zeros((6, 5, 4), np.uint8))
            scans.append(replace(make_scan(stem, np.arange(120).reshape(6, 5, 4), axis=2), path=path))
        (tmp_path / "tags.csv").write_text("image,class,axis,slice\nv0,2,2,1\nv0,,2,3\nv1,5,,\n")
        first, second = with_tags(scans)
        assert first.tags.tolist() == [[-1, -1], [1, 0], [-1, -1], [0, 0]]
        assert second.tags.tolist() == [[0, 1]]
        with pytest.raises(InputError, match=r"v0.nii.gz along axis 2, but crops are volumes"):
            with_tags([replace(scan, axis=None, slices=1) for scan in scans])

    def test_what_is_wrong_is_said(self, tmp_path):
        scans = self.folder(tmp_path, "image,class\na0,1\na1,1\n")
        with pytest.raises(InputError, match=r"tags.csv: tells none of these scans from the others"):
            with_tags(scans)
        (tmp_path / "tags.csv").write_text("image,class\nb7,1\n")
        with pytest.raises(InputError, match="there is no image “b7”"):
            with_tags(scans)
        (tmp_path / "tags.csv").unlink()
        with pytest.raises(InputError, match=r"tags.csv: is missing; --method supcon .*--method simclr"):
            with_tags(scans)
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "tags.csv").write_text("image,class\n")
        with pytest.raises(InputError, match="both hold tags"):
            with_tags([self.scan(tmp_path / name, "a") for name in ("one", "two")])

    def test_other_tags_are_another_run(self, tmp_path):
        scans = self.folder(tmp_path, "image,class\na0,1\na1,2\n")
        codes = {fingerprint(scans), fingerprint(with_tags(scans))}
        (tmp_path / "tags.csv").write_text("image,class\na0,2\na1,1\n")
        assert len(codes | {fingerprint(with_tags(scans))}) == 3


class TestCrops:
    def test_a_crop_has_its_scans_tags(self, dims):
        scans = [
            replace(scan, tags=np.array([[i % 2, -1]], np.int8))
            for i, scan in enumerate(ramps(LEAST, (40, 24, 20)[:dims]))
        ]
        _, told = CropSampler(scans, (1.0,) * dims, (8,) * dims, seed=0, tagged=True).draw(0, range(12))
        assert told.shape == (12, 3)
        assert (told[:, 1] == told[:, 0] % 2).all()
        assert (told[:, 2] == -1).all()

    def test_or_its_slices(self):
        values = np.broadcast_to(np.arange(12).reshape(-1, 1, 1), (12, 24, 24))
        tags = np.arange(12, dtype=np.int8).reshape(-1, 1)
        scans = [replace(make_scan(f"v{i}", values, axis=0), tags=tags) for i in range(LEAST)]
        images, told = CropSampler(scans, (1.0, 1.0), (16, 16), seed=0, tagged=True).draw(0, range(12))
        means = images.mean((1, 2, 3)) * scans[0].statistics.deviation[0] + scans[0].statistics.mean[0]
        assert np.allclose(means, told[:, 1], atol=0.01)
