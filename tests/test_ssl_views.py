"""Views lie inside the crop, differ between samples, go on where they stood; sets by modality."""

import pytest
import torch

from pretrain.views import MODALITIES, Views, cut_windows, place, view_size

SIZE = {2: (24, 20), 3: (16, 16, 12)}


def make(dims: int, modality: str = "mr", seed: int = 0, **options) -> Views:
    return Views(SIZE[dims], (1.0,) * dims, modality, seed, divisor=(2,) * dims, **options)


@pytest.mark.parametrize("modality", MODALITIES)
def test_shape_and_finiteness(dims, modality):
    channels = 3 if modality in ("histology", "colour") else 1
    views = make(dims, modality)
    out = views(torch.randn(5, channels, *SIZE[dims]))
    assert out.shape == (5, channels, *views.size)
    assert out.dtype == torch.float32
    assert out.isfinite().all()
    assert views(torch.zeros(2, channels, *SIZE[dims])).isfinite().all()  # an empty crop too


def test_what_is_taken_lies_inside_the_crop_and_anywhere_in_it(dims):
    views = make(dims, "em")
    positions = views.draw_places(torch.zeros(60, 1, *SIZE[dims]))
    over = tuple(range(1, dims + 1))
    low, high = positions.amin(over), positions.amax(over)
    room = torch.tensor(SIZE[dims]) - 1 - (high - low)
    fits = room >= 0
    assert fits.float().mean() > 0.7
    assert (low[fits] > -1e-3).all()
    assert (high <= torch.tensor(SIZE[dims]) - 1 + 1e-3)[fits].all()
    centre = (low + high) / 2 - (torch.tensor(SIZE[dims]) - 1) / 2
    assert torch.allclose(centre[~fits], torch.zeros(()), atol=1e-3)  # too large: sticks out equally
    assert (centre.std(0) > 0.5).all()


def test_place_by_hand():
    line = torch.arange(4.0).view(1, 4, 1).expand(1, 4, 4)
    positions = torch.stack([line, line.transpose(1, 2)], -1)
    moved = place(positions, (10, 4), torch.tensor([[1.0, 0.5]]))
    assert moved.amin((0, 1, 2)).tolist() == [6, 0]
    assert moved.amax((0, 1, 2)).tolist() == [9, 3]


def test_places_are_exact_under_autocast(dims):
    images = torch.randn(3, 1, *SIZE[dims])
    one, two = make(dims), make(dims)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = one(images)
    assert torch.equal(half, two(images))


@pytest.mark.parametrize(
    ("size", "divisor", "expected"),
    [
        ((64, 64), (8, 8), (48, 48)),
        ((32, 32, 32), (8, 8, 8), (24, 24, 24)),
        ((16, 16), (8, 8), (16, 16)),  # two cells at least
        ((12, 96, 96), (1, 8, 8), (9, 72, 72)),
        ((20, 20), (8, 8), (16, 16)),
        ((8, 64), (8, 8), (8, 48)),
    ],
)
def test_size_of_a_view(size, divisor, expected):
    assert view_size(size, divisor) == expected


def test_two_views_of_the_same_modality_differ_and_so_do_samples(dims):
    views = make(dims)
    same = torch.randn(1, 1, *SIZE[dims]).repeat(6, *[1] * (dims + 1))
    first, second = views(same), views(same)
    assert not torch.allclose(first, second, atol=1e-2)
    assert all(not torch.allclose(first[0], first[i], atol=1e-2) for i in range(1, 6))


def test_same_seed_same_views_and_the_state_goes_on(dims):
    images = torch.randn(4, 1, *SIZE[dims])
    one, two = make(dims, seed=3), make(dims, seed=3)
    assert torch.equal(one(images), two(images))
    one(images)
    other = make(dims, seed=9)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(images), other(images))
    assert not torch.equal(make(dims, seed=4)(images), make(dims, seed=3)(images))


def test_ct_keeps_its_units_and_mr_does_not(dims):
    """A constant region's intensity is the tissue in CT; MR sequences differ freely."""
    images = torch.randn(40, 1, *SIZE[dims], generator=torch.Generator().manual_seed(0))
    change = {}
    for modality in ("ct", "mr"):
        out = make(dims, modality).recolour(images)
        change[modality] = (out.flatten(1).mean(1) - images.flatten(1).mean(1)).abs().max()
        rank = [float((a * b).mean()) for a, b in zip(out.flatten(1), images.flatten(1), strict=True)]
        assert (min(rank) < 0) == (modality == "mr")  # inverted
    assert change["ct"] < 0.15 < change["mr"]


def test_which_sets_may_be_mirrored():
    size = (16, 16, 16)
    axes = {m: Views(size, (1.0,) * 3, m, 0, divisor=(2, 2, 2)).geometry.flip_axes for m in MODALITIES}
    assert axes["ct"] == axes["mr"] == axes["other"] == ()
    assert axes["em"] == axes["fluorescence"] == axes["histology"] == (0, 1, 2)
    assert axes["colour"] == (2,)
    flat = Views(size, (4.0, 1.0, 1.0), "em", 0, divisor=(1, 2, 2)).geometry
    assert flat.turn_planes == ((1, 2),)  # slices are not turned into the plane


def test_nothing_is_mixed_across_far_apart_slices():
    """Each slice holds its own number: after any change of place each still holds one number."""
    views = Views((6, 24, 24), (6.0, 1.0, 1.0), "em", 0, divisor=(1, 2, 2), share=1.0)
    volume = torch.arange(6.0).view(1, 1, 6, 1, 1).expand(8, 1, 6, 24, 24)
    out = views.take(volume, views.draw_places(volume))
    assert torch.allclose(out.amin((3, 4)), out.amax((3, 4)), atol=1e-3)


def test_windows_are_voxels_as_they_are(dims):
    images = torch.arange(float(torch.Size(SIZE[dims]).numel())).view(1, 1, *SIZE[dims])
    size = (6, 5, 4)[:dims]
    generator = torch.Generator().manual_seed(0)
    windows = cut_windows(images.repeat(30, *[1] * (dims + 1)), size, generator)
    starts = set()
    for window in windows[:, 0]:
        first = int(window.flatten()[0])
        start = []
        for n in reversed(SIZE[dims]):
            first, at = divmod(first, n)
            start.insert(0, at)
        where = (0, 0, *[slice(a, a + n) for a, n in zip(start, size, strict=True)])
        assert torch.equal(window, images[where])
        starts.add(tuple(start))
    assert len(starts) > 10


def test_bad_arguments_say_what_is_right():
    with pytest.raises(ValueError, match="modality is 'xray'; choose one of ct, mr"):
        make(2, "xray")
    with pytest.raises(ValueError, match=r"crops of \(24, 1\) voxels are smaller"):
        Views((24, 1), (1.0, 1.0), "ct", 0, divisor=(2, 2))
