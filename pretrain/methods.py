"""The self-supervised methods by name."""

from pretrain.byol import BYOL
from pretrain.jigsaw import Jigsaw
from pretrain.method import Method
from pretrain.moco import MoCo
from pretrain.rotation import Rotation
from pretrain.simclr import SimCLR

METHODS: dict[str, type[Method]] = {
    "simclr": SimCLR,
    "moco": MoCo,
    "byol": BYOL,
    "rotation": Rotation,
    "jigsaw": Jigsaw,
}
