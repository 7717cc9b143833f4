"""Every method in 2D and 3D: it learns, it can be stopped and continued, it keeps the contract."""

import copy
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from pretrain.crops import coordinates
from pretrain.location import Location
from pretrain.method import Method, Setting
from pretrain.methods import METHODS
from pretrain.restoring import Restoring
from pretrain.views import MODALITIES
from wsseg.unet import Encoder, plan_encoder

SIZE = {2: (24, 24), 3: (16, 16, 16)}
LARGE = {2: (24, 24), 3: (20, 20, 20)}  # for 3×3×3 tiles
STEPS = {"location": 80} | dict.fromkeys(("mae", "denoising", "inpainting", "dense", "moco", "byol"), 30)
QUICK = 15  # steps that the others need
TILED = ("jigsaw", "pirl", "position")
FEW = {
    "moco": {"queue": 5},
    "swav": {"prototypes": 5, "queue": 5},
    "sela": {"clusters": 5},
    "location": {"groups": 4},
}  # as many as there are crops to learn by heart
FLOOR = {"simsiam": -1.0, "vicreg": 12.0, "barlow": 5.0}  # what the loss of so small a batch can't go below


def size_of(name: str, dims: int) -> tuple[int, ...]:
    return LARGE[dims] if name == "position" else SIZE[dims]


def make(name: str, dims: int, *, seed: int = 0, channels_in: int = 1, **options) -> Method:
    torch.manual_seed(seed)
    size, spacing = size_of(name, dims), (1.0,) * dims
    channels = (4, 8) if name in TILED else (4, 8, 8)  # its tiles are small
    plan = plan_encoder(channels_in=channels_in, spacing=spacing, size=size, channels=channels)
    return METHODS[name](Encoder(plan), Setting(size, spacing, "other", 40, seed, 6, 6), **options)


def batch(name: str, dims: int, count: int = 5, channels: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops of smooth spots: noise alone could be known by heart, but not be restored or recognised."""
    coarse = torch.randn(count, channels, *(5,) * dims, generator=torch.Generator().manual_seed(1))
    mode = "bilinear" if dims == 2 else "trilinear"
    images = 2 * F.interpolate(coarse, size_of(name, dims), mode=mode)
    if METHODS[name].LOCATED:  # each crop is a whole scan
        size = size_of(name, dims)
        where = torch.from_numpy(coordinates((0,) * dims, size, size, size))
        images = torch.cat([images, where.expand(count, *where.shape)], 1)
    numbers = torch.arange(count)
    if METHODS[name].REPEAT:  # the same batch of a round again and again
        numbers = torch.stack([numbers, torch.zeros_like(numbers), numbers], 1)
    if METHODS[name].TAGGED:  # the last two alike, the first not tagged
        tags = torch.tensor([[-1, -1], [1, 0], [0, 1], [0, 0], [0, 0], [1, 1]])[:count]
        numbers = torch.cat([numbers.view(-1, 1), tags], 1)
    return images, numbers


def optimiser_of(method: Method) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=5e-3)


def step(method: Method, optimiser: torch.optim.Optimizer, images, scans) -> float:
    loss = method(images, scans)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    method.after_step()
    return loss.item()


@pytest.mark.parametrize("name", METHODS)
def test_it_learns_one_batch_by_heart(name, dims):
    """The same views of the same crops again and again: the loss falls by more than half."""
    method = make(name, dims, **FEW.get(name, {}))
    optimiser, (images, scans) = optimiser_of(method), batch(name, dims)
    views = method.views.get_extra_state()
    losses = []
    for _ in range(STEPS.get(name, QUICK)):
        method.views.set_extra_state(views)
        losses.append(step(method, optimiser, images, scans) - FLOOR.get(name, 0.0))
    assert losses[-1] < 0.5 * losses[0]
    metrics = method.metrics
    if "accuracy" in metrics and name != "dense":
        assert metrics["accuracy"] > 0.9 > 2 * metrics["chance"]


@pytest.mark.parametrize("name", METHODS)
def test_stopped_and_continued_is_the_same(name, dims):
    images, scans = batch(name, dims, 4)
    method = make(name, dims)
    optimiser = optimiser_of(method)
    for _ in range(2):
        step(method, optimiser, images, scans)
    other = make(name, dims, seed=5)
    second = optimiser_of(other)
    state = {key: value.clone() for key, value in method.state_dict().items()}
    assert all(isinstance(value, torch.Tensor) for value in state.values())  # goes into a safetensors file
    other.load_state_dict(state)
    second.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    first_losses = [step(method, optimiser, images, scans) for _ in range(2)]
    assert first_losses == [step(other, second, images, scans) for _ in range(2)]
    assert len(set(first_losses)) == 2  # other views each time


@pytest.mark.parametrize("name", METHODS)
def test_the_contract(name, dims):
    method = make(name, dims)
    images, scans = batch(name, dims, 4)
    before = torch.get_rng_state()
    loss = method(images, scans)
    assert torch.equal(torch.get_rng_state(), before)  # draws come from its own generator
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.encoder.parameters())
    assert all(isinstance(value, float) for value in method.metrics.values())
    method.after_step()
    method.eval()
    views = method.views.get_extra_state()
    with torch.no_grad():
        embedded = method.embed(images[:, :1])
    assert embedded.shape[0] == 4
    assert embedded.ndim == 2
    assert torch.equal(method.views.get_extra_state(), views)  # looking does not change what comes
    assert method.advice.endswith(".")
    assert "--method" in method.advice or name == "mae"
    assert method.SUMMARY
    assert (method.decoder_state() != {}) == isinstance(method, Restoring | Location)


@pytest.mark.parametrize("name", METHODS)
def test_several_channels(name):
    images, scans = batch(name, 2, 4, channels=3)
    assert make(name, 2, channels_in=3)(images, scans).isfinite()


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("rotation", *TILED)])
def test_half_precision_costs_no_more_than_rounding(name):
    images, scans = batch(name, 2, 6)
    full = make(name, 2)(images, scans).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = make(name, 2)(images, scans)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(full, rel=0.05, abs=0.05)


@pytest.mark.parametrize("name", METHODS)
def test_crops_of_one_scan_alone(name):
    """No negatives, but no NaN either."""
    images, _ = batch(name, 2, 4)
    method = make(name, 2)
    loss = method(images, torch.zeros_like(batch(name, 2, 4)[1]))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


def test_every_method_and_modality_stands_in_the_docs():
    page = (Path(__file__).parents[1] / "docs" / "pretraining.md").read_text(encoding="utf-8")
    assert re.findall(r"^### `(\w+)`$", page, re.M) == list(METHODS)
    assert set(MODALITIES) <= set(re.findall(r"^\| `(\w+)` \|", page, re.M))
    for name, views in MODALITIES.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` | ÷×"))
        assert f"÷× {views.augment.contrast} | ±{views.augment.brightness} | {views.augment.noise} |" in row
