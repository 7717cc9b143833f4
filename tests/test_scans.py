"""Files become scans: what is found, what goes together, whose it is, where something is in it."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from tiny import write_any, write_picture, write_volume

from pretrain.scans import (
    FILLED,
    find_centres,
    find_scans,
    guess_modality,
    look,
    read_headers,
    subject_of,
)
from wsseg.errors import InputError
from wsseg.images import Image
from wsseg.normalise import Normalisation
from wsseg.steps import finish

SIZE = {2: (40, 32), 3: (20, 16, 12)}


def noise(size, seed=0):
    return np.random.default_rng(seed).integers(0, 200, size).astype(np.uint8)


@pytest.fixture
def folder(tmp_path, dims):
    for index in range(3):
        write_any(tmp_path / "scans", f"a{index}", noise(SIZE[dims], index))
    return tmp_path / "scans"


def looked(paths, crop, *, dims=None, skip_bad=False, subject=None):
    headers = read_headers(find_scans(paths), dims=dims, skip_bad=skip_bad)
    return headers, *finish(look(headers, crop, subject=subject, skip_bad=skip_bad))


class TestFindScans:
    def test_at_any_depth_in_the_order_of_names_each_once(self, tmp_path):
        for name in ("b/two", "a/deep/one", "three"):
            write_picture(tmp_path / f"{name}.png", noise((8, 8)))
        (tmp_path / "notes.txt").write_text("no image")
        found = find_scans([tmp_path, tmp_path / "three.png"])
        assert [path.name for path in found] == ["one.png", "two.png", "three.png"]

    def test_of_a_dataset_only_its_images(self, tmp_path):
        for part in ("images", "masks", "hints"):
            write_picture(tmp_path / "data" / part / "x.png", noise((8, 8)))
        assert find_scans([tmp_path / "data"]) == [tmp_path / "data" / "images" / "x.png"]

    @pytest.mark.parametrize(
        ("name", "says"),
        [("none", "no such file"), ("empty", "no image in it"), ("a.txt", "no kind of image")],
    )
    def test_bad_paths(self, tmp_path, name, says):
        (tmp_path / "empty").mkdir()
        (tmp_path / "a.txt").write_text("text")
        with pytest.raises(InputError, match=says):
            find_scans([tmp_path / name])


class TestHeaders:
    def test_median_spacing_and_size(self, tmp_path):
        for index, (count, step) in enumerate([(10, 1.0), (20, 2.0), (30, 4.0)]):
            write_volume(tmp_path / f"v{index}.nii", noise((count, 8, 8)), np.diag([step, 1, 1, 1]))
        headers = read_headers(find_scans([tmp_path]), dims=None, skip_bad=False)
        assert headers.spacing == (2, 1, 1)
        assert headers.size == (20, 8, 8)  # 10, 40 and 120 mm at 2 mm
        assert (headers.dims, headers.channels, headers.rgb) == (3, 1, False)

    def test_grey_and_colour_become_colour(self, tmp_path):
        write_picture(tmp_path / "grey.png", noise((16, 16)))
        write_picture(tmp_path / "colour.png", noise((16, 16, 3)))
        headers, scans, _ = looked([tmp_path], (8, 8))
        assert (headers.channels, headers.rgb) == (3, True)
        assert [scan.read().channels for scan in scans] == [3, 3]
        assert guess_modality(scans, rgb=headers.rgb) == ("histology", None)

    def test_pictures_and_volumes_do_not_mix_without_a_word(self, tmp_path):
        write_picture(tmp_path / "p.png", noise((16, 12)))
        write_volume(tmp_path / "v.nii.gz", noise((16, 12, 8)), np.diag([1, 1, 3, 1]))
        paths = find_scans([tmp_path])
        with pytest.raises(InputError, match="--dims 2"):
            read_headers(paths, dims=None, skip_bad=False)
        with pytest.raises(InputError, match="is a picture"):
            read_headers(paths, dims=3, skip_bad=False)
        headers, scans, _ = looked([tmp_path], (8, 8), dims=2)
        assert headers.spacing == (1, 1)
        assert [(scan.axis, scan.slices, scan.shape) for scan in scans] == [
            (None, 1, (16, 12)),
            (2, 8, (16, 12)),  # cut along the coarsest axis
        ]

    def test_other_channels_do_not_mix(self, tmp_path):
        tifffile.imwrite(
            tmp_path / "two.ome.tif", noise((2, 16, 16)), metadata={"axes": "CYX"}, photometric="minisblack"
        )
        write_picture(tmp_path / "one.png", noise((16, 16)))
        with pytest.raises(InputError, match=r"has 2 channels where .*one.png has 1"):
            read_headers(find_scans([tmp_path]), dims=None, skip_bad=False)


class TestBadScans:
    def test_each_is_named_and_stops_the_run_or_is_left_out(self, folder, dims):
        suffix = ".png" if dims == 2 else ".nii.gz"
        (folder / f"b-half{suffix}").write_bytes((folder / f"a0{suffix}").read_bytes()[:60])
        write_any(folder, "c-flat", np.full(SIZE[dims], 7, np.uint8))
        with pytest.raises(InputError, match=r"b-half.*--skip-bad"):
            looked([folder], (8,) * dims)
        _, scans, bad = looked([folder], (8,) * dims, skip_bad=True)
        assert [scan.path.name for scan in scans] == [f"a{i}{suffix}" for i in range(3)]
        assert sorted(Path(path).name for path in bad) == [f"b-half{suffix}", f"c-flat{suffix}"]
        assert any("constant" in sentence for sentence in bad.values())

    def test_nothing_left_is_an_error(self, tmp_path):
        (tmp_path / "x.png").write_bytes(b"no picture")
        with pytest.raises(InputError, match="None of 1 scans"):
            looked([tmp_path], (8, 8), skip_bad=True)

    def test_not_a_number(self, tmp_path):
        values = noise((8, 8, 8)).astype(np.float32)
        values[1, 2, 3] = np.nan
        write_volume(tmp_path / "v.nii", values)
        with pytest.raises(InputError, match="NaN"):
            looked([tmp_path], (8, 8, 8))


class TestSubjects:
    def image(self, path, **geometry):
        return Image(np.zeros((1, 4, 4)), (1.0, 1.0), path=Path(path), geometry=geometry)

    @pytest.mark.parametrize(
        ("path", "subject"),
        [
            ("bids/sub-07/anat/sub-07_T1w.nii.gz", "sub-07"),
            ("scans/one.nii.gz", "scans/one"),
            ("scans/sub-a_ses-2_x.nii", "sub-a"),
        ],
    )
    def test_by_name(self, path, subject):
        assert subject_of(self.image(path)) == subject

    def test_by_dicom_and_by_pattern(self):
        assert subject_of(self.image("series", patient="P1")) == "P1"
        assert subject_of(self.image("x/patient12_a.nii"), r"patient(\d+)") == "12"
        assert subject_of(self.image("x/patient12_a.nii"), r"patient\d+") == "patient12"

    @pytest.mark.parametrize(("pattern", "says"), [("(", "no regular expression"), ("zz", "is not found")])
    def test_bad_patterns(self, pattern, says):
        with pytest.raises(InputError, match=says):
            subject_of(self.image("x/y.nii"), pattern)


class TestCentres:
    def test_places_are_where_something_is(self, dims):
        """Air all around a textured cube: no centre is farther out than a crop reaches."""
        size = (64,) * dims
        values = np.random.default_rng(0).normal(0, 0.02, size)
        inside = (slice(40, 64),) * dims
        values[inside] = 10 + np.random.default_rng(1).normal(0, 3, (24,) * dims)
        image = Image(values[None].astype(np.float32), (1.0,) * dims)
        centres, filled = find_centres(image, Normalisation().measure(image), (16,) * dims)
        assert len(centres)
        assert centres.min() >= 40 - 8
        assert filled == pytest.approx((24 / 64) ** dims, abs=0.03)
        shares = []
        for centre in centres:
            window = tuple(slice(max(0, c - 8), c + 8) for c in centre)
            shares.append((values[window] > 1).sum() / 16**dims)
        assert np.mean(shares) > FILLED

    def test_a_bright_slide_is_empty_and_tissue_is_not(self):
        values = np.full((3, 64, 64), 240.0)
        values[:, :32] = np.random.default_rng(0).normal(120, 40, (3, 32, 64))
        image = Image(values, (1.0, 1.0), rgb=True)
        centres, filled = find_centres(image, Normalisation().measure(image), (16, 16))
        assert filled == pytest.approx(0.5)
        assert centres[:, 0].max() < 32 + 8

    def test_even_tissue_between_dark_and_bright_is_not_empty(self):
        values = np.zeros((1, 60, 60))
        values[:, 20:40], values[:, 40:] = 50, 100
        image = Image(values, (1.0, 1.0))
        centres, _ = find_centres(image, Normalisation().measure(image), (20, 20))
        assert ((centres[:, 0] >= 20) & (centres[:, 0] < 40)).any()


@pytest.mark.parametrize(
    ("kind", "values", "modality"),
    [
        ("nifti", [-1000, 60, 400], "ct"),
        ("nifti", [0, 60, 400], "mr"),
        ("tiff", [0, 0, 0, 0, 0, 0, 0, 200], "fluorescence"),
        ("tiff", [80, 100, 120], "em"),
    ],
)
def test_modality_is_told_from_values(tmp_path, kind, values, modality):
    volume = np.random.default_rng(0).choice(values, (12, 12, 12)).astype(np.int16)
    if kind == "nifti":
        write_volume(tmp_path / "v.nii.gz", volume)
    else:
        tifffile.imwrite(tmp_path / "v.tif", volume)
    headers, scans, _ = looked([tmp_path], (8, 8, 8))
    assert guess_modality(scans, rgb=headers.rgb) == (modality, None)


def test_scans_of_several_kinds_are_told(tmp_path):
    for index in range(3):
        write_volume(tmp_path / f"v{index}.nii.gz", noise((12, 12, 12), index))
    tifffile.imwrite(tmp_path / "t.tif", 100 + noise((12, 12, 12)) // 4)
    _, scans, _ = looked([tmp_path], (8, 8, 8))
    most, warning = guess_modality(scans, rgb=False)
    assert most == "mr"
    assert "3 as mr, 1 as em" in warning
