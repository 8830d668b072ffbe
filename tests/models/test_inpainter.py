"""Test the parts of the inpainter against independent implementations."""

import pytest
import torch

from sair.commands.conformance import samples
from sair.common.errors import InputError
from sair.methods.build import build
from sair.methods.spec import load_spec
from sair.models.encoders import AppEncoder, AtrousEncoder
from sair.models.implicit import interpolate, neighbours, pixel_centres, rows_around
from sair.models.inpainter import SemanticImplicitRepresentation

CLIP = {"name": "clip", "architecture": {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}}  # fmt: skip


def method_of(name, **parameters):
    torch.manual_seed(0)
    spec = load_spec(name, "config/methods", "mini", {})
    return build({**spec, "parameters": {**spec["parameters"], "semantic": CLIP, **parameters}})


@torch.no_grad()
def test_sir_at_a_patch_centre_is_its_own_patch():
    """At a patch centre one neighbour has all the weight: the embedding plus its MLP with offset zero."""
    torch.manual_seed(0)
    sir = SemanticImplicitRepresentation(8, hidden=[16], zero_start=False)
    embeddings = torch.randn(1, 8, 4, 5)
    found = sir(embeddings, pixel_centres(4, 5)[None])[0]
    for cell in range(20):
        own = embeddings[0].flatten(1)[:, cell]
        expected = own + sir.function.imnet.layers(torch.cat([own, torch.zeros(2)]))
        torch.testing.assert_close(found[cell], expected)


@torch.no_grad()
def test_sir_starts_as_interpolation():
    sir = SemanticImplicitRepresentation(8, hidden=[16])
    embeddings, coords = torch.randn(1, 8, 4, 5), pixel_centres(13, 11)[None]
    expected = torch.nn.functional.interpolate(embeddings, (13, 11), mode="bilinear", align_corners=False)
    torch.testing.assert_close(sir(embeddings, coords), expected.flatten(2).transpose(1, 2))


@torch.no_grad()
@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_a_pooled_sir_has_means_of_embeddings_as_its_cells(size):
    torch.manual_seed(0)
    sir = SemanticImplicitRepresentation(8, residual=False, hidden=[16], zero_start=False, pool=2)
    embeddings, coarse = torch.randn(1, 8, *size), [-(-side // 2) for side in size]
    cells = torch.nn.functional.adaptive_avg_pool2d(embeddings, coarse)[0].flatten(1)
    expected = sir.function.imnet.layers(torch.cat([cells, torch.zeros(2, cells.shape[1])]).T)
    torch.testing.assert_close(sir(embeddings, pixel_centres(*coarse)[None])[0], expected)
    coords = pixel_centres(29, 23)[None]
    whole = sir(embeddings, coords).unflatten(1, (29, 23))
    for first in range(0, 29, 7):  # an image's rows, some at a time
        last = min(first + 6, 28)
        rows = rows_around(first, last, 29, size[0])
        some = sir(embeddings, coords.unflatten(1, (29, 23))[:, first : last + 1].flatten(1, 2), rows)
        torch.testing.assert_close(some.unflatten(1, (-1, 23)), whole[:, first : last + 1])


def test_a_pool_of_nothing_is_refused():
    with pytest.raises(InputError, match="`pool` is 1 or more"):
        method_of("sair", sir={"pool": 0})


@pytest.mark.parametrize("trained", [False, True])
def test_the_semantic_encoder_learns_only_if_it_is_trained(trained):
    images, masks = samples(2)
    method = method_of("sair", train_semantic=trained, queries=64)
    with torch.no_grad():  # at the start SIR adds nothing, and its function has no gradient
        method.sir.function.imnet.layers[-1].weight.normal_(0, 0.1)
    method.training_step({"images": images, "masks": masks}, lambda name, loss: loss.backward())
    gradient = method.semantic.visual.conv1.weight.grad
    assert (gradient is not None and gradient.abs().max() > 0) if trained else gradient is None
    weights = {id(p) for group in method.optimizers()["sair"].param_groups for p in group["params"]}
    assert (id(method.semantic.visual.conv1.weight) in weights) == trained


def test_interpolation_has_the_gradient_of_torchs():
    """Without a gradient it takes another path; both give the same values."""
    features = torch.randn(2, 3, 4, 5, requires_grad=True)
    members = neighbours(pixel_centres(9, 7)[None].expand(2, -1, -1), 4, 5)
    ours = interpolate(features, members)
    theirs = torch.nn.functional.interpolate(features, (9, 7), mode="bilinear").flatten(2).transpose(1, 2)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(interpolate(features.detach(), members), theirs)
    factor = torch.randn_like(theirs)
    gradients = (torch.autograd.grad((values * factor).sum(), features)[0] for values in (ours, theirs))
    torch.testing.assert_close(*gradients)


@torch.no_grad()
def test_nfs_gets_interpolated_and_ous_only_semantic_features():
    images, masks = samples(1)
    nfs, ous = method_of("sair_nfs"), method_of("sair_ous")
    assert nfs.sir is None and ous.encoder is None
    embeddings = nfs.encode(images, masks).embeddings
    coords = pixel_centres(64, 64)[None]
    expected = torch.nn.functional.interpolate(embeddings, (64, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(nfs.semantics_at(embeddings, coords), expected.flatten(2).transpose(1, 2))
    # OUS gives two images with equal CLIP embeddings the same result, whatever their pixels.
    other = 1 - images
    assert (ous.inpaint(images, masks) - ous.inpaint(other, masks)).abs().max() > 0
    ous.semantic.forward = lambda image, mask: embeddings
    assert torch.equal(ous.inpaint(images, masks), ous.inpaint(other, masks))


@pytest.mark.slow
def test_the_alignment_term_pulls_sir_towards_the_complete_image():
    images, masks = samples(2)
    method = method_of("sair_aligned", queries=64)
    optimizer = method.optimizers()["sair"]

    def step(name, loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    found = [method.training_step({"images": images, "masks": masks}, step) for _ in range(40)]
    misalignment = [float(scalars["misalignment"].detach()) for scalars in found]
    assert sum(misalignment[-5:]) < 0.8 * sum(misalignment[:5])
    plain = method_of("sair").training_step({"images": images, "masks": masks}, lambda name, loss: None)
    assert set(plain) == {"loss"}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"encoder": None, "semantic": None}, "the network has no input"),
        ({"sir": None, "align": 1.0}, "requires `sir`"),
        ({"encoder": {"name": "edsir"}}, r"unknown part 'edsir'\. Did you mean edsr"),
        ({"encoder": {"name": "edsr", "width": 3}}, "part 'edsr': .*width"),
        ({"encoder": {"name": "edsr", "dilations": 3}}, "part 'edsr', dilations: 3; expected a list"),
        ({"sir": {"pol": 2}}, r"method sair: `sir`: .* has no parameter 'pol'\. Did you mean pool"),
        ({"sir": {"pool": "2"}}, "`sir`, pool: '2'; expected a whole number. Write numbers without quotes"),
        ({"sir": {"residual": "no"}}, "`sir`, residual: 'no'; expected true or false"),
        ({"sir": {"unfold": 3}}, "`sir`, unfold: 3; expected true or false or a list, each item a whole number"),
        ({"sir": {"unfold": [-1]}}, r"`unfold`: \[-1\]; expected one dilation or more"),
        ({"sir": {"unfold": []}}, "`unfold`: .*; expected one dilation or more"),
        ({"sir": {"hidden": []}}, "`hidden`: .*; expected the width of at least one layer"),
        ({"sir": True}, "method sair, sir: True; expected keys and values or null"),
        ({"train_semantic": "yes"}, "method sair, train_semantic: 'yes'; expected true or false"),
        ({"train_semantic": True, "semantic": None}, "requires `semantics`"),
        ({"queries": 0}, "`queries` 0"),
        ({"hole_share": 1.5}, "`hole_share` 1.5; expected .* a share from 0 to 1"),
    ],
)
def test_parts_that_cannot_be_put_together_are_refused(parameters, message):
    with pytest.raises(InputError, match=message):
        method_of("sair", **parameters)


@pytest.mark.parametrize(("encoder", "reach"), [(AtrousEncoder(8), 41), (AppEncoder(4, 8), 164)])
def test_the_receptive_field_of_a_feature(encoder, reach):
    """The mini encoder's features see the same share of 64 pixels as AppEncoder's of 256 (docs/mini-preset.md)."""
    for parameter in encoder.parameters():
        torch.nn.init.constant_(parameter, 0.01)
    side = 256
    images = torch.rand(1, 3, side, side).requires_grad_()
    features = encoder(images, torch.zeros(1, 1, side, side))
    (seen,) = torch.autograd.grad(features[..., 128, 128].sum(), images)
    rows = seen[0].abs().sum((0, 2)).nonzero()[:, 0]
    assert int(rows[-1] - rows[0]) + 1 == reach


@torch.no_grad()
def test_a_strip_is_as_good_as_the_whole_grid():
    """For every function, rows computed one by one with their surroundings equal all rows computed at once."""
    for name in ("liif", "lte"):
        method = method_of(name, semantic=None).eval()
        features = torch.randn(1, method.encoder.channels, 12, 10)
        coords, cell = pixel_centres(29, 23)[None], torch.tensor([2 / 29, 2 / 23])
        whole = method.air(features, neighbours(coords, 12, 10), cell)
        rows = [method.air(features, neighbours(part, 12, 10), cell) for part in coords.split(23, dim=1)]
        torch.testing.assert_close(torch.cat(rows, 1), whole, atol=2e-6, rtol=1e-5)


def holes(*shares):
    """Return one mask per share, with that share of its rows as hole."""
    masks = torch.zeros(len(shares), 1, 24, 20)
    for mask, share in zip(masks, shares, strict=True):
        mask[:, 3 : 3 + round(20 * share), 4:-1] = 1
    return masks


@torch.no_grad()
@pytest.mark.parametrize("upstream", [False, True])
@pytest.mark.parametrize("request_", [{"known": True}, {"known": False}, {"size": (50, 31)}], ids=str)
@pytest.mark.parametrize("name", ["sair", "sair_lte"])
def test_a_batch_is_rendered_as_its_images_are(name, request_, upstream):
    """The holes have different sizes, one image has none, and chunks end in the middle of a row."""
    method = method_of(name).eval()
    method.air.upstream = upstream
    images, masks = torch.rand(4, 3, 24, 20), holes(0.2, 1, 0, 0.6)
    images *= 1 - masks
    size, known = request_.get("size"), request_.get("known", True)
    alone = method.inpaint(images, masks, size, known=known)
    together = method._render(images, masks, size, known, chunk=300)
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    if not known:
        assert torch.equal(together * (1 - masks), images)
        assert (together * masks).flatten(1).amax(1).gt(0).tolist() == [True, True, False, True]


@torch.no_grad()
def test_a_gpu_gets_groups_of_images_and_a_cpu_single_ones(monkeypatch):
    method, sizes = method_of("liif", semantic=None), []
    render = method._render
    monkeypatch.setattr(
        method, "_render", lambda images, *further: sizes.append(len(images)) or render(images, *further)
    )
    images, masks = torch.rand(5, 3, 24, 20), holes(0.1, 0.2, 0.3, 0.4, 0.5)
    method.inpaint(images, masks)
    assert sizes == [1] * 5
    monkeypatch.setattr("sair.models.rendering.ENCODED", 2 * 24 * 20)
    sizes.clear()
    method.to("meta").inpaint(images.to("meta"), masks.to("meta"))
    assert sizes == [2, 2, 1]
