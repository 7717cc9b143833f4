"""Class maps: closed forms on a network of average pooling and a linear head, torchcam, hooks and modes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from wsseg.cam import KINDS, ClassMaps, enlarge
from wsseg.classifier import Classifier
from wsseg.unet import Encoder, plan_encoder

SIZE = {2: (12, 16), 3: (8, 12, 8)}
NEED_LAYER = [kind for kind in KINDS if kind != "saliency"]


class Small(nn.Module):
    """Two convolutions, pooling, a head; `bent` puts a non-linear head there, so that gradients vary."""

    def __init__(self, dims, *, bent=False):
        super().__init__()
        convolution = nn.Conv2d if dims == 2 else nn.Conv3d
        self.body = nn.Sequential(convolution(2, 5, 3, padding=1), nn.ReLU(), convolution(5, 6, 3, stride=2))
        self.head = nn.Linear(6, 3)
        self.bent = bent

    def forward(self, x):
        features = self.body(x)
        pooled = (features.tanh() if self.bent else features).flatten(2).mean(2)
        return self.head(pooled)


def small(dims, **options):
    torch.manual_seed(0)
    return Small(dims, **options)


def images(dims, count=2):
    return torch.randn(count, 2, *SIZE[dims], generator=torch.Generator().manual_seed(1))


def maps_of(net, x, kind):
    with ClassMaps(net, net.body, net.head) as maps:
        return maps(x, kind)


def test_with_average_pooling_all_kinds_are_cam(dims):
    net, x = small(dims), images(dims)
    features = net.body(x)
    cam = torch.einsum("nf...,kf->nk...", features, net.head.weight).detach()
    places = features[0, 0].numel()
    assert torch.allclose(maps_of(net, x, "cam"), cam, atol=1e-5)
    assert torch.allclose(maps_of(net, x, "gradcam"), cam.relu(), atol=1e-4)
    assert torch.allclose(maps_of(net, x, "hirescam"), cam, atol=1e-4)
    positive = torch.einsum("nf...,kf->nk...", features, net.head.weight.relu()).relu()
    assert torch.allclose(maps_of(net, x, "layercam"), positive, atol=1e-4)
    # Grad-CAM++: the gradient is w/Z everywhere, so the weight is w/(2 + w·mean A) where w > 0
    mean = features.flatten(2).mean(2)
    weight = net.head.weight.relu()[None] / (2 + net.head.weight[None] * mean[:, None])
    expected = torch.einsum("nf...,nkf->nk...", features, weight).relu()
    assert torch.allclose(maps_of(net, x, "gradcam++"), expected, atol=1e-4)
    assert places > 1


def test_the_mean_of_a_cam_is_the_score_less_the_offset(dims):
    net, x = small(dims), images(dims)
    mean = maps_of(net, x, "cam").flatten(2).mean(2) + net.head.bias
    assert torch.allclose(mean, net(x), atol=1e-5)


def test_saliency_is_the_gradient_by_differences(dims):
    net, x = small(dims, bent=True).double(), images(dims, 1).double()
    found = maps_of(net, x, "saliency")
    assert found.shape == (1, 3, *SIZE[dims])
    place = (3, 4) if dims == 2 else (3, 4, 2)
    for k in range(3):
        slopes = []
        for channel in range(2):
            step = torch.zeros_like(x)
            step[(0, channel, *place)] = 1e-5
            slopes.append(float((net(x + step) - net(x - step))[0, k].detach()) / 2e-5)
        assert float(found[(0, k, *place)]) == pytest.approx(max(map(abs, slopes)), rel=1e-4)


def test_grad_cam_plus_plus_is_equation_19_written_out(dims):
    """As the authors' code has it; torchcam and MONAI sum A·g³ where the paper has g³ times the sum of A."""
    net, x = small(dims, bent=True), images(dims, 1)
    a = net.body(x)
    g = [
        torch.autograd.grad(net.head(a.tanh().flatten(2).mean(2))[0, k], a, retain_graph=True)[0]
        for k in range(3)
    ]
    found = maps_of(net, x, "gradcam++")
    a = a.detach()[0].flatten(1).double()
    for k in range(3):
        slope, total = g[k][0].flatten(1).double(), torch.zeros(a.shape[1], dtype=torch.double)
        for channel in range(len(a)):
            weight = 0.0
            for place in range(a.shape[1]):
                s = slope[channel, place]
                if s != 0:
                    weight += s**2 / (2 * s**2 + s**3 * a[channel].sum()) * max(s, 0)
            total += weight * a[channel]
        assert torch.allclose(found[0, k].flatten().double(), total.relu(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", ["gradcam", "layercam"])
def test_maps_are_those_of_torchcam(dims, kind):
    methods = pytest.importorskip("torchcam.methods")
    theirs_of = {"gradcam": "GradCAM", "layercam": "LayerCAM"}[kind]
    net, x = small(dims, bent=True).eval(), images(dims, 1)
    ours = maps_of(net, x, kind)
    for k in range(3):
        with getattr(methods, theirs_of)(net, net.body) as extractor:
            theirs = extractor(k, net(x.requires_grad_()), normalized=False)[0]
        own = ours[:, k] / net.body(x)[0, 0].numel()  # they take means over the places
        assert torch.allclose(own, theirs.detach(), rtol=1e-3, atol=1e-6)


def test_grad_cam_is_monais(dims):
    from monai.visualize import GradCAM

    net, x = small(dims, bent=True).eval(), images(dims, 1)
    ours = maps_of(net, x, "gradcam")[:, 1] / net.body(x)[0, 0].numel()
    theirs = GradCAM(net, "body").compute_map(x.requires_grad_(), class_idx=1)[:, 0]
    assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_each_alone(dims, kind):
    net, x = small(dims, bent=True), images(dims)
    both = maps_of(net, x, kind)
    for one in range(2):
        assert torch.allclose(both[one : one + 1], maps_of(net, x[one : one + 1], kind), rtol=1e-3, atol=1e-6)


def hooks_of(net):
    return sum(len(m._forward_hooks) + len(m._backward_hooks) for m in net.modules())


@pytest.mark.parametrize("failing", [False, True])
def test_hooks_are_gone_and_modes_are_as_they_were(dims, failing):
    net = small(dims)
    net.train()
    net.body[1].eval()
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    modes = [module.training for module in net.modules()]
    try:
        with ClassMaps(net, net.body, net.head) as maps:
            assert not any(module.training for module in net.modules())
            assert hooks_of(net) == 1
            maps(images(dims), "gradcam")
            if failing:
                maps(torch.zeros(1, 7, *SIZE[dims]), "cam")  # seven channels
    except RuntimeError:
        assert failing
    assert hooks_of(net) == 0
    assert [module.training for module in net.modules()] == modes
    assert all(p.grad is None and not p.requires_grad for p in net.parameters())
    with pytest.raises(ValueError, match="is a context"):
        maps(images(dims))


def test_mistakes_are_told():
    net, x = small(2), images(2)
    with ClassMaps(net, net.body) as maps:
        with pytest.raises(ValueError, match="gradcam does without"):
            maps(x, "cam")
        with pytest.raises(ValueError, match="no kind of map “heat”"):
            maps(x, "heat")
    with ClassMaps(net) as maps:
        assert maps(x, "saliency").shape == (2, 3, *SIZE[2])
        for kind in NEED_LAYER:
            with pytest.raises(ValueError, match="needs a layer"):
                maps(x, kind)
    with ClassMaps(net, nn.Identity()) as maps, pytest.raises(ValueError, match="took no part"):
        maps(x, "gradcam")


@pytest.mark.parametrize("pooling", ["average", "rank", "max"])
def test_on_our_classifier_grad_cam_is_cam_whatever_the_pooling(dims, pooling):
    """The weights of the places sum to 1, so the gradient summed over them is the head's weight."""
    torch.manual_seed(0)
    shape = plan_encoder(channels_in=2, spacing=(1.0,) * dims, size=SIZE[dims], channels=(4, 6))
    net = Classifier(Encoder(shape), 3, pooling).eval()
    with ClassMaps(net, net.encoder, net.head) as maps:
        cam, gradient = maps(images(dims), "cam"), maps(images(dims), "gradcam")
    assert torch.allclose(cam.relu(), gradient, atol=1e-4)


def test_places_lie_over_the_voxels_they_look_at(dims):
    """A single bright voxel at a multiple of the stride is brightest there after a strided convolution."""
    convolution = F.conv2d if dims == 2 else F.conv3d
    stride = (2, 2) if dims == 2 else (2, 1, 2)
    image = torch.zeros(1, 1, *SIZE[dims])
    place = (0, 0, *((4, 6) if dims == 2 else (4, 5, 2)))
    image[place] = 1
    found = convolution(image, torch.ones(1, 1, *[3] * dims), stride=stride, padding=1)
    large = enlarge(found, stride)
    assert large.shape == image.shape
    assert float(large[place]) == float(large.max()) == 1
    inside = torch.linspace(0, 3, 4).view(1, 1, 4)
    assert enlarge(inside, (2,)).flatten().tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]
