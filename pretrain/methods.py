"""The self-supervised methods by name."""

from pretrain.barlow import BarlowTwins
from pretrain.byol import BYOL
from pretrain.denoising import Denoising
from pretrain.dense import Dense
from pretrain.inpainting import Inpainting
from pretrain.instance import Instance
from pretrain.jigsaw import Jigsaw
from pretrain.location import Location
from pretrain.mae import MAE
from pretrain.method import Method
from pretrain.moco import MoCo
from pretrain.pirl import PIRL
from pretrain.position import Position
from pretrain.rotation import Rotation
from pretrain.sela import SeLa
from pretrain.simclr import SimCLR
from pretrain.simsiam import SimSiam
from pretrain.supcon import SupCon
from pretrain.swav import SwAV
from pretrain.vicreg import VICReg

METHODS: dict[str, type[Method]] = {
    "mae": MAE,
    "denoising": Denoising,
    "inpainting": Inpainting,
    "location": Location,
    "simclr": SimCLR,
    "moco": MoCo,
    "byol": BYOL,
    "vicreg": VICReg,
    "barlow": BarlowTwins,
    "simsiam": SimSiam,
    "swav": SwAV,
    "sela": SeLa,
    "instance": Instance,
    "pirl": PIRL,
    "supcon": SupCon,
    "dense": Dense,
    "rotation": Rotation,
    "jigsaw": Jigsaw,
    "position": Position,
}
