"""BYOL's and SimSiam's losses in closed form; no gradient where none should be."""

import pytest
import torch
from test_ssl_parts import tiny_encoder

from pretrain.byol import BYOL, byol_loss
from pretrain.method import Setting
from pretrain.simsiam import SimSiam, simsiam_loss


def test_losses_in_closed_form():
    a = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    b = torch.tensor([[5.0, 0.0], [0.0, -3.0]])
    assert float(byol_loss(a, a)) == pytest.approx(0)
    assert float(byol_loss(a, -a)) == pytest.approx(4)
    assert float(byol_loss(a, b)) == pytest.approx(2)
    assert float(byol_loss(a, a.flip(1))) == pytest.approx(2)  # at right angles
    assert float(simsiam_loss(a, 3 * a)) == pytest.approx(-1)
    assert float(simsiam_loss(a, b)) == pytest.approx(0)


@pytest.mark.parametrize("loss", [byol_loss, simsiam_loss])
def test_no_gradient_goes_into_the_target(loss):
    predicted, target = torch.randn(2, 4, 8, requires_grad=True).unbind(0)
    predicted, target = predicted.detach().requires_grad_(), target.detach().requires_grad_()
    loss(predicted, target).backward()
    assert predicted.grad.any()
    assert target.grad is None


def test_the_copy_learns_by_following_only(dims):
    method = BYOL(tiny_encoder(dims), Setting((16,) * dims, (1.0,) * dims, "other", 50, 0))
    before = {name: value.clone() for name, value in method.target.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    method(torch.randn(4, 1, *(16,) * dims), torch.arange(4)).backward()
    optimiser.step()
    parameters = [name for name, _ in method.target.named_parameters()]
    after = method.target.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in parameters)
    method.after_step()
    share = 1 - method.target.start
    own = method.encoder.state_dict()
    name = "levels.0.conv1.conv.weight"
    moved = before[f"encoder.{name}"].lerp(own[name], share)
    assert torch.allclose(method.target.state_dict()[f"encoder.{name}"], moved, atol=1e-6)


@pytest.mark.parametrize("cls", [BYOL, SimSiam])
def test_views_are_compared_crosswise(cls, monkeypatch):
    """What predicts view 1 of a place is view 2 of the same place, not itself."""
    method = cls(tiny_encoder(2), Setting((16, 16), (1.0, 1.0), "other", 50, 0))
    seen = {}
    module = "byol" if cls is BYOL else "simsiam"

    def look(predicted, target):
        seen["target"] = target
        return predicted.sum()

    monkeypatch.setattr(f"pretrain.{module}.{module}_loss", look)
    produced = []
    head = method.target.head if cls is BYOL else method.head
    head.register_forward_hook(lambda _module, _inputs, output: produced.append(output))
    method(torch.randn(3, 1, 16, 16), torch.arange(3))
    first, second = produced[-1].chunk(2)
    assert torch.equal(seen["target"], torch.cat([second, first]))
