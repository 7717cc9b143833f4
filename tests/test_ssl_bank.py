"""The memory of scans against slow loops; instance discrimination and PIRL on top of it."""

import math

import pytest
import torch
from test_ssl_parts import tiny_encoder

from pretrain.bank import KEPT, TEMPERATURE, Bank
from pretrain.instance import Instance
from pretrain.method import Setting
from pretrain.parts import unit
from pretrain.pirl import PIRL

SIZE = {2: (24, 24), 3: (16, 16, 16)}


def make(cls, dims, scans=6):
    return cls(tiny_encoder(dims), Setting(SIZE[dims], (1.0,) * dims, "other", 50, 0, 4, scans))


def bank(scans=4, width=8):
    torch.manual_seed(0)
    return Bank(scans, width).double()


def slow_softmax(embeddings, scans, rows):
    losses = []
    for vector, scan in zip(embeddings.tolist(), scans.tolist(), strict=True):
        length = math.sqrt(sum(v * v for v in vector))
        scores = [
            sum(v * w for v, w in zip(vector, row, strict=True)) / length / TEMPERATURE
            for row in rows.tolist()
        ]
        losses.append(math.log(sum(math.exp(score) for score in scores)) - scores[scan])
    return sum(losses) / len(losses)


def test_the_loss_is_the_slow_softmax():
    rows, embeddings, scans = bank(), torch.randn(5, 8, dtype=torch.float64), torch.tensor([0, 3, 3, 1, 2])
    loss, accuracy = rows.compare(embeddings, scans)
    assert float(loss) == pytest.approx(slow_softmax(embeddings, scans, rows.rows), abs=1e-10)
    nearest = [int((rows.rows @ vector).argmax()) for vector in embeddings]
    assert float(accuracy) == pytest.approx(sum(map(int.__eq__, nearest, scans.tolist())) / 5)


def test_closed_forms():
    same = bank(7)
    same.rows.copy_(unit(torch.ones(7, 8)))
    loss, _ = same.compare(torch.ones(3, 8, dtype=torch.float64), torch.tensor([0, 1, 6]))
    assert float(loss) == pytest.approx(math.log(7))  # all alike: guessing
    apart = bank(8)
    apart.rows.copy_(torch.eye(8))
    loss, accuracy = apart.compare(apart.rows[[2, 5]] * 9, torch.tensor([2, 5]))
    assert float(loss) == pytest.approx(math.log(1 + 7 * math.exp(-1 / TEMPERATURE)), abs=1e-7)
    assert float(accuracy) == 1


def test_only_what_was_seen_moves_and_halfway():
    rows = bank(5)
    before, seen = rows.rows.clone(), torch.randn(4, 8, dtype=torch.float64)
    rows.remember(seen[:3], torch.tensor([1, 4, 1]))
    rows.remember(seen[3:], torch.tensor([0]))  # a second part of the step
    assert torch.equal(rows.rows, before)  # not before the step is done
    rows.after_step()
    for scan, own in ((0, seen[3:]), (1, seen[[0, 2]]), (4, seen[[1]])):
        mean = sum(vector / vector.norm() for vector in own) / len(own)
        moved = KEPT * before[scan] + (1 - KEPT) * mean
        assert torch.allclose(rows.rows[scan], moved / moved.norm())
    assert torch.equal(rows.rows[[2, 3]], before[[2, 3]])


def test_the_order_of_a_batch_decides_nothing():
    found = []
    seen, scans = torch.randn(6, 8, dtype=torch.float64), torch.tensor([1, 2, 1, 1, 0, 2])
    for order in (torch.arange(6), torch.arange(6).flip(0)):
        rows = bank()
        rows.remember(seen[order], scans[order])
        rows.after_step()
        found.append(rows.rows)
    assert torch.allclose(*found)


@pytest.mark.parametrize("cls", [Instance, PIRL])
def test_the_memory_is_part_of_the_state_and_has_no_gradient(cls, dims):
    method = make(cls, dims)
    before = method.bank.rows.clone()
    method(torch.randn(4, 1, *SIZE[dims]), torch.tensor([0, 1, 1, 5])).backward()
    assert torch.equal(method.bank.rows, before)
    assert not method.bank.rows.requires_grad
    method.after_step()
    moved = (method.bank.rows != before).any(1)
    assert moved.tolist() == [True, True, False, False, False, True]
    assert "bank.rows" in method.state_dict()
    assert all(p.grad is not None for p in method.parameters())


def test_one_scan_is_nothing_to_tell_apart():
    with pytest.raises(ValueError, match=r"at least 2 subjects.*not 1.*--method mae"):
        make(Instance, 2, scans=1)


class TestPIRL:
    def test_it_is_half_of_each(self, dims, monkeypatch):
        method = make(PIRL, dims)
        told = iter([(torch.tensor(3.0), torch.tensor(0.0)), (torch.tensor(5.0), torch.tensor(1.0))])
        monkeypatch.setattr(method.bank, "compare", lambda *_: next(told))
        loss = method(torch.randn(3, 1, *SIZE[dims]), torch.arange(3))
        assert float(loss) == 4
        assert method.metrics == {"accuracy": 0, "chance": pytest.approx(1 / 6), "tiles": 1}

    def test_what_is_remembered_is_the_whole_crop(self, dims, monkeypatch):
        method, kept = make(PIRL, dims), []
        monkeypatch.setattr(method.bank, "remember", lambda rows, scans: kept.append(rows))
        monkeypatch.setattr(method, "shuffled", lambda images: torch.full((len(images), 128), torch.nan))
        method(torch.randn(3, 1, *SIZE[dims]), torch.arange(3))
        assert len(kept) == 1
        assert kept[0].isfinite().all()

    def test_every_crop_is_laid_in_an_order_of_its_own(self, dims, monkeypatch):
        """With each tile's number for its code, the last layer sees every tile once, in many orders."""
        method, laid = make(PIRL, dims), []
        count = method.tiles

        def code(features):
            return torch.arange(count).repeat(len(features) // count).view(-1, 1).expand(-1, 128).float()

        def joined(codes):
            laid.append(codes.view(len(codes), count, 128)[..., 0].long())
            return torch.zeros(len(codes), 128)

        del method.code, method.joined
        method.code, method.joined = code, joined
        method.shuffled(torch.randn(12, 1, *SIZE[dims]))
        assert (laid[0].sort(1).values == torch.arange(count)).all()
        assert len({tuple(row) for row in laid[0].tolist()}) > 6
