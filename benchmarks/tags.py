"""Tags: coffee leaves, tagged "symptom" or none; truth are the symptom voxels. Split by image.

Of the images of each class, in the order of their numbers, those whose place ends in 2, 5 or 8 are for the
test. Heat maps, seeds and the network trained from them, beside a colour rule, the leaf as a whole, a plain
CAM cut at 20 % of its hottest voxel, and the same network trained on true masks. Nothing was chosen on the
test images. `--parts boxes scribbles`: the same tags, and a robot's boxes or scribbles on `SOME` images.
`--parts encoder shuffled`: classifier and network start from an encoder that `wsseg pretrain --method mae`
made of the same images without their tags, or from its weights in another order.
"""

import csv
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture
from sklearn.metrics import average_precision_score

from benchmarks.common import keep, kept, options, pack, table, wsseg
from pretrain.probe import shuffled
from wsseg.cam import KINDS
from wsseg.classifier import load_classifier
from wsseg.encoder import load_encoder
from wsseg.heat import Heater
from wsseg.images import read_image
from wsseg.robot_dataset import robot_steps
from wsseg.steps import finish
from wsseg.tagcheck import auc

TEST = (2, 5, 8)
SOME = 6
STARTS = ("encoder", "shuffled")
DISEASES = ("miner", "rust", "phoma", "cercospora")


def coffee() -> list[dict[str, Any]]:
    """The rows of labels.csv, each with `test`."""
    with open(pack("coffee_leaf") / "labels.csv", newline="", encoding="utf-8") as handle:
        rows = sorted(csv.DictReader(handle), key=lambda row: int(row["id"]))
    counts: dict[str, int] = {}
    for row in rows:
        place = counts[row["class"]] = counts.get(row["class"], -1) + 1
        row["test"] = place % 10 in TEST
    return rows


def prepare(room: Path, size: tuple[int, int], *, classes: bool) -> None:
    """room/train and room/test with images, tags and truth, `size` (width, height)."""
    source = pack("coffee_leaf")
    names = dict(enumerate(DISEASES, 1)) if classes else {1: "symptom"}
    lines: list[str] = []
    for row in coffee():
        side = room / ("test" if row["test"] else "train")
        stem = f"leaf{int(row['id']):04}"
        for part in ("images", "truth", "leaf"):
            (side / part).mkdir(parents=True, exist_ok=True)
        with Picture.open(next((source / "images").glob(f"{row['id']}.*"))) as picture:
            picture.convert("RGB").resize(size, Picture.Resampling.BOX).save(side / "images" / f"{stem}.png")
        with Picture.open(source / "masks" / f"{row['id']}.png") as picture:
            mask = np.array(picture.resize(size, Picture.Resampling.NEAREST))
        Picture.fromarray((mask == 2).astype(np.uint8)).save(side / "truth" / f"{stem}.png")
        Picture.fromarray((mask > 0).astype(np.uint8)).save(side / "leaf" / f"{stem}.png")
        if not row["test"]:
            own = [
                k for k, name in names.items() if (row[name] == "1" if classes else row["class"] != "healthy")
            ]
            lines += [f"{stem},{k}" for k in own] or [f"{stem},"]
    (room / "train" / "tags.csv").write_text("image,class\n" + "\n".join(lines) + "\n")
    (room / "train" / "classes.json").write_text(json.dumps({str(k): name for k, name in names.items()}))


def dice(said: np.ndarray, truth: np.ndarray) -> float:
    """Over all voxels of all images; small lesions would make a mean over images jump."""
    total = said.sum() + truth.sum()
    return float(2 * (said & truth).sum() / total) if total else 1.0


def stack(folder: Path) -> np.ndarray:
    """All masks of a folder, in the order of their names."""
    return np.stack(
        [np.array(Picture.open(path)) for path in sorted(folder.iterdir()) if path.suffix == ".png"]
    )


def of_heat(heat: np.ndarray, truth: np.ndarray, upper: float | None) -> dict[str, float | None]:
    """Scores of the heat (N, *S) of images with the class.

    `best` takes its threshold from these images and is what an oracle would have.
    """
    cuts = np.quantile(heat, 1 - np.geomspace(1e-3, 0.5, 60))
    hottest = [flat.argmax() for flat in heat.reshape(len(heat), -1)]
    share = [one > 0.2 * one.max() for one in heat]
    return {
        "pxap": float(average_precision_score(truth.ravel(), heat.ravel())),
        "pointing": float(np.mean([t.ravel()[at] for t, at in zip(truth, hottest, strict=True)])),
        "best": max(dice(heat > cut, truth) for cut in cuts),
        "shared": None if upper is None else dice(heat > upper, truth),
        "at20": dice(np.stack(share), truth),
    }


def maps(seeds: Path, room: Path, seed: int, start: str) -> None:
    """A row for each kind of map on the test images."""
    model = load_classifier(seeds / "classifier")
    quality = json.loads((seeds / "quality.json").read_text())
    truth = stack(room / "test" / "truth") == 1
    images = [read_image(path) for path in sorted((room / "test" / "images").iterdir())]
    there = truth.any((1, 2))
    statistics = [model.config.measure(image, "a test image") for image in images]
    heater = Heater(model)
    scores = np.array([heater.score(*pair).max() for pair in zip(images, statistics, strict=True)])
    for kind, flips in [*((kind, False) for kind in KINDS), ("cam", True)]:
        heater = Heater(model, kind=kind, flips=flips, scales=(0.5, 1.0, 1.5) if flips else (1.0,))
        heat = np.stack([heater.heat(*pair).max(0) for pair in zip(images, statistics, strict=True)])
        upper = quality["thresholds"].get("1") if kind == "cam" and not flips else None
        found = of_heat(heat[there], truth[there], upper and upper["upper"])
        name = f"{kind} flips, sizes" if flips else kind
        keep("tags", {"map": name, "start": start, "seed": seed, "auc": auc(scores, there), **found})


def of_seeds(seeds: Path, room: Path) -> dict[str, float]:
    """Precision and recall of the seeds on the training images."""
    found, truth = stack(seeds / "hints"), stack(room / "train" / "truth") == 1
    object_ = (found > 0) & (found < 255)
    return {
        "seed_precision": float((truth & object_).sum() / max(object_.sum(), 1)),
        "seed_recall": float((truth & object_).sum() / truth.sum()),
        "background_precision": float((~truth & (found == 255)).sum() / (found == 255).sum()),
        "unknown": float((found == 0).mean()),
    }


def seeds(room: Path, seed: int, start: str = "random", extra: Sequence[object] = ()) -> None:
    """Seeds of the training images and maps of the test images, from one classifier."""
    out = room / f"seeds-{start}-{seed}"
    seconds = wsseg("seeds", room / "train", "--out", out, "--seed", seed, *extra)
    found = of_seeds(out, room)
    keep("tags", {"seeds": "cam", "start": start, "seed": seed, **found, "seconds": seconds})
    maps(out, room, seed, start)


def encoders(room: Path, seed: int) -> dict[str, Path]:
    """An encoder of the training images, and the same with its weights shuffled within each tensor."""
    made = {start: kept(f"tags-{start}-{seed}") for start in STARTS}
    images = room / "train" / "images"
    wsseg("pretrain", images, "--method", "mae", "--steps", 300, "--seed", seed, "--out", made["encoder"])
    shuffled(load_encoder(made["encoder"]), seed).save(made["shuffled"])
    return made


def trivial(room: Path) -> None:
    """The rules that need no training, on the test images with symptoms and on all."""
    truth, leaf = stack(room / "test" / "truth") == 1, stack(room / "test" / "leaf") == 1
    images = np.stack([np.array(Picture.open(p)) for p in sorted((room / "test" / "images").iterdir())])
    red, green = images[..., 0].astype(int), images[..., 1].astype(int)
    for name, said in (("whole leaf (true leaf)", leaf), ("red > green (true leaf)", leaf & (red > green))):
        keep("tags", {"rule": name, "dice": dice(said, truth)})


def network(data: Path, room: Path, name: str, seed: int, extra: list[object]) -> dict[str, Any]:
    """Train on `data`, predict the test images, score."""
    model = kept(f"tags-{name.replace(', ', '-').replace(' ', '-')}-{seed}")
    seconds = wsseg("fit", data, "--out", model, "--seed", seed, *extra)
    out = room / f"masks-{name}-{seed}"
    wsseg("predict", model, room / "test" / "images", "--out", out)
    truth = stack(room / "test" / "truth") == 1
    said = stack(out) > 0
    there = truth.any((1, 2))
    return {
        "network": name,
        "seed": seed,
        "dice": dice(said, truth),
        "dice_with_symptoms": dice(said[there], truth[there]),
        "false_share_of_healthy": float(said[~there].mean()),
        "fit_seconds": seconds,
    }


def mixed(room: Path, kind: str, seed: int) -> Path:
    """The dataset with its tags and a robot's hints of another kind on `SOME` of the images with symptoms."""
    train, out, robot = room / "train", room / f"{kind}-{seed}", room / f"robot-{kind}-{seed}"
    with open(train / "tags.csv", newline="", encoding="utf-8") as handle:
        ill = [row["image"] for row in csv.DictReader(handle) if row["class"]]
    stems = ill[len(ill) // SOME // 2 :: len(ill) // SOME][:SOME]
    finish(robot_steps(train / "truth", train / "images", robot, kind, seed=seed, stems=stems))
    out.mkdir()
    for source in (train / "images", train / "tags.csv", train / "classes.json"):
        (out / source.name).symlink_to(source)
    hints = "boxes.json" if kind == "boxes" else "hints"
    (out / hints).symlink_to(robot / hints)
    return out


def main() -> None:
    """Run what was asked for."""
    chosen = options(
        __doc__,
        size={"type": int, "nargs": 2, "default": [256, 128], "help": "width and height"},
        classes={"action": "store_true", "help": "tag the four diseases, not just any symptom"},
        parts={"nargs": "+", "default": ["rules", "maps", "fit", "full"]},
    )
    rows = []
    extra: list[object] = ["--steps", chosen.steps] if chosen.steps else []
    with tempfile.TemporaryDirectory() as place:
        room = Path(place)
        prepare(room, tuple(chosen.size), classes=chosen.classes)
        if "rules" in chosen.parts:
            trivial(room)
        for seed in chosen.seeds:
            if "maps" in chosen.parts:
                seeds(room, seed)
            if "fit" in chosen.parts:
                rows.append(network(room / "train", room, "tags", seed, extra))
                keep("tags", rows[-1])
            if asked := [start for start in STARTS if start in chosen.parts]:
                made = encoders(room, seed)
                for start in asked:
                    seeds(room, seed, start, ["--encoder", made[start]])
                    own = [*extra, "--encoder", made[start]]
                    rows.append(network(room / "train", room, f"tags, {start}", seed, own))
                    keep("tags", rows[-1])
            for kind in ("boxes", "scribbles"):
                if kind in chosen.parts:
                    rows.append(network(mixed(room, kind, seed), room, f"tags and {kind}", seed, extra))
                    keep("tags", rows[-1])
            if "full" in chosen.parts:
                full = room / "full"
                if not full.is_dir():
                    full.mkdir()
                    (full / "images").symlink_to(room / "train" / "images")
                    (full / "masks").symlink_to(room / "train" / "truth")
                rows.append(network(full, room, "full", seed, extra))
                keep("tags", rows[-1])
    table(rows)


if __name__ == "__main__":
    main()
