"""Test StructureFlow against recorded numbers of the authors' code, its structure images, stages and reader."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.parity import assert_golden, image_batch, uniform
from helpers.published import METHODS
from torch.utils._python_dispatch import TorchDispatchMode

from baselines.checkpoints import load_authors_checkpoint
from baselines.networks import plain_state
from baselines.structureflow import (
    Discriminator,
    FlowGenerator,
    StructureFlow,
    StructureGenerator,
    dissection,
    gaussian_resample,
    structure,
    structure_images,
)
from baselines.structureflow.losses import sampling_correctness
from baselines.structureflow.model import LayerNorm, add_spectral_norm
from sair.commands.conformance import samples
from sair.common.errors import InputError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "structureflow.json").read_text())
CLASSES = {"s_gen": StructureGenerator, "f_gen": FlowGenerator, "dis": Discriminator}
TINY = METHODS["structureflow"].tiny


def published_shapes(network: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """Return names and shapes in the authors' files: with spectral norm not folded."""
    spectral = {f"{name}.conv.weight" for name, block in network.named_modules() if getattr(block, "spectral", False)}
    shapes = {}
    for name, value in network.state_dict().items():
        shape = tuple(value.shape)
        if name in spectral:
            vectors = {"orig": shape, "u": shape[:1], "v": (math.prod(shape[1:]),)}
            shapes |= {f"{name}_{part}": vector for part, vector in vectors.items()}
        else:
            shapes[name] = shape
    return shapes


def published_state(network: torch.nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """Return the content of such a file, drawn in the order of the names; singular vectors by power iterations."""
    stream, state = np.random.PCG64(seed), {}
    for name, shape in sorted(published_shapes(network).items()):
        u = uniform(stream, shape)
        stem, _, kind = name.rpartition("_")
        if kind == "v":
            left, matrix = state[f"{stem}_u"], state[f"{stem}_orig"].reshape(len(state[f"{stem}_u"]), -1)
            for _ in range(3):
                right = left @ matrix / np.linalg.norm(left @ matrix)
                left = matrix @ right / np.linalg.norm(matrix @ right)
            state[f"{stem}_u"], u = left, right
        elif ".norm.weight" in name:
            u = 0.6 + 0.4 * u
        elif name.endswith("bias"):
            u = 0.2 * u - 0.1
        elif kind != "u":
            u = (2 * u - 1) * np.sqrt(3.0 / np.prod(shape[1:]))
        state[name] = u
    return {name: torch.tensor(value, dtype=torch.float32) for name, value in state.items()}


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Return the three networks, loaded from files like those that the authors write."""
    made = {}
    for name, cls in CLASSES.items():
        network, path = cls(GOLDEN["channels"]), tmp_path_factory.mktemp("weights") / f"latest_net_{name}.pth"
        torch.save(published_state(network, GOLDEN["weights_seed"]), path)
        load_authors_checkpoint(network, path)
        made[name] = network.eval()
    return made


@pytest.mark.parametrize("name", CLASSES)
def test_names_and_shapes_are_the_published_ones(name):
    with torch.device("meta"):
        network = CLASSES[name]()
    lines = sorted(f"{key} {shape}" for key, shape in published_shapes(network).items())
    expected = GOLDEN["keys"][name]
    assert len(lines) == expected["entries"] == {"s_gen": 92, "f_gen": 137, "dis": 62}[name]
    assert sum(p.numel() for p in network.parameters()) == expected["parameters"]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == expected["sha256"]


@pytest.mark.parametrize("case", GOLDEN["networks"], ids=lambda c: "x".join(map(str, c["size"])))
def test_networks_equal_the_authors(case, networks):
    images, masks = image_batch(case["images_seed"], case["batch"], *case["size"])
    smoothed, _ = image_batch(case["structure_seed"], case["batch"], *case["size"])
    images, smoothed, known = 2 * images - 1, 2 * smoothed - 1, 1 - masks
    with torch.no_grad():
        completed = networks["s_gen"](torch.cat([images * known, smoothed * known, masks], 1))
        painted, flow = networks["f_gen"](torch.cat([images * known, completed, masks], 1))
        answers = networks["dis"](images)
    for found, wanted in ((completed, "s_gen"), (painted, "image"), (flow, "flow")):
        assert_golden(found, case[wanted])
    for found, wanted in zip(answers, case["dis"], strict=True):
        assert_golden(found, wanted)


def test_a_gpu_s_normalisation_equals_a_cpu_s():
    layer = LayerNorm(6)
    with torch.no_grad():
        layer.weight.uniform_()
        layer.bias.uniform_()
    x = torch.randn(3, 6, 20, 17).mul(5).add(2).requires_grad_()
    results = []
    for normalise in (layer.forward, layer._by_moments):
        output = normalise(x)
        results.append([output.detach(), *torch.autograd.grad(output.pow(3).sum(), [x, *layer.parameters()])])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_correctness_equals_the_authors():
    case = GOLDEN["correctness"]
    stream, shape = np.random.PCG64(case["seed"]), case["features"]
    wanted, source = (torch.tensor(uniform(stream, shape), dtype=torch.float32) for _ in range(2))
    flow = torch.tensor(8 * uniform(stream, (shape[0], 2, *shape[2:])) - 4, dtype=torch.float32)
    masks = torch.tensor(uniform(stream, case["mask"]) < 0.4, dtype=torch.float32)
    assert sampling_correctness(wanted, source, flow, masks).item() == pytest.approx(case["value"], abs=1e-6)


# Resampling ----------------------------------------------------------------------------------------------------------


def scalar_resample(features: np.ndarray, flow: np.ndarray, window: int, sigma: float) -> np.ndarray:
    """Resample by the definition, one tap at a time."""
    height, width = features.shape[1:]
    result = np.zeros((len(features), *flow.shape[1:]))
    for row, column in np.ndindex(*flow.shape[1:]):
        x, y = column + flow[0, row, column], row + flow[1, row, column]
        total = 0.0
        for j in range(1 - window // 2, window // 2 + 1):
            for i in range(1 - window // 2, window // 2 + 1):
                at_y, at_x = math.floor(y) + j, math.floor(x) + i
                weight = math.exp(-((at_x - x) ** 2 + (at_y - y) ** 2) / (2 * sigma**2))
                tap = features[:, min(max(at_y, 0), height - 1), min(max(at_x, 0), width - 1)]
                result[:, row, column] += weight * tap
                total += weight
        result[:, row, column] /= total
    return result


@pytest.mark.parametrize(("window", "sigma"), [(4, 2.0), (16, 4.0), (2, 0.5)])
def test_resampling_equals_its_definition(window, sigma):
    torch.manual_seed(0)
    features, flow = torch.randn(2, 3, 6, 5, dtype=torch.float64), 4 * torch.randn(2, 2, 4, 7, dtype=torch.float64)
    found = gaussian_resample(features, flow, window, sigma)
    for image in range(2):
        wanted = scalar_resample(features[image].numpy(), flow[image].numpy(), window, sigma)
        assert np.abs(found[image].numpy() - wanted).max() < 1e-12
    assert gaussian_resample(features, flow * 1e18, window, sigma).isfinite().all()


def test_resampling_has_the_right_gradient():
    torch.manual_seed(1)
    features = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    flow = (4 * torch.randn(2, 2, 3, 4, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda f, w: gaussian_resample(f, w, 4, 1.5), (features, flow))


# Structure images ----------------------------------------------------------------------------------------------------


@pytest.fixture
def on_a_gpu(monkeypatch):
    """Use the solver of devices other than a CPU."""
    monkeypatch.setattr(structure, "_diffuse", lambda right, below, x: dissection.solve(right[:, 0], below[:, 0], x))


def test_all_solvers_give_the_same_structure(monkeypatch, request):
    images, masks = samples(2)
    images, masks = images[..., :40], masks[..., :40]
    banded = structure_images(images, masks)
    turned = structure_images(images.transpose(2, 3), masks.transpose(2, 3)).transpose(2, 3)
    assert torch.allclose(turned, banded, atol=1e-6)
    monkeypatch.setattr(structure, "BANDED_UP_TO", 0)
    assert torch.allclose(structure_images(images, masks), banded, atol=1e-6)
    request.getfixturevalue("on_a_gpu")
    assert torch.allclose(structure_images(images, masks), banded, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (2, 3), (5, 5), (13, 8), (33, 64), (61, 77)], ids=str)
@pytest.mark.parametrize("weights", ["smooth", "rough", "none", "holes"])
def test_dissection_solves_the_equations(size, weights):
    """Put back into the equations; weights differ by 1e6, more than those of structure images do."""
    torch.manual_seed(0)
    right, below = (10 ** (6 * torch.rand(2, *size, dtype=torch.double) - 2) for _ in range(2))
    if weights != "rough":
        right, below = (torch.full_like(x, 0.0 if weights == "none" else 7500.0) for x in (right, below))
    if weights == "holes":
        hole = torch.rand(2, *size) < 0.3
        right, below = right.masked_fill(hole, 0), below.masked_fill(hole, 0)
    right[..., -1], below[:, -1] = 0, 0
    wanted = torch.rand(2, 3, *size)
    found = dissection.solve(right, below, wanted)
    assert found.shape == wanted.shape and found.dtype == torch.double
    across, down = found.diff(dim=-1) * right[:, None, :, :-1], found.diff(dim=-2) * below[:, None, :-1]
    again = found.clone()
    again[..., :-1] -= across
    again[..., 1:] += across
    again[..., :-1, :] -= down
    again[..., 1:, :] += down
    assert (again - wanted).abs().max() < 1e-8
    if weights == "none":
        assert torch.allclose(found, wanted.double())
    assert torch.allclose(dissection.solve(right[1:], below[1:], wanted[1:])[0], found[1], atol=1e-12)


class WithoutWaiting(TorchDispatchMode):
    """Refuses operators that make a process wait for its GPU."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function.__name__.partition(".")[0] not in {"_local_scalar_dense", "nonzero", "is_nonzero", "equal"}
        return function(*args, **(kwargs or {}))


def test_structure_images_never_wait_for_the_gpu(on_a_gpu):
    images, masks = samples(2, 48)
    wanted = structure_images(images, masks)
    with WithoutWaiting():
        found = structure_images(images, masks)
    assert torch.equal(found, wanted)


def test_texture_goes_and_edges_stay():
    stripes = torch.arange(32) % 2 * 0.1
    step = 0.3 + 0.4 * (torch.arange(32) >= 16)
    image = (step[None] + stripes[:, None]).expand(1, 3, 32, 32)
    smoothed = structure_images(image)
    assert smoothed[..., 8:-8, 4].std() < 0.1 * image[..., 8:-8, 4].std()
    assert (smoothed[..., 18] - smoothed[..., 13]).mean() > 0.35
    assert torch.allclose(structure_images(torch.full((1, 3, 9, 7), 0.6)), torch.tensor(0.6), atol=1e-6)


def test_nothing_leaks_out_of_a_hole_unless_published():
    images, masks = samples(2)
    changed = images * (1 - masks) + (1 - images) * masks
    assert torch.equal(structure_images(images, masks), structure_images(changed, masks))
    leak = (structure_images(images) - structure_images(changed)).abs() * (1 - masks)
    assert leak.max() > 0.1
    honest, leaky = (StructureFlow(**TINY, structure=kind) for kind in ("masked", "complete"))
    assert torch.equal(honest.inpaint(images, masks), honest.inpaint(changed, masks))
    assert not torch.equal(leaky.inpaint(images, masks), leaky.inpaint(changed, masks))


# The method ----------------------------------------------------------------------------------------------------------


def test_spectral_norm_is_where_the_authors_have_it():
    network = StructureGenerator(4, 1)
    add_spectral_norm(network)
    add_spectral_norm(network)  # once and for all
    for _ in range(20):  # every training pass comes closer to the norm
        network.train()(torch.zeros(1, 7, 48, 48))
    plain = ("content_param", "image_net", "up_sample.0.0", "up_sample.1.0", "up_sample.2.0")
    for name, weight in plain_state(network).items():
        if name.endswith("weight") and not name.startswith(plain):
            assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05), name
    assert network.training


# The authors' files --------------------------------------------------------------------------------------------------


def test_the_method_loads_the_authors_files(tmp_path):
    paths, networks = [], (StructureGenerator(4, 1), FlowGenerator(4, 1, TINY["windows"]))
    for network in networks:
        paths.append(tmp_path / f"{len(paths)}.pth")
        torch.save({f"module.{k}": v for k, v in published_state(network, 5).items()}, paths[-1])
        load_authors_checkpoint(network, paths[-1])
    method = StructureFlow(**TINY, pretrained=dict(zip(("s_gen", "f_gen"), paths, strict=True)))
    method.optimizers()
    saved = method.weights_to_save()
    for prefix, network in zip(("s_gen", "f_gen"), networks, strict=True):
        for key, value in network.state_dict().items():
            assert torch.equal(saved[f"{prefix}.{key}"], value), "loaded weights must stay as they are"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: state.pop("image_net.conv.conv.bias"), "missing: image_net.conv.conv.bias"),
        (lambda state: state.pop("input_layer.conv.weight_u"), "missing: input_layer.conv.weight; left over: .*orig"),
        (lambda state: state.update(stranger=torch.zeros(1)), "left over: stranger"),
        (
            lambda state: state.update({"image_net.conv.conv.bias": torch.zeros(4)}),
            r"image_net.conv.conv.bias \(4,\), expected \(3,\)",
        ),
    ],
    ids=["missing", "no singular vector", "left over", "shape"],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, damage, message):
    network, path = StructureGenerator(4, 1), tmp_path / "latest_net_s_gen.pth"
    state = published_state(network, 5)
    damage(state)
    torch.save(state, path)
    with pytest.raises(InputError, match=message):
        load_authors_checkpoint(network, path)
