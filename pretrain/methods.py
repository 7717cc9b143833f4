"""The self-supervised methods by name."""

from pretrain.parts import Method
from pretrain.simclr import SimCLR

METHODS: dict[str, type[Method]] = {
    "simclr": SimCLR,
}
