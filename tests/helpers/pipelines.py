"""Build tiny inpainting pipelines of diffusers with random weights, offline, from configs only."""

import json
from pathlib import Path
from typing import Any

import torch


def _letters() -> list[str]:
    return [chr(code) for code in range(33, 127)]


def _clip_tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    words = ["<|startoftext|>", "<|endoftext|>", *_letters(), *(f"{letter}</w>" for letter in _letters())]
    return _of_files(CLIPTokenizer, folder, words, model_max_length=77)


def _qwen_tokenizer(folder: Path) -> Any:
    from transformers import Qwen2Tokenizer

    words = [*_letters(), "Ġ", "Ċ", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = _of_files(Qwen2Tokenizer, folder, words)
    tokenizer.chat_template = "{% for message in messages %}user: {{ message['content'] }}{% endfor %}"
    return tokenizer


def _of_files(kind: Any, folder: Path, words: list[str], **more: Any) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return kind.from_pretrained(folder, **more)


def _t5_tokenizer() -> Any:
    from transformers import T5TokenizerFast

    pieces = ["<pad>", "</s>", "<unk>", "▁", *_letters()]
    return T5TokenizerFast(vocab=[(piece, -float(number)) for number, piece in enumerate(pieces)], extra_ids=0)


def _clip_text(projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=200, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=77, projection_dim=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def _t5_text() -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(vocab_size=200, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0)
    )


def _vae(channels: int = 4, **more: Any) -> Any:
    from diffusers import AutoencoderKL

    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=4, latent_channels=channels, layers_per_block=1, **kinds, **more
    )


def _unet(**more: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, sample_size=16, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8, **more,
    )  # fmt: skip


def stable_diffusion(folder: Path) -> Any:
    from diffusers import DDIMScheduler, StableDiffusionInpaintPipeline

    return StableDiffusionInpaintPipeline(
        vae=_vae(), text_encoder=_clip_text(), tokenizer=_clip_tokenizer(folder), scheduler=DDIMScheduler(),
        unet=_unet(in_channels=9, cross_attention_dim=16), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def stable_diffusion_xl(folder: Path) -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLInpaintPipeline

    unet = _unet(
        in_channels=9, cross_attention_dim=32, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 16,
    )  # fmt: skip
    tokenizer = _clip_tokenizer(folder)
    return StableDiffusionXLInpaintPipeline(
        vae=_vae(), text_encoder=_clip_text(), text_encoder_2=_clip_text(projected=True), tokenizer=tokenizer,
        tokenizer_2=tokenizer, unet=unet, scheduler=EulerDiscreteScheduler(),
    )  # fmt: skip


def stable_diffusion_3(folder: Path) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3InpaintPipeline

    transformer = SD3Transformer2DModel(
        sample_size=32, patch_size=2, in_channels=16, num_layers=1, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=32, caption_projection_dim=16, pooled_projection_dim=32, out_channels=16,
    )  # fmt: skip
    tokenizer = _clip_tokenizer(folder)
    return StableDiffusion3InpaintPipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(16, shift_factor=0.0609, scaling_factor=1.5305, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=_clip_text(projected=True), tokenizer=tokenizer, text_encoder_2=_clip_text(projected=True),
        tokenizer_2=tokenizer, text_encoder_3=None, tokenizer_3=None,
    )  # fmt: skip


def _flux_parts(folder: Path, channels: int) -> dict[str, Any]:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=channels, out_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )  # fmt: skip
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(), "transformer": transformer,
        "vae": _vae(4, shift_factor=0.1159, scaling_factor=0.3611, use_quant_conv=False, use_post_quant_conv=False),
        "text_encoder": _clip_text(), "tokenizer": _clip_tokenizer(folder), "text_encoder_2": _t5_text(),
        "tokenizer_2": _t5_tokenizer(),
    }  # fmt: skip


def flux(folder: Path) -> Any:
    from diffusers import FluxInpaintPipeline

    return FluxInpaintPipeline(**_flux_parts(folder, 16))


def flux_fill(folder: Path) -> Any:
    from diffusers import FluxFillPipeline

    # Latents of 4 channels, packed by 2 x 2: the noise, the masked image, and the mask at each latent's 2 x 2 pixels.
    return FluxFillPipeline(**_flux_parts(folder, 16 + 16 + 2 * 2 * 4))


def z_image(folder: Path) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, ZImageInpaintPipeline, ZImageTransformer2DModel
    from transformers import Qwen3Config, Qwen3Model

    transformer = ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=16, dim=32, n_layers=1, n_refiner_layers=1, n_heads=2,
        n_kv_heads=2, cap_feat_dim=16, axes_dims=[4, 6, 6], axes_lens=[256, 64, 64],
    )  # fmt: skip
    text = Qwen3Model(
        Qwen3Config(
            vocab_size=200, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=2, head_dim=8, bos_token_id=0, eos_token_id=1,
        )
    )  # fmt: skip
    return ZImageInpaintPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), transformer=transformer, text_encoder=text,
        vae=_vae(16, shift_factor=0.1159, scaling_factor=0.3611, use_quant_conv=False, use_post_quant_conv=False),
        tokenizer=_qwen_tokenizer(folder),
    )  # fmt: skip


MAKERS = {
    maker.__name__: maker
    for maker in (stable_diffusion, stable_diffusion_xl, stable_diffusion_3, flux, flux_fill, z_image)
}


def save_pipeline(kind: str, folder: Path) -> Path:
    """Write a pipeline of a kind below a folder, and return its folder."""
    torch.manual_seed(0)
    MAKERS[kind](folder / "tokenizer").save_pretrained(folder / kind)
    return folder / kind
