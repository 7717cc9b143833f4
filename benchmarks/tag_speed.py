"""Seconds of class maps at 512² and 96³, beside torchcam, pytorch-grad-cam (2D) and MONAI, in one run.

The same network for all: our classifier of random weights with two classes, one thread. Ours gives the maps
of both classes, enlarged to the image; each of the others is called once a class, as it must be.
"""

import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import torch

from benchmarks.common import keep, table
from wsseg.cam import ClassMaps, enlarge
from wsseg.classifier import Classifier, first_levels
from wsseg.unet import Encoder, plan_encoder

SIZES = {2: (512, 512), 3: (96, 96, 96)}
CLASSES = 2


def network(dims: int) -> Classifier:
    """Our classifier at stride 4, so that the others have something to enlarge too."""
    torch.manual_seed(0)
    shape = plan_encoder(channels_in=1, spacing=(1.0,) * dims, size=SIZES[dims])
    return Classifier(Encoder(first_levels(shape, 4)), CLASSES).eval()


def ours(net: Classifier, images: torch.Tensor, kind: str) -> None:
    """Both classes at once."""
    with ClassMaps(net, net.encoder, net.head) as maps:
        found = maps(images, kind)
        if kind != "saliency":
            enlarge(found, net.encoder.config.divisor)


class Last(torch.nn.Module):
    """The classifier with its last features as a layer of their own, which the others need."""

    def __init__(self, net: Classifier) -> None:
        super().__init__()
        self.net, self.last = net, torch.nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net.head(self.last(self.net.features(images))).flatten(2).mean(2)


def theirs(dims: int, kind: str, net: Last, images: torch.Tensor) -> dict[str, Callable[[], object]]:
    """What each peer that has this kind does, a call a class."""
    found: dict[str, Callable[[], object]] = {}
    names = {"gradcam": "GradCAM", "gradcam++": "GradCAMpp", "layercam": "LayerCAM"}
    if kind in names:
        methods = import_module("torchcam.methods")

        def torchcam() -> None:
            for k in range(CLASSES):
                with getattr(methods, names[kind])(net, net.last, images.shape[1:]) as extractor:
                    extractor(k, net(images.clone().requires_grad_()))

        found["torchcam"] = torchcam
    monai = import_module("monai.visualize")
    of_monai = {"gradcam": "GradCAM", "gradcam++": "GradCAMpp"}
    if kind in of_monai:

        def with_monai() -> None:
            maps = getattr(monai, of_monai[kind])(net, "last")
            for k in range(CLASSES):
                maps(images.clone().requires_grad_(), class_idx=k)

        found["MONAI"] = with_monai
    names_2d = {
        "gradcam": "GradCAM",
        "gradcam++": "GradCAMPlusPlus",
        "layercam": "LayerCAM",
        "hirescam": "HiResCAM",
    }
    if dims == 2 and kind in names_2d:
        try:
            peer = import_module("pytorch_grad_cam")
            targets = import_module("pytorch_grad_cam.utils.model_targets")
        except ImportError:
            return found

        def grad_cam() -> None:
            with getattr(peer, names_2d[kind])(net, [net.last]) as maps:
                for k in range(CLASSES):
                    maps(images.clone(), [targets.ClassifierOutputTarget(k)])

        found["pytorch-grad-cam"] = grad_cam
    return found


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The best of a few, after one to warm up."""
    work()
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begin)
    return best


def main() -> None:
    """Both sizes, every kind."""
    torch.set_num_threads(1)
    rows = []
    for dims in (2, 3):
        net = network(dims)
        images = torch.randn(1, 1, *SIZES[dims])
        for kind in ("cam", "gradcam", "gradcam++", "layercam", "hirescam", "saliency"):
            row: dict[str, Any] = {
                "dims": dims,
                "kind": kind,
                "ours": seconds(partial(ours, net, images, kind)),
            }
            for name, work in theirs(dims, kind, Last(net), images).items():
                row[name] = seconds(work)
            rows.append(
                {
                    name: row.get(name)
                    for name in ("dims", "kind", "ours", "torchcam", "pytorch-grad-cam", "MONAI")
                }
            )
            keep("tag_speed", rows[-1])
    table(rows)


if __name__ == "__main__":
    main()
