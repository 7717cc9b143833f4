"""Where a classifier finds its evidence: class maps of any network, 2D and 3D, all classes from one pass.

With activations A (F channels) of a layer, the score y of a class and g = ∂y/∂A:

- `cam` (Zhou et al. 2016, section 2): Σ w·A with the weights w of the head behind the pooling. Signed.
- `gradcam` (Selvaraju et al. 2017, section 3): ReLU(Σ α·A), α = Σₓ g.
- `gradcam++` (Chattopadhay et al. 2018, section 3): α = Σₓ a·ReLU(g), a = g² / (2g² + g³·Σₓ A).
- `layercam` (Jiang et al. 2021, section III): ReLU(Σ ReLU(g)·A).
- `hirescam` (Draelos & Carin 2020): Σ g·A. Signed.
- `saliency` (Simonyan et al. 2013, section 3): the largest |∂y/∂image| over the channels.

Differs from the papers in the scale. Nothing is divided by the largest value of an image, which would light
up an image without the class; and Grad-CAM sums over places instead of averaging, LayerCAM and HiResCAM are
multiplied by the number of places, so that maps of images of different sizes can share a threshold. On a
network of average pooling and a linear head HiResCAM, CAM and, but for the ReLU, Grad-CAM are then equal.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Kind = Literal["cam", "gradcam", "gradcam++", "layercam", "hirescam", "saliency"]
KINDS: tuple[Kind, ...] = ("cam", "gradcam", "gradcam++", "layercam", "hirescam", "saliency")


class ClassMaps:
    """Class maps of a network, as a context: `with ClassMaps(net, net.encoder, net.head) as maps:`.

    Inside, the network is in evaluation mode and its layer is listened to; when the block ends, however it
    ends, the hook is gone and every module is in the mode it was in. Weights and their gradients are never
    touched.

    Args:
        net: Images (N, C, *S) -> scores (N, K), before any softmax or sigmoid.
        layer: The module whose output is mapped, (N, F, *P); of a list of outputs the last is. `saliency`
            needs none.
        head: The linear layer or 1×1 convolution (K, F) behind the pooling, for `cam` alone.
    """

    def __init__(self, net: nn.Module, layer: nn.Module | None = None, head: nn.Module | None = None) -> None:
        self.net, self.layer, self.head = net, layer, head
        self._heard: Tensor | None = None
        self._open = False

    def __enter__(self) -> "ClassMaps":
        self._modes = [(module, module.training) for module in self.net.modules()]
        self.net.eval()
        self._hook = self.layer.register_forward_hook(self._listen) if self.layer is not None else None
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        if self._hook is not None:
            self._hook.remove()
        self._heard = None
        for module, training in self._modes:
            module.training = training

    def _listen(self, module: nn.Module, arguments: tuple, output: Tensor | Sequence[Tensor]) -> None:
        self._heard = output if isinstance(output, Tensor) else output[-1]

    def __call__(self, images: Tensor, kind: Kind = "cam") -> Tensor:
        """The maps of a batch, all classes at once.

        Args:
            images: (N, C, *S).
            kind: Which.

        Returns:
            float (N, K, *P) on the places of the layer; for `saliency` (N, K, *S).

        Raises:
            ValueError: Outside of the context, an unknown kind, or one that needs a layer or head not given.
        """
        if not self._open:
            raise ValueError("ClassMaps is a context: with ClassMaps(...) as maps: maps(images)")
        if kind not in KINDS:
            raise ValueError(f"there is no kind of map “{kind}”; {', '.join(KINDS)} are right")
        if kind != "saliency" and self.layer is None:
            raise ValueError(f"{kind} needs a layer; give ClassMaps the module whose output is mapped")
        if kind == "cam":
            return self._cam(images)
        with torch.enable_grad():
            images = images.detach().requires_grad_()
            scores = self.net(images)
            if kind == "saliency":
                found = [_gradient(scores, k, images).abs().amax(1) for k in range(scores.shape[1])]
            else:
                layer = self._activations()
                found = [
                    _WEIGHTED[kind](layer.detach(), _gradient(scores, k, layer))
                    for k in range(scores.shape[1])
                ]
        return torch.stack(found, 1).detach()

    def _cam(self, images: Tensor) -> Tensor:
        if self.head is None:
            raise ValueError("cam needs the head behind the pooling; gradcam does without")
        with torch.no_grad():
            self.net(images)
            weight = self.head.get_parameter("weight").flatten(1)  # (K, F)
            return torch.einsum("nf...,kf->nk...", self._activations(), weight)

    def _activations(self) -> Tensor:
        if self._heard is None:
            raise ValueError("the layer took no part in the forward pass; give one that does")
        return self._heard


def _gradient(scores: Tensor, k: int, of: Tensor) -> Tensor:
    """∂(score of class k)/∂of, each image by itself: in evaluation mode images don't mix."""
    return torch.autograd.grad(scores[:, k].sum(), of, retain_graph=True)[0]


def _over_places(values: Tensor) -> Tensor:
    """Sum over the places, kept as axes of one: (N, F, *P) -> (N, F, 1…)."""
    return values.sum(tuple(range(2, values.ndim)), keepdim=True)


def _places(values: Tensor) -> int:
    return values[0, 0].numel()


def _gradcam(a: Tensor, g: Tensor) -> Tensor:
    return (_over_places(g) * a).sum(1).relu()


def _gradcam_plus_plus(a: Tensor, g: Tensor) -> Tensor:
    below = 2 * g.square() + g**3 * _over_places(a)
    share = torch.where(below != 0, g.square() / torch.where(below != 0, below, 1), 0)
    return (_over_places(share * g.relu()) * a).sum(1).relu()


def _layercam(a: Tensor, g: Tensor) -> Tensor:
    return _places(a) * (g.relu() * a).sum(1).relu()


def _hirescam(a: Tensor, g: Tensor) -> Tensor:
    return _places(a) * (g * a).sum(1)


_WEIGHTED = {
    "gradcam": _gradcam,
    "gradcam++": _gradcam_plus_plus,
    "layercam": _layercam,
    "hirescam": _hirescam,
}


def enlarge(maps: Tensor, stride: Sequence[int]) -> Tensor:
    """Maps on the places of our encoder, (N, K, *P), to voxels, (N, K, *(P·stride)), linearly.

    A strided convolution with odd kernels puts place i over voxel i·stride, not over the middle of the stride
    voxels from there on, as resizing functions take it: for small objects that shift is much.
    """
    size = [(p - 1) * s + 1 for p, s in zip(maps.shape[2:], stride, strict=True)]
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    large = F.interpolate(maps.float(), size, mode=mode, align_corners=True)
    rest = [edge for s in reversed(stride) for edge in (0, s - 1)]
    return F.pad(large, rest, mode="replicate") if any(rest) else large
