"""What a user is told of the methods and modalities of pretraining, the recommended methods first.

The names are those of `wsseg pretrain`; a test holds them against it.
"""

METHODS = {
    "location": "Says where in the scan each voxel is. Begin here with organs and bodies that are scanned "
    "alike; not for cells and materials.",
    "mae": "Restores hidden blocks of a crop. Begin here with cells, tissue, materials: one scan is enough, "
    "and the decoder learns too.",
    "denoising": "Takes noise out again. For fine structure such as membranes and vessels; not for scans "
    "that are noisy themselves.",
    "inpainting": "Restores one large box. For parts that continue over long distances (vessels, layers); "
    "not for cells and textures.",
    "dense": "Recognises every spot of a crop by its place. For segmentation with scans that show the same "
    "body part; one is enough.",
    "vicreg": "Two views of a place agree while features vary. For tags, with one scan or few.",
    "byol": "Predicts what a slow copy of itself says. For tags with few scans, or many alike; wants batches "
    "of 16 or more.",
    "moco": "Tells a place from those of other scans, with a memory. For tags in 3D, from ten scans on, in "
    "long runs.",
    "simclr": "Tells a place from those of other scans. For tags, with dozens of scans and a large memory.",
    "barlow": "Features that differ from each other. For tags, with batches of 32 or more.",
    "simsiam": "As byol without the copy: cheap, and the first to collapse.",
    "swav": "Two views fall into one of many clusters of equal size. For tags, where scans hold kinds of "
    "things: cells, tissues.",
    "sela": "Learns labels that it gives the crops itself, evenly. As swav, for small batches and long runs.",
    "instance": "Tells which scan a crop is of, from a memory. For tags, with many small scans that show one "
    "thing each.",
    "pirl": "As instance, from shuffled tiles too. For tags, with many small scans.",
    "supcon": "As simclr, and scans with the same tags belong together. For tags, where a tags.csv lies "
    "beside the scans.",
    "rotation": "Tells how a crop was turned. Only where scans have an up and a down.",
    "jigsaw": "Puts shuffled tiles in order. Where parts have places of their own, as in a body.",
    "position": "Tells where a tile lies beside another. Where parts have places of their own.",
}

MODALITIES = {
    "ct": "CT",
    "mr": "MR",
    "em": "electron microscopy",
    "fluorescence": "fluorescence microscopy",
    "histology": "stained tissue",
    "colour": "colour pictures",
    "other": "something else",
}

HONEST = (
    "As far as it was measured it pays with one labelled volume and a short training: location was 0.05 "
    "Dice ahead of a fresh start, mae was not (docs/pretraining.md). “wsseg probe ENCODER DATA” tells for "
    "your own data."
)


def recommended(modality: str | None) -> str:
    """The method to begin with: bodies are scanned alike, cells and materials are not.

    Args:
        modality: A key of `MODALITIES`, or None while it is not known.
    """
    return "location" if modality in ("ct", "mr", None) else "mae"
