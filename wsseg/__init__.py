"""wsseg: segmentation from cheap hints.

The public names, imported on first use so that `import wsseg` is quick:
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "hints": ("BACKGROUND", "Box", "Click", "Hints", "Tag"),
    "weak": ("WeakLabels", "weak_labels"),
    "images": ("Image", "read_image", "read_labels", "write_mask"),
    "dataset": ("open_dataset",),
    "normalise": ("Normalisation",),
    "fit": ("default_steps", "fit_steps", "make_sample"),
    "train": ("TrainConfig", "Trainer"),
    "model": ("Model", "load_model"),
    "encoder": ("SavedEncoder", "load_encoder"),
    "predict": ("Prediction", "Predictor"),
    "evaluate": ("evaluate_folder",),
    "measure": ("Cleaning", "measure_classes", "measure_objects"),
    "measurefolder": ("Sources", "measure_folder"),
    "world": ("World", "world_of"),
    "robot": ("annotate",),
    "bags": ("read_bags",),
    "captions": ("classes_in",),
    "cam": ("ClassMaps",),
    "classifier": ("load_classifier",),
    "tagfit": ("TagConfig", "fit_classifier"),
    "heat": ("Heater",),
    "seedrun": ("SeedRun", "seed_steps"),
    "guidance": ("Situation", "Suggestion", "doubt_of", "suggest"),
    "steps": ("Step", "finish"),
    "errors": ("InputError",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'wsseg' has no attribute {name!r}")
    return getattr(import_module(f"wsseg.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
