"""Regions: k-means over batches, by a slow loop and on groups that are known."""

import pytest
import torch
from scipy.ndimage import uniform_filter

from pretrain.regions import Regions, about


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def voxels(dims, count=2, width=3, seed=0):
    return torch.randn(count, width, *(6,) * dims, generator=generator(seed))


def test_centres_move_as_a_slow_loop_says(dims):
    """Sculley's rule voxel by voxel: after all voxels of a batch a centre is the mean of all it ever had."""
    regions = Regions(4, 3, rest=3)
    centres = None
    for step in range(3):
        values = voxels(dims, seed=step)
        labels = regions.label(values, generator())
        if centres is None:
            centres, members = regions.centres.clone(), [1] * 4
        flat = values.movedim(1, -1).reshape(-1, 3)
        near = [int((centres - voxel).square().sum(1).argmin()) for voxel in flat]
        assert labels.flatten().tolist() == near
        for voxel, group in zip(flat, near, strict=True):
            members[group] += 1
            centres[group] += (voxel - centres[group]) / members[group]
        regions.after_step()
        assert torch.allclose(regions.centres, centres, atol=1e-5)


def test_a_batch_in_parts_moves_them_as_one(dims):
    whole, parts, values = Regions(4, 3, rest=2), Regions(4, 3, rest=2), voxels(dims)
    whole.label(values, generator())
    parts.label(values, generator())
    parts._waiting.clear()
    for one in values.chunk(2):
        parts.label(one, generator())
    for regions in (whole, parts):
        regions.after_step()
    assert torch.allclose(whole.centres, parts.centres, atol=1e-6)


def test_after_some_batches_and_in_evaluation_they_rest(dims):
    regions = Regions(4, 3, rest=2)
    seen = []
    for step in range(4):
        regions.label(voxels(dims, seed=step), generator())
        regions.after_step()
        seen.append(regions.centres.clone())
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])
    assert torch.equal(seen[1], seen[3])
    still = Regions(4, 3, rest=2).eval()
    still.label(voxels(dims), generator())
    before = still.centres.clone()
    still.after_step()
    assert torch.equal(still.centres, before)


def test_groups_that_lie_apart_are_found(dims):
    """Two halves, dark and bright: whichever voxels it begins with, no group has voxels of both."""
    half = torch.arange(6).view(-1, *[1] * (dims - 1)).expand(*(6,) * dims) < 3
    regions = Regions(6, 2, rest=10)
    for step in range(10):
        values = 0.1 * voxels(dims, width=2, seed=step) + torch.where(half, -3.0, 3.0)
        labels = regions.label(values, generator(1))
        regions.after_step()
    dark, bright = labels[:, half].unique().tolist(), labels[:, ~half].unique().tolist()
    assert dark
    assert bright
    assert not set(dark) & set(bright)


@pytest.mark.parametrize("kernel", [3, 1])
def test_brightness_about_a_voxel_is_a_window_s_mean(dims, kernel):
    images = voxels(dims, width=1)
    found = about(images, (kernel,) * dims)
    inside = (0, 0, *[slice(1, -1)] * dims)
    expected = torch.from_numpy(uniform_filter(images[0, 0].numpy(), kernel))
    assert torch.allclose(found[inside], expected[inside[2:]], atol=1e-5)
    assert torch.allclose(about(torch.full_like(images, 2.5), (kernel,) * dims), torch.tensor(2.5))
