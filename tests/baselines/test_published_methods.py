"""Test what all published methods have in common."""

import copy

import pytest
import torch
from helpers.parity import image_batch, seeded
from helpers.published import METHODS, train

from baselines.method import Stages
from sair.commands.conformance import samples
from sair.common.errors import InputError
from sair.methods import checkpoint
from sair.weights.networks import Vgg16Features

SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def extractor():
    """Return VGG16 on random weights: the published ones are not needed to see a loss fall."""
    return seeded(Vgg16Features(), 1).requires_grad_(False)


@pytest.fixture
def features(monkeypatch, extractor):
    monkeypatch.setattr("sair.weights.networks.vgg16_features", lambda: copy.deepcopy(extractor))


def emptied(images, masks):
    return images * (1 - masks), masks


@pytest.mark.parametrize("size", [(61, 77), (16, 40), (5, 3), (1, 1)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", METHODS)
def test_predictions_have_the_size_of_the_images(name, size):
    torch.manual_seed(0)
    method = METHODS[name].make().train()
    images, masks = emptied(*image_batch(2, 2, *size))
    painted = method.inpaint(images, masks)
    assert painted.shape == images.shape and painted.dtype == torch.float32 and not painted.requires_grad
    assert painted.isfinite().all() and painted.min() >= 0 and painted.max() <= 1
    assert torch.allclose(painted[1:], method.inpaint(images[1:], masks[1:]), atol=1e-4), "an image saw its neighbour"
    assert all(module.training for module in method.modules() if module is not method), "the mode was not restored"


@pytest.mark.parametrize("name", [name for name in METHODS if name != "jpgnet"])  # its painter makes this check
def test_only_known_pixels_and_the_mask_reach_the_networks(name):
    torch.manual_seed(0)
    method = METHODS[name].make()
    for network in method.painting:
        seeded(getattr(method, network), 3)
    images, masks = image_batch(3, 2, 48, 48)
    painted = method.inpaint(images, masks)
    assert torch.equal(painted, method.inpaint(*emptied(images, masks)))
    assert not torch.allclose(painted, method.inpaint(images, 1 - masks), atol=1e-4)


@pytest.mark.parametrize("autocast", [False, pytest.param(True, marks=SLOW)], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("name", "changes", "progress", "moving", "terms"),
    [
        ("edgeconnect", {}, 0.1, {"edge_generator", "edge_discriminator"}, {"edge_adv", "*edge_fm", "edge_d"}),
        ("edgeconnect", {}, 0.5, {"inpaint_generator", "inpaint_discriminator"}, {"adv", "*l1", "d"}),
        (
            "edgeconnect",
            {},
            0.9,
            {"edge_generator", "edge_discriminator", "inpaint_generator", "inpaint_discriminator"},
            {"adv", "*l1", "d", "edge_adv", "edge_fm", "edge_d"},
        ),
        ("jpgnet", {}, 0.1, {"kpn1"}, {"*l1", "ssim"}),
        ("jpgnet", {}, 0.9, {"kpn2"}, {"*l1", "ssim"}),
        ("jpgnet", {"signed": True}, 0.9, {"kpn2"}, {"*l1", "ssim"}),
        ("lama", {}, 0.0, {"generator", "discriminator"}, {"*l1", "adv", "fm", "d", "r1"}),
        (
            "lama",
            {"perceptual": "vgg16"},
            0.0,
            {"generator", "discriminator"},
            {"*l1", "adv", "fm", "d", "r1", "perceptual"},
        ),
        ("misf", {}, 0.0, {"generator", "discriminator"}, {"*l1", "adv", "d"}),
        (
            "misf",
            {"content_weight": 0.1, "style_weight": 250},
            0.0,
            {"generator", "discriminator"},
            {"*l1", "adv", "d", "content", "style"},
        ),
        ("rfrnet", {}, 0.0, {"generator"}, {"valid", "*hole", "tv"}),
        ("rfrnet", {}, 0.8, {"generator"}, {"valid", "*hole", "tv"}),
        ("structureflow", {}, 0.0, {"s_gen", "s_dis"}, {"*l1", "adv", "d"}),
        pytest.param("structureflow", {}, 0.4, {"f_gen", "f_dis"}, {"*l1", "adv", "d", "correctness"}, marks=SLOW),
        pytest.param(
            "structureflow",
            {},
            0.9,
            {"f_gen", "f_dis"},
            {"*l1", "adv", "d", "correctness", "style", "content"},
            marks=SLOW,
        ),
    ],
)
def test_a_stage_trains_its_own_networks(name, changes, progress, moving, terms, autocast, features):
    torch.manual_seed(0)
    method = METHODS[name].make(lr=3e-3, **changes)
    method.optimizers()  # puts networks under spectral norm, which renames their weights
    names = set(method.state_dict())
    before = {key: parameter.detach().clone() for key, parameter in method.named_parameters()}
    logged, _ = train(method, *samples(2, 32), progress, 8, autocast)
    assert set(logged[0]) == {"loss"} | {term.strip("*") for term in terms}
    assert not any(value.requires_grad for value in logged[0].values())
    (falling,) = [term.strip("*") for term in terms if term.startswith("*")]
    assert logged[-1][falling] < logged[0][falling]
    moved = {key.split(".")[0] for key, value in method.named_parameters() if not torch.equal(value, before[key])}
    assert moved == moving
    assert set(method.state_dict()) == names, "the checkpoint contains a frozen network"
    painted_over = name == "jpgnet"  # the generator of JPGNet stays fixed
    assert all(p.requires_grad for key, p in method.named_parameters() if not (painted_over and "colour" in key))


@pytest.mark.parametrize("name", METHODS)
def test_saved_weights_restore_the_trained_method(name, features):
    torch.manual_seed(0)
    method, fresh = METHODS[name].make(), METHODS[name].make()
    images, masks = samples(2, 32)
    train(method, images, masks)
    saved = checkpoint.weights_of(method)
    assert saved.keys() == checkpoint.weights_of(fresh).keys()
    assert not any("dis" in key.split(".")[0] or "parametrizations" in key for key in saved)
    checkpoint.load_weights(fresh, saved, "a file")
    images, masks = emptied(images, masks)
    assert torch.allclose(method.inpaint(images, masks), fresh.inpaint(images, masks), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "changes", "rates", "betas"),
    [
        ("edgeconnect", {}, {"generators": 1e-4, "discriminators": 1e-5}, (0.0, 0.9)),
        ("edgeconnect", {"betas": (0.9, 0.999)}, {"generators": 1e-4, "discriminators": 1e-5}, (0.9, 0.999)),
        ("jpgnet", {}, {"kpn1": 2e-4, "kpn2": 2e-4}, (0.5, 0.999)),
        ("lama", {}, {"generator": 1e-3, "discriminator": 1e-4}, (0.9, 0.999)),
        ("misf", {}, {"generator": 1e-4, "discriminator": 1e-5}, (0.0, 0.9)),
        ("misf", {"discriminator_lr": 2e-4}, {"generator": 1e-4, "discriminator": 2e-4}, (0.0, 0.9)),
        ("rfrnet", {}, {"train": 2e-4, "finetune": 5e-5}, (0.9, 0.999)),
        ("structureflow", {}, dict.fromkeys(("s_gen", "s_dis", "f_gen", "f_dis"), 1e-4), (0.0, 0.999)),
        (
            "structureflow",
            {"betas": (0.9, 0.999)},
            dict.fromkeys(("s_gen", "s_dis", "f_gen", "f_dis"), 1e-4),
            (0.9, 0.999),
        ),
    ],
)
def test_optimizers_are_the_published_ones_unless_others_are_given(name, changes, rates, betas):
    optimizers = METHODS[name].make(**changes).optimizers()
    assert all(isinstance(optimizer, torch.optim.Adam) for optimizer in optimizers.values())
    assert {key: optimizer.defaults["lr"] for key, optimizer in optimizers.items()} == pytest.approx(rates)
    assert {optimizer.defaults["betas"] for optimizer in optimizers.values()} == {betas}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("edgeconnect", {"blocks": 0}),
        ("edgeconnect", {"known_edges": "none"}),
        ("edgeconnect", {"drawn_edges": "none"}),
        ("edgeconnect", {"stages": {"edge": 1}}),
        ("edgeconnect", {"stages": dict.fromkeys(("edge", "inpaint", "joint"), 0)}),
        ("edgeconnect", {"pretrained": {"edge": "EdgeModel_gen.pth"}}),
        ("jpgnet", {"downsamplings": 1}),
        ("jpgnet", {"stages": {"kpn1": 1}}),
        ("jpgnet", {"pretrained": {"kpn3": "x"}}),
        ("lama", {"perceptual": "vgg19"}),
        ("lama", {"blocks": 0}),
        ("lama", {"ratio": 1.0}),
        ("lama", {"channels": 1}),
        ("misf", {"blocks": 0}),
        ("misf", {"channels": 0}),
        ("misf", {"discriminator_downsamplings": 0}),
        ("rfrnet", {"perceptual": "vgg19"}),
        ("rfrnet", {"channels": 12}),
        ("rfrnet", {"kernel": 4}),
        ("rfrnet", {"recurrences": 0}),
        ("rfrnet", {"strides": (2, 3, 2)}),
        ("rfrnet", {"stages": {"train": -1, "finetune": 2}}),
        ("structureflow", {"structure": "true"}),
        ("structureflow", {"windows": ((3, 1.0),)}),
        ("structureflow", {"stages": {"structure": 1}}),
        ("structureflow", {"pretrained": ["a_net_s_gen.pth", "a_net_f_gen.pth"]}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_impossible_settings_are_refused(name, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        METHODS[name].make(**wrong)


def test_stages_follow_their_shares():
    default = {"first": 0.5, "second": 0.5}
    for shares, expected in (
        (None, ["first"] * 2 + ["second"] * 2),
        ({"second": 3, "first": 1}, ["first"] + ["second"] * 3),
        ({"first": 0, "second": 1}, ["second"] * 4),
        ({"first": 3, "second": 0}, ["first"] * 4),
    ):
        assert [Stages(shares, default).at(k / 4) for k in range(4)] == expected


# The authors' files ---------------------------------------------------------------------------------------------------


def write_files(name, folder, prefix="", damage=None):
    """Write an author's file for each network, on known weights.

    Returns:
        what the parameter ``pretrained`` takes, and the weights that were written, by the network's name.
    """
    method, paths, states = METHODS[name].make(), {}, {}
    for part, (network, nest) in METHODS[name].files.items():
        states[network] = seeded(getattr(method, network), 5).state_dict()
        paths[part] = folder / f"{network}.pth"
        content = {f"{prefix}{key}": value for key, value in states[network].items()}
        if damage is not None:
            damage(content, [key for key, value in content.items() if value.ndim > 1][-1])
        torch.save(nest(content), paths[part])
    return paths.get(None, paths), states


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("name", METHODS)
def test_the_authors_files_load(name, prefix, tmp_path):
    pretrained, states = write_files(name, tmp_path, prefix)
    method = METHODS[name].make(pretrained=pretrained)
    if name == "structureflow":
        method.optimizers()  # puts no spectral norm on loaded weights, which must stay as they are
    saved = method.weights_to_save()
    for network, state in states.items():
        assert all(torch.equal(saved[f"{network}.{key}"], value) for key, value in state.items())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state, last: state.pop(last), "missing: {last}"),
        (lambda state, last: state.update(stranger=torch.zeros(1)), "left over: stranger"),
        (lambda state, last: state.update({last: torch.zeros(1, 2)}), r"{last} \(1, 2\), expected \("),
        (lambda state, last: state[last].fill_(torch.nan), "{last} has values that are not finite"),
    ],
    ids=["missing", "left over", "shape", "nan"],
)
@pytest.mark.parametrize("name", METHODS)
def test_a_file_that_does_not_fit_is_refused(name, damage, message, tmp_path):
    changed = []

    def do(state, last):
        changed.append(last)
        damage(state, last)

    pretrained, _ = write_files(name, tmp_path, damage=do)
    with pytest.raises(InputError, match=message.format(last=changed[0])) as caught:
        METHODS[name].make(pretrained=pretrained)
    assert str(tmp_path) in str(caught.value) and "Nothing was loaded" in str(caught.value)
