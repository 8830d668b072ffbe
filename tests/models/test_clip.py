"""Test the dense read-out against a direct computation of CLIP's last block, and the small CLIP's training."""

import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from sair.common.errors import InputError
from sair.inference.segmentation import classify
from sair.methods.spec import load_spec
from sair.models.clip import CLIP, PLAIN_ATTENTION, PROMPTS, DenseCLIP, build_clip

SMALL = {
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 48, "layers": 3, "head_width": 16},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture
def clip():
    torch.manual_seed(0)
    return build_clip(SMALL).eval()


def read_directly(visual, images, residual, mlp):
    """Compute MaskCLIP's steps one by one on a square image of the tower's own size."""
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
    std = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)
    x = visual.conv1((images - mean) / std)
    batch, width = x.shape[:2]
    grid = x.shape[-2:]
    x = x.reshape(batch, width, -1).permute(0, 2, 1)
    x = torch.cat([visual.class_embedding.expand(batch, 1, width), x], 1) + visual.positional_embedding
    x = visual.ln_pre(x)
    for block in list(visual.transformer.resblocks)[:-1]:
        x = block(x)
    last = visual.transformer.resblocks[-1]
    # Attention that attends to nothing but the token itself: the identity matrix as attention weights.
    heads = last.attn.num_heads
    _, _, value = F.linear(last.ln_1(x), last.attn.in_proj_weight, last.attn.in_proj_bias).chunk(3, -1)
    value = value.unflatten(-1, (heads, -1)).transpose(1, 2)
    attended = torch.eye(x.shape[1]) @ value
    attended = last.attn.out_proj(attended.transpose(1, 2).flatten(2))
    x = x + attended if residual else attended
    if mlp:
        x = x + last.mlp(last.ln_2(x))
    x = visual.ln_post(x)[:, 1:] @ visual.proj
    return F.normalize(x, dim=-1).permute(0, 2, 1).reshape(batch, -1, *grid)


@pytest.mark.parametrize(("residual", "mlp"), [(True, True), (False, False), (True, False)])
@torch.no_grad()
def test_dense_map_equals_a_direct_reading(clip, residual, mlp):
    images = torch.rand(2, 3, 32, 32)
    found = DenseCLIP(clip.visual, residual, mlp)(images)
    assert found.shape == (2, 24, 4, 4)
    torch.testing.assert_close(found, read_directly(clip.visual, images, residual, mlp), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_whole_image_equals_open_clip(clip):
    images = torch.rand(2, 3, 32, 32)
    dense = DenseCLIP(clip.visual)
    expected = clip.encode_image(dense.normalise(images), normalize=True)
    torch.testing.assert_close(dense.read_whole(dense.trunk(images)[0]), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("side", [40, 264])  # attention by plain products, and by the fused kernel
@torch.no_grad()
def test_tokens_equal_those_of_the_blocks_themselves(clip, side):
    dense, images = DenseCLIP(clip.visual), torch.rand(1, 3, side, side)
    found, (height, width) = dense.trunk(images)
    assert (height * width + 1 > PLAIN_ATTENTION) == (side == 264)
    x = clip.visual.conv1(dense.normalise(images)).flatten(2).transpose(1, 2)
    x = torch.cat([clip.visual.class_embedding.expand(1, 1, -1), x], 1)
    x = clip.visual.ln_pre(x + dense._positions(height, width))
    for block in clip.visual.transformer.resblocks[:-1]:
        x = block(x)
    torch.testing.assert_close(found, x, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_any_size_and_holes_show_the_mean_colour(clip):
    dense = DenseCLIP(clip.visual)
    images = torch.rand(1, 3, 45, 70)
    assert dense(images).shape == (1, 24, 6, 9)
    masks = torch.zeros(1, 1, 45, 70)
    masks[..., 10:30, 10:60] = 1
    other = images * (1 - masks) + torch.rand_like(images) * masks
    torch.testing.assert_close(dense(images, masks), dense(other, masks))
    assert (dense(images) - dense(images, masks)).abs().max() > 1e-3


@pytest.mark.slow
@torch.no_grad()
def test_vit_b_16_at_full_size():
    model = build_clip("ViT-B-16-quickgelu")
    state = model.visual.state_dict()
    # Facts of OpenAI's ViT-B/16; a file with these keys loads strictly.
    assert state["conv1.weight"].shape == (768, 3, 16, 16)
    assert state["positional_embedding"].shape == (197, 768)
    assert state["transformer.resblocks.11.attn.in_proj_weight"].shape == (2304, 768)
    assert state["proj"].shape == (768, 512)
    assert sum(p.numel() for p in model.parameters()) == 149_620_737
    assert type(model.visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
    assert DenseCLIP(model.visual)(torch.rand(1, 3, 256, 256)).shape == (1, 512, 16, 16)


@torch.no_grad()
def test_a_weights_file_is_loaded_strictly(clip, tmp_path):
    path = str(tmp_path / "clip.safetensors")
    state = {key: value.contiguous() for key, value in clip.state_dict().items()}
    save_file(state, path)
    images = torch.rand(1, 3, 32, 32)
    loaded = CLIP(architecture=SMALL, pretrained=path)
    assert torch.equal(loaded.dense(images), DenseCLIP(clip.visual)(images))
    state.pop("visual.proj")
    save_file(state, path)
    with pytest.raises(InputError, match=r"(?s)cannot be loaded.*visual\.proj"):
        CLIP(architecture=SMALL, pretrained=path)
    with pytest.raises(InputError, match=r"nowhere\.pt.*cannot be loaded"):
        CLIP(architecture=SMALL, pretrained="nowhere.pt")


@pytest.mark.slow
def test_training_aligns_the_map_with_text():
    """Two-coloured images: after a few steps the names of the colours segment them."""
    torch.manual_seed(0)
    model = CLIP(architecture=SMALL, classes=["red", "blue"], lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    colours = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]])

    def batch():
        labels = torch.zeros(8, 32, 32, dtype=torch.long)
        for image in labels:
            edge = int(torch.randint(8, 24, (), generator=generator))
            image[:, edge:] = 1
        labels = torch.where(torch.rand(8, 1, 1, generator=generator) < 0.5, labels, 1 - labels)
        return {"images": colours[labels].movedim(-1, 1), "labels": labels, "captions": ["red", "blue"] * 4}

    optimizer = model.optimizers()["clip"]

    def step(name, loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def accuracy():
        data = batch()
        with torch.no_grad():
            found = classify(model.dense(data["images"]), model.class_embeddings(), (32, 32))
        return (found == data["labels"]).float().mean().item()

    for _ in range(25):
        model.training_step(batch(), step)
    assert accuracy() > 0.9


def test_the_paper_takes_maskclips_prompts_and_the_default_its_four(config):
    """MaskCLIP's list has 85 templates, each with the class once: CLIP's 80, then its own five."""
    found = {
        preset: load_spec("clip", "config/semantics", preset, config["training"])["parameters"].get("prompts", "small")
        for preset in ("mini", "paper")
    }
    assert found == {"mini": "small", "paper": "maskclip"}
    templates = PROMPTS["maskclip"]
    assert len(set(templates)) == 85 and all(template.count("{}") == 1 for template in templates)
    assert templates[0] == "a bad photo of a {}." and templates[79] == "a tattoo of the {}."
    assert templates[84] == "this is one {} in the scene."
    assert CLIP(architecture=SMALL).prompts == ("a photo of {}.", "{}.", "a photo of the {}.", "a close-up of the {}.")
    with pytest.raises(InputError, match="prompts 'many': expected one of small, maskclip"):
        CLIP(architecture=SMALL, prompts="many")


@pytest.mark.parametrize("prompts", PROMPTS)
@torch.no_grad()
def test_a_class_is_the_mean_over_its_prompts(prompts, monkeypatch):
    torch.manual_seed(0)
    classes = ["skin", "left {eye}", "hair"]  # a name is text, not a format
    model = CLIP(architecture=SMALL, classes=classes, prompts=prompts)
    found = model.class_embeddings()
    for name, embedding in zip(classes, found, strict=True):
        each = torch.cat([model.text([prompt.replace("{}", name)]) for prompt in PROMPTS[prompts]])
        torch.testing.assert_close(embedding, F.normalize(each.mean(0), dim=0), atol=1e-5, rtol=1e-5)
    monkeypatch.setattr("sair.models.clip.TEXTS", 7)
    torch.testing.assert_close(model.class_embeddings(), found, atol=1e-6, rtol=1e-5)
