"""Test SAM's image encoder: facts of the published one, strict loading, and training on regions without names."""

import pytest
import torch
from safetensors.torch import save_file

from sair.common.errors import InputError
from sair.models.sam import SAM, DenseSAM, number_regions

SMALL = {
    "img_size": 32,
    "patch_size": 4,
    "embed_dim": 48,
    "depth": 2,
    "num_heads": 3,
    "window_size": 4,
    "global_attn_indexes": [1],
    "neck_chans": 24,
}


@pytest.mark.slow
@torch.no_grad()
def test_vit_b_at_full_size_loads_the_authors_names(tmp_path):
    """SAM's file has 177 entries under `image_encoder.` beside those of its prompt encoder and mask decoder."""
    torch.manual_seed(0)
    encoder = DenseSAM("samvit_base_patch16")
    own = encoder.visual.state_dict()
    assert len(own) == 177
    assert own["pos_embed"].shape == (1, 64, 64, 768)
    assert own["blocks.0.attn.rel_pos_h"].shape == (27, 64) and own["blocks.2.attn.rel_pos_h"].shape == (127, 64)
    assert own["neck.0.weight"].shape == (256, 768, 1, 1)
    authors = {f"image_encoder.{key.replace('mlp.fc', 'mlp.lin')}": value for key, value in own.items()}
    path = tmp_path / "sam_vit_b.pth"
    torch.save({**authors, "mask_decoder.iou_token.weight": torch.zeros(1, 256)}, path)
    loaded = SAM(architecture="samvit_base_patch16", pretrained=str(path))
    image = torch.rand(1, 3, 256, 256)
    found = loaded.dense.eval()(image)
    assert found.shape == (1, 256, 16, 16)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(1, 16, 16))
    torch.testing.assert_close(found, encoder.eval()(image))


def test_weights_that_do_not_fit_are_refused(tmp_path):
    state = DenseSAM(SMALL).visual.state_dict()
    state.pop("pos_embed")
    save_file(state, tmp_path / "sam.safetensors")
    with pytest.raises(InputError, match=r"(?s)cannot be loaded.*pos_embed"):
        SAM(architecture=SMALL, pretrained=str(tmp_path / "sam.safetensors"))
    with pytest.raises(InputError, match=r"nowhere\.pth cannot be loaded"):
        SAM(architecture=SMALL, pretrained="nowhere.pth")
    with pytest.raises(InputError, match="no architecture 'samvit_huge'"):
        DenseSAM("samvit_huge")


@torch.no_grad()
def test_any_size_and_holes_show_the_mean_colour():
    torch.manual_seed(0)
    encoder = DenseSAM(SMALL).eval()
    images, masks = torch.rand(1, 3, 45, 70), torch.zeros(1, 1, 45, 70)
    masks[..., 10:30, 10:60] = 1
    other = images * (1 - masks) + torch.rand_like(images) * masks
    assert encoder(images).shape == (1, 24, 12, 18)
    torch.testing.assert_close(encoder(images, masks), encoder(other, masks))


def test_equal_labels_that_do_not_touch_are_two_regions():
    labels = torch.tensor([[[0, 1, 0], [0, 1, 0], [1, 1, 1]]])
    regions = number_regions(labels)[0][0]
    assert regions.min() == 0 and len(set(regions.ravel().tolist())) == 3
    assert regions[0, 0] != regions[0, 2] and regions[0, 1] == regions[2, 0]


@pytest.mark.slow
def test_training_separates_regions_without_names():
    """The image has two patches of colour: after a few steps the region of a point is told from the other."""
    torch.manual_seed(0)
    model = SAM(architecture=SMALL, lr=2e-3)
    colours = torch.rand(8, 2, 3)

    def batch():
        edges = torch.randint(8, 24, (8,))
        labels = (torch.arange(32) >= edges[:, None]).long()[:, None].expand(8, 32, 32).contiguous()
        pixels = torch.stack([c[label] for c, label in zip(colours, labels, strict=True)])
        return {"images": pixels.movedim(-1, 1), "labels": labels}

    optimizer = model.optimizers()["sam"]

    def step(name, loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    losses = [float(model.training_step(batch(), step)["loss"].detach()) for _ in range(40)]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
