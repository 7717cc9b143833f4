"""The demo: a real brain scan, five annotated slices, a model, the whole volume, and what it is worth.

The scan is the MNI152 template that nilearn ships, with its maps of grey and white matter.
"""

import json
import shutil
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsseg.atomic import write_beside
from wsseg.errors import InputError
from wsseg.steps import Step

CLASSES = {1: "grey matter", 2: "white matter"}
RESOLUTION = 2  # mm
SLICES = 5  # axial, evenly spaced
STEPS = 300  # under 5 minutes on 2 slow cores
STEM = "mni152"
_MARKER = "demo.json"  # says that the folder is a demo's own and may be replaced
_OWN = ("data", "truth", "masks", "model", "demo.png")


@dataclass(frozen=True)
class Shown:
    """What the demo found.

    Attributes:
        dice: Class name to Dice against the tissue maps, on voxels outside the annotated slices.
        annotated_share: Annotated voxels by all voxels.
        person_seconds: How long a person would take for the annotation, an estimate.
        picture: The PNG.
        mask: The predicted mask.
    """

    dice: Mapping[str, float]
    annotated_share: float
    person_seconds: float
    picture: Path
    mask: Path


def demo_steps(
    out: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    steps: int = STEPS,
    resolution: int | None = None,
    overwrite: bool = False,
    command: str = "",
) -> Generator[Step, None, Shown]:
    """Run the demo into a folder: data/, truth/, model/, masks/ and demo.png.

    Args:
        out: The folder.
        seed: Of the annotator's hand and of the training.
        device: auto, cpu, cuda or mps.
        steps: Training steps.
        resolution: Size of a voxel, mm; None = 2.
        overwrite: Replace an earlier demo; a folder with anything else in it is never touched.
        command: What the user typed, for the record.

    Raises:
        InputError: nilearn is not installed, or `out` is not empty and no demo's to replace.
    """
    from wsseg.batch import Wanted, predict_images
    from wsseg.fit import fit_steps, make_sample
    from wsseg.hints import Hints
    from wsseg.images import read_image, read_labels
    from wsseg.maskfolder import open_out
    from wsseg.normalise import Normalisation
    from wsseg.predict import Predictor
    from wsseg.report import overview
    from wsseg.train import TrainConfig

    _open_out(out, overwrite)
    yield Step("prepare", 0, 1)
    scribbles, share, seconds = _write_data(out, resolution or RESOLUTION, seed)
    yield Step("prepare", 1, 1)
    path = out / "data" / "images" / f"{STEM}.nii.gz"
    image = read_image(path)
    sample = make_sample(image, Hints(image.shape, scribbles=scribbles), CLASSES, Normalisation(), str(path))
    config = TrainConfig(steps=steps, seed=seed, device=device)
    fitted = yield from fit_steps([sample], CLASSES, config, out=out / "model", command=command)
    images, masks = {STEM: path}, out / "masks"
    open_out(masks, fitted.model, images)
    outcome = yield from predict_images(Predictor(fitted.model, device=device), images, masks, Wanted())
    if outcome.failed:
        raise InputError(outcome.failed[STEM])
    mask = read_labels(masks / f"{STEM}.nii.gz", image)
    truth = read_labels(out / "truth" / f"{STEM}.nii.gz", image)
    dice = {k: dice_outside(mask, truth, scribbles > 0, k) for k in CLASSES}
    overview(
        out / "demo.png",
        np.asarray(image.data),
        scribbles,
        mask,
        truth,
        classes=CLASSES,
        losses=fitted.losses,
        spacing=image.spacing,
        quality=dice,
        axes="xyz",
    )
    named = {CLASSES[k]: value for k, value in dice.items()}
    _write_marker(out, {"dice": named, "annotated_share": share, "person_seconds": seconds})
    return Shown(named, share, seconds, out / "demo.png", masks / f"{STEM}.nii.gz")


def dice_outside(mask: np.ndarray, truth: np.ndarray, annotated: np.ndarray, class_id: int) -> float:
    """Dice of one class where nothing was annotated; 1 where neither has it.

    Args:
        mask: Predicted class ids (*S).
        truth: True class ids (*S).
        annotated: Bool (*S), voxels to leave out.
        class_id: The class.
    """
    said, true = (mask == class_id) & ~annotated, (truth == class_id) & ~annotated
    size = int(said.sum()) + int(true.sum())
    return 2 * int((said & true).sum()) / size if size else 1.0


def tissue_truth(grey: np.ndarray, white: np.ndarray) -> np.ndarray:
    """The likeliest of grey matter (1), white matter (2) and the rest (0), uint8 (*S).

    Args:
        grey: Probability of grey matter (*S), 0 to 1.
        white: Probability of white matter (*S), 0 to 1.
    """
    return np.stack([1 - grey - white, grey, white]).argmax(0).astype(np.uint8)


def _open_out(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; --out names a folder.")
    if out.is_dir() and any(out.iterdir()):
        if not (out / _MARKER).is_file():
            raise InputError(f"{out}: is not empty and no demo's folder; choose another one with --out.")
        if not overwrite:
            raise InputError(
                f"{out}: holds an earlier demo; replace it with --overwrite, or choose another --out."
            )
        for name in _OWN:
            old = out / name
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    _write_marker(out, {})


def _write_marker(out: Path, results: Mapping[str, object]) -> None:
    with write_beside(out / _MARKER) as fresh:
        fresh.write_text(json.dumps({"format": 1, "kind": "demo", **results}, indent=2), encoding="utf-8")


def _write_data(out: Path, resolution: int, seed: int) -> tuple[np.ndarray, float, float]:
    """Write scan, truth and hints as a user would have them; gives hint map, annotated share and seconds."""
    import nibabel

    from wsseg.images import read_image, write_mask
    from wsseg.robot import annotate

    scan, grey, white = _templates(resolution)
    path = out / "data" / "images" / f"{STEM}.nii.gz"
    with write_beside(path) as fresh:
        nibabel.save(nibabel.Nifti1Image(scan.get_fdata(dtype=np.float32), scan.affine), fresh)
    image = read_image(path)
    truth = tissue_truth(grey.get_fdata(), white.get_fdata())
    write_mask(out / "truth" / f"{STEM}.nii.gz", truth, image)
    robot = annotate(
        truth, "slices", rng=np.random.default_rng(seed), spacing=image.spacing, count=SLICES, axis=2
    )
    assert robot.scribbles is not None
    write_mask(out / "data" / "hints" / f"{STEM}.nii.gz", robot.scribbles, image)
    with write_beside(out / "data" / "classes.json") as fresh:
        fresh.write_text(json.dumps({str(k): name for k, name in CLASSES.items()}), encoding="utf-8")
    return robot.scribbles, robot.annotated_share, robot.seconds


def _templates(resolution: int) -> tuple:
    """Scan, grey matter and white matter as nibabel images; nothing is downloaded.

    Raises:
        InputError: nilearn, which ships them, is not installed.
    """
    try:
        from nilearn import datasets
    except ImportError as error:
        raise InputError(
            f"The demo's scan comes with nilearn, which is not installed ({error}); install wsseg[demo]."
        ) from error
    return (
        datasets.load_mni152_template(resolution=resolution),
        datasets.load_mni152_gm_template(resolution=resolution),
        datasets.load_mni152_wm_template(resolution=resolution),
    )
