"""Test EdgeConnect against recorded numbers of the authors' code, its reader, its edges and its stages."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.parity import assert_golden, uniform
from helpers.published import METHODS, train
from torch import nn

from baselines.checkpoints import load_authors_checkpoint as load
from baselines.edgeconnect import EdgeConnect, EdgeGenerator, InpaintGenerator
from baselines.edgeconnect.edges import canny_edges, grey
from baselines.networks import PatchDiscriminator, plain_state
from sair.common.errors import InputError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "edgeconnect.json").read_text())
NETWORKS = {"edge": EdgeGenerator, "inpaint": InpaintGenerator}
TINY = METHODS["edgeconnect"].tiny


def drawn_state(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    """Return weights in the order of the sorted names, so that activations keep their size."""
    stream, state = np.random.PCG64(seed), {}
    for name, shape in sorted(shapes.items()):
        u = uniform(stream, shape)
        filled = (2 * u - 1) * np.sqrt(3.0 / np.prod(shape[1:])) if len(shape) > 1 else 0.2 * u - 0.1
        state[name] = torch.tensor(filled, dtype=torch.float32)
    return state


def tiles(seed: int, batch: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return noisy tiles in 8-bit steps, for edges, and a mask of tiles."""
    stream, block = np.random.PCG64(seed), np.ones((side // 8,) * 2)
    tiles = np.kron(uniform(stream, (batch, 3, 8, 8)), block)
    images = torch.tensor(0.8 * tiles + 0.2 * uniform(stream, (batch, 3, side, side)), dtype=torch.float32)
    masks = torch.tensor(np.kron(uniform(stream, (batch, 1, 8, 8)) < 0.3, block), dtype=torch.float32)
    return (images * 255).round().byte().float() / 255, masks


def published_shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the authors' file: a kernel under spectral norm is a matrix and two vectors."""
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    normalised = network.spectrally_normalised() if isinstance(network, EdgeGenerator) else []
    for name, layer in network.named_modules():
        if any(layer is other for other in normalised):
            weight = shapes.pop(f"{name}.weight")
            rows = weight[isinstance(layer, nn.ConvTranspose2d)]
            shapes |= {
                f"{name}.weight_orig": weight,
                f"{name}.weight_u": (rows,),
                f"{name}.weight_v": (int(np.prod(weight)) // rows,),
            }
    return shapes


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write files like the authors', the second in the form that their training on several GPUs gives."""
    folder, paths = tmp_path_factory.mktemp("authors"), {}
    for name, network in NETWORKS.items():
        shapes = published_shapes(network())
        prefix = "module." if name == "inpaint" else ""
        state = {prefix + key: value for key, value in drawn_state(shapes, GOLDEN["seeds"][name]).items()}
        paths[name] = folder / f"{name}.pth"
        torch.save({"iteration": 7, "generator": state}, paths[name])
    return paths


@pytest.mark.parametrize("name", NETWORKS)
def test_names_and_shapes_are_the_published_ones(name):
    lines = [f"{key} {shape}" for key, shape in sorted(published_shapes(NETWORKS[name]()).items())]
    assert len(lines) == GOLDEN["keys"][name]["entries"]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == GOLDEN["keys"][name]["sha256"]


@pytest.mark.slow
def test_the_authors_weights_give_the_authors_images(files):
    method = EdgeConnect(pretrained=files)
    images, masks = tiles(GOLDEN["seeds"]["images"], 2, 64)
    edges = canny_edges(images, masks)
    assert edges.sum() == GOLDEN["canny"]["count"]
    with torch.no_grad():
        assert_golden(method.edge_generator(grey(images), edges, masks), GOLDEN["edge"])
    assert_golden(method.inpaint(images * (1 - masks), masks), GOLDEN["inpaint"])


def test_discriminator_equals_the_authors():
    network = PatchDiscriminator(3).train()
    published = {"original": "weight_orig", "u": "weight_u", "v": "weight_v"}
    names = {
        name: f"{name.split('.parametrizations')[0]}.{published[name.split('.')[-1]]}" for name in network.state_dict()
    }
    shapes = {names[name]: tuple(value.shape) for name, value in network.state_dict().items()}
    state = drawn_state(shapes, GOLDEN["discriminator"]["seed"])
    network.load_state_dict({name: state[other] for name, other in names.items()})
    with torch.no_grad():
        activations = network(tiles(GOLDEN["seeds"]["images"], 2, 64)[0])
    assert_golden(activations[-1], GOLDEN["discriminator"])
    assert [a.shape[1] for a in activations] == [64, 128, 256, 512, 1]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: state.pop("middle.0.conv_block.5.weight_u"), "missing: middle.0.conv_block.5.weight; left over"),
        (lambda state: state.update({"encoder.1.weight_v": torch.zeros(3)}), "missing: encoder.1.weight; left over"),
        (lambda state: state.pop("decoder.7.bias"), "missing: decoder.7.bias"),
        (lambda state: state.update(teacher=torch.zeros(1)), "left over: teacher"),
        (lambda state: state.update({"encoder.1.bias": torch.zeros(3)}), r"encoder.1.bias \(3,\), expected \(8,\)"),
    ],
    ids=["no vector", "wrong vector", "missing", "stranger", "shape"],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, damage, message):
    network, path = EdgeGenerator(8, 1), tmp_path / "EdgeModel_gen.pth"
    state = drawn_state(published_shapes(network), 1)
    damage(state)
    torch.save({"generator": state}, path)
    with pytest.raises(InputError, match=message):
        load(network, path)


def test_edges_do_not_depend_on_the_hole_and_are_zero_in_it():
    images, masks = tiles(4, 2, 64)
    edges = canny_edges(images, masks)
    assert torch.equal(edges, canny_edges(images * (1 - masks) + masks, masks))
    assert edges.sum() > 0 and (edges * masks).sum() == 0


def test_the_image_loss_trains_the_edge_generator_in_the_joint_stage():
    method = EdgeConnect(**TINY, edge_adversarial_weight=0, feature_matching_weight=0)
    before = method.edge_generator.encoder[1].weight.detach().clone()
    train(method, *tiles(6, 2, 32), 0.9)
    assert not torch.equal(method.edge_generator.encoder[1].parametrizations.weight.original, before)


@pytest.mark.parametrize("known_edges", ["complete", "masked"])
def test_known_edges_are_of_the_complete_or_the_masked_image(known_edges):
    method, seen = EdgeConnect(**TINY, known_edges=known_edges), []
    method.edge_generator.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    train(method, *tiles(6, 2, 32), 0.1)
    images, masks = tiles(6, 2, 32)
    method.inpaint(images, masks)
    trained, tested = seen
    assert torch.equal(trained, tested) == (known_edges == "masked")
    assert torch.equal(trained, canny_edges(images)) == (known_edges == "complete")


@pytest.mark.parametrize("drawn_edges", ["everywhere", "hole"])
def test_drawn_edges_are_used_everywhere_or_only_in_the_hole(drawn_edges):
    method, seen = EdgeConnect(**TINY, drawn_edges=drawn_edges), []
    method.edge_generator.register_forward_hook(lambda _, __, drawn: seen.append(drawn))
    method.inpaint_generator.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    images, masks = tiles(6, 2, 32)
    method.inpaint(images, masks)
    drawn, painted_along = seen
    assert torch.equal(painted_along * masks, drawn * masks)
    known = drawn if drawn_edges == "everywhere" else canny_edges(images, masks)
    assert torch.equal(painted_along * (1 - masks), known * (1 - masks))


def test_vgg_sees_images_that_are_not_normalised(monkeypatch):
    method, seen = EdgeConnect(**{**TINY, "content_weight": 0.1, "style_weight": 250}), []

    class Extractor(torch.nn.Module):  # normalises as VGG16's does
        def forward(self, images, maps):
            mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
            seen.append((images - mean) / std)
            return [seen[-1], seen[-1][..., ::2, ::2]]

    monkeypatch.setattr("sair.weights.networks.vgg16_features", Extractor)
    (logged,), _ = train(method, *tiles(6, 2, 32), 0.5)
    images, masks = tiles(6, 2, 32)
    assert torch.allclose(seen[1], images, atol=1e-6) and torch.allclose(seen[3], images * masks, atol=1e-6)
    assert {"content", "style"} <= logged.keys()


def test_spectral_norm_bounds_every_trained_kernel():
    torch.manual_seed(0)
    method = EdgeConnect(**TINY)
    method.optimizers()
    state = plain_state(method.edge_generator)
    for name in ("encoder.1", "decoder.0"):
        matrix = state[f"{name}.weight"].transpose(0, 1 if name == "decoder.0" else 0).flatten(1)
        # A few power iterations estimate the norm; without the division it would be 0.3 and 0.5.
        assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1, abs=0.15)
