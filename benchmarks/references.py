"""Compute the measures of image pairs, and the distances of features, by the code of the libraries that define them.

Nothing here is this project's code except what finds and reads weights. Each library is imported by the function that
needs it, and all but those that this project depends on may be missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sair.weights import networks
from sair.weights.fetch import file

SIDE = 5  # pixels of the border that the window of SSIM leaves out


class Pair(NamedTuple):
    """The files of an image pair, read by Pillow: ground truth, prediction, and mask where there is one."""

    truth_file: Path
    prediction_file: Path
    mask_file: Path | None = None
    hole_is_white: bool = True

    @property
    def truth(self) -> np.ndarray:
        """The ground truth, uint8 RGB (H, W, 3)."""
        return _rgb(self.truth_file)

    @property
    def prediction(self) -> np.ndarray:
        """The prediction, uint8 RGB (H, W, 3)."""
        return _rgb(self.prediction_file)

    @property
    def hole(self) -> np.ndarray:
        """The hole, bool (H, W)."""
        assert self.mask_file is not None
        return (np.array(Image.open(self.mask_file).convert("L")) > 0) == self.hole_is_white

    @property
    def composited(self) -> np.ndarray:
        """The prediction in the hole, the ground truth elsewhere."""
        return np.where(self.hole[..., None], self.prediction, self.truth)


class Reference(NamedTuple):
    """The code of a library for one measure.

    library: name of its package on PyPI.
    module: what is imported.
    compute: the function, from what is compared to numbers.
    """

    library: str
    module: str
    compute: Callable[..., Any]


def _rgb(path: Path) -> np.ndarray:
    return np.array(Image.open(path).convert("RGB"))


def _tensor(image: np.ndarray) -> Tensor:
    """Return an image as float32 (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


# --------------------------------------------------------------------------------------------------------------------
# Measures of image pairs: pairs -> one number per pair


def _psnr(pairs: Sequence[Pair], part: str = "all") -> list[float]:
    from skimage.metrics import peak_signal_noise_ratio

    with np.errstate(divide="ignore"):  # equal images
        return [float(peak_signal_noise_ratio(*_parts(pair, part), data_range=255)) for pair in pairs]


def _parts(pair: Pair, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels of both images: all (H, W, 3), or those of the hole or outside it (pixels, 3)."""
    if part == "all":
        return pair.truth, pair.prediction
    region = pair.hole if part == "hole" else ~pair.hole
    return pair.truth[region], pair.prediction[region]


def _ssim(pairs: Sequence[Pair], part: str = "all") -> list[float]:
    from skimage.metrics import structural_similarity

    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    found = []
    for pair in pairs:
        mean, map_ = structural_similarity(pair.truth, pair.prediction, channel_axis=2, full=True, **options)
        valid = slice(SIDE, -SIDE), slice(SIDE, -SIDE)
        found.append(float(mean) if part == "all" else float(map_[valid][pair.hole[valid]].mean()))
    return found


def _l1(pairs: Sequence[Pair], part: str = "all") -> list[float]:
    return [float(np.abs(np.subtract(*(p / 255 for p in _parts(pair, part)))).mean()) for pair in pairs]


def _changed(pairs: Sequence[Pair]) -> list[float]:
    different = (np.subtract(*(p.astype(int) for p in _parts(pair, "outside"))) != 0 for pair in pairs)
    return [100 * float(pixels.any(-1).mean()) for pixels in different]


@torch.no_grad()
def _lpips(pairs: Sequence[Pair], backbone: str = "alex", outside: bool = False) -> list[float]:
    import lpips

    network = lpips.LPIPS(pretrained=True, net=backbone, pnet_rand=True, verbose=False)
    state = {"alex": networks.alexnet_state, "vgg": networks.vgg16_state, "squeeze": networks.squeezenet_state}
    weights = state[backbone]()
    # The library numbers torchvision's layers as torchvision does, within its own slices.
    network.net.load_state_dict({k: weights[f"features.{k.partition('.')[2]}"] for k in network.net.state_dict()})
    found = []
    for pair in pairs:
        keep = ~pair.hole[..., None] if outside else np.True_
        images = (np.where(keep, image, np.uint8(0)) for image in (pair.truth, pair.prediction))
        found.append(float(network(*(2 * _tensor(image) - 1 for image in images))))
    return found


def _vgg16(**_: Any) -> Any:
    """Return the convolutions of torchvision's VGG16 with the weights that this project finds, as its ``features``."""
    from torchvision.models.vgg import VGG, cfgs, make_layers

    network = VGG(make_layers(cfgs["D"]), init_weights=False)
    network.load_state_dict(networks.vgg16_state(), strict=False)
    return network.eval()


@torch.no_grad()
def _dists(pairs: Sequence[Pair]) -> list[float]:
    from DISTS_pytorch import DISTS
    from torchvision import models

    with mock.patch.object(models, "vgg16", _vgg16):
        metric = DISTS(load_weights=False)
    for name, value in torch.load(file("dists"), weights_only=True).items():
        getattr(metric, name).data = value.detach()
    return [float(metric(_tensor(pair.truth), _tensor(pair.prediction))) for pair in pairs]


@torch.no_grad()
def _dists_of_piq(pairs: Sequence[Pair]) -> list[float]:
    from piq import DISTS, perceptual

    weights = torch.load(file("dists"), weights_only=True)
    with (
        mock.patch.object(perceptual, "vgg16", _vgg16),
        mock.patch.object(torch.hub, "load_state_dict_from_url", lambda *_, **__: weights),
    ):
        metric = DISTS()
    return [float(metric(_tensor(pair.truth), _tensor(pair.prediction))) for pair in pairs]


def _seam(pairs: Sequence[Pair], inside: bool) -> list[float]:
    import cv2

    cross, found = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), []
    for pair in pairs:
        hole = pair.hole.astype(np.uint8)
        edge = hole - cv2.erode(hole, cross) if inside else cv2.dilate(hole, cross) - hole
        images = [image.astype(np.float64) for image in (pair.composited, pair.truth)]
        dx, dy = (
            np.subtract(*(cv2.Sobel(image, cv2.CV_64F, *axis, ksize=3) for image in images))
            for axis in ((1, 0), (0, 1))
        )
        found.append(float(np.sqrt(dx**2 + dy**2)[edge > 0].mean()))
    return found


@torch.no_grad()
def _clip_score(pairs: Sequence[Pair], caption: str, region: bool) -> list[float]:
    import clip

    network, prepare = clip.load(str(file("clip_l14")), device="cpu")
    text = network.encode_text(clip.tokenize([caption]))
    found = []
    for pair in pairs:
        image = Image.fromarray(pair.composited)
        if region:
            image = image.crop(Image.fromarray(pair.hole).getbbox())
        embedded = network.encode_image(prepare(image)[None])
        unit = (part / part.norm(p=2, dim=-1, keepdim=True) for part in (embedded, text))
        found.append(max(0.0, 100 * float(torch.mul(*unit).sum())))
    return found


def of_pairs(caption: str) -> dict[str, list[Reference]]:
    """Return the references of measures of image pairs, by measure; ``compute`` maps pairs to a number for each.

    Args:
        caption: what all images show, for CLIP scores.
    """
    skimage, numpy_ = partial(Reference, "scikit-image", "skimage.metrics"), partial(Reference, "numpy", "numpy")
    lpips, opencv = partial(Reference, "lpips", "lpips"), partial(Reference, "opencv-python-headless", "cv2")
    clip = partial(Reference, "clip-anytorch", "clip")
    return {
        "psnr": [skimage(_psnr)],
        "psnr_hole": [skimage(partial(_psnr, part="hole"))],
        "ssim": [skimage(_ssim)],
        "ssim_hole": [skimage(partial(_ssim, part="hole"))],
        "l1": [numpy_(_l1)],
        "l1_hole": [numpy_(partial(_l1, part="hole"))],
        "lpips": [lpips(_lpips)],
        "lpipsvgg": [lpips(partial(_lpips, backbone="vgg"))],
        "lpipssqueeze": [lpips(partial(_lpips, backbone="squeeze"))],
        "dists": [Reference("DISTS-pytorch", "DISTS_pytorch", _dists), Reference("piq", "piq", _dists_of_piq)],
        "psnroutside": [skimage(partial(_psnr, part="outside"))],
        "changed": [numpy_(_changed)],
        "lpipsoutside": [lpips(partial(_lpips, outside=True))],
        "seaminside": [opencv(partial(_seam, inside=True))],
        "seamoutside": [opencv(partial(_seam, inside=False))],
        "clipscore": [clip(partial(_clip_score, caption=caption, region=False))],
        "clipscoreregion": [clip(partial(_clip_score, caption=caption, region=True))],
    }


# --------------------------------------------------------------------------------------------------------------------
# Features of images: files -> float32 (N, d)


def _of_pytorch_fid(files: Sequence[Path]) -> np.ndarray:
    from pytorch_fid import fid_score, inception

    state = torch.load(file("inception"), weights_only=True)
    with mock.patch.object(inception, "load_state_dict_from_url", lambda *_, **__: state):
        network = inception.InceptionV3()
    return fid_score.get_activations(list(files), network, batch_size=1, num_workers=0)


@torch.no_grad()
def _of_torchvision(files: Sequence[Path]) -> np.ndarray:
    from torchvision.models import Inception_V3_Weights, inception_v3

    network = inception_v3(weights=None, transform_input=True, init_weights=False).eval()
    network.load_state_dict(torch.load(file("inception_torchvision"), weights_only=True))
    network.fc = torch.nn.Identity()
    prepare = Inception_V3_Weights.IMAGENET1K_V1.transforms()
    return torch.cat([network(prepare(Image.open(path).convert("RGB"))[None]) for path in files]).numpy()


@torch.no_grad()
def _of_clip(files: Sequence[Path], entry: str, side: int = 0) -> np.ndarray:
    """Return CLIP's image embeddings, of images prepared by its own code, or resized to a side as CMMD's code does."""
    import clip

    network, prepare = clip.load(str(file(entry)), device="cpu")
    images = [Image.open(path).convert("RGB") for path in files]
    if not side:
        return torch.cat([network.encode_image(prepare(image)[None]) for image in images]).numpy()
    normalise = prepare.transforms[-1]
    resized = (
        torch.nn.functional.interpolate(_tensor(np.array(image)), (side, side), mode="bicubic") for image in images
    )
    return torch.cat([network.encode_image(normalise(image)) for image in resized]).numpy()


@torch.no_grad()
def _of_dinov2(files: Sequence[Path]) -> np.ndarray:
    from dinov2.models.vision_transformer import vit_large
    from torchvision.transforms import functional

    network = vit_large(patch_size=14, img_size=518, init_values=1.0, block_chunks=0).eval()
    network.load_state_dict(torch.load(file("dinov2_l14"), weights_only=True))
    found = []
    for path in files:
        image = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
        unit = functional.normalize(functional.to_tensor(image), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        found.append(network(unit[None]))
    return torch.cat(found).numpy()


FEATURES = {
    "inception": Reference("pytorch-fid", "pytorch_fid.inception", _of_pytorch_fid),
    "torchvision": Reference("torchvision", "torchvision.models", _of_torchvision),
    "clip": Reference("clip-anytorch", "clip", partial(_of_clip, entry="clip_b32")),
    "clip336": Reference("clip-anytorch", "clip", partial(_of_clip, entry="clip_l14_336", side=336)),
    "dinov2": Reference("dinov2", "dinov2.models.vision_transformer", _of_dinov2),
}


# --------------------------------------------------------------------------------------------------------------------
# Distances: features of ground truths and predictions, float64 (N, d) each -> a number


def _fid(real: np.ndarray, fake: np.ndarray) -> float:
    from pytorch_fid.fid_score import calculate_frechet_distance

    statistics = [part for features in (real, fake) for part in (features.mean(0), np.cov(features, rowvar=False))]
    return float(calculate_frechet_distance(*statistics))


def _kid(real: np.ndarray, fake: np.ndarray, estimate: str) -> float:
    from torch_fidelity import metric_kid

    options = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}
    kernels = (metric_kid.kernel_poly(a, b, **options) for a, b in ((real, real), (real, fake), (fake, fake)))
    return float(metric_kid.mmd2(*kernels, mmd_est=estimate))


def _cmmd(real: np.ndarray, fake: np.ndarray) -> float:
    from clip_mmd.calculation import mmd

    return float(mmd(*(features / np.linalg.norm(features, axis=1, keepdims=True) for features in (real, fake))))


def _decisions(real: np.ndarray, fake: np.ndarray, held_out: bool) -> list[np.ndarray]:
    """Return what scikit-learn's SVM decides of ground truths and predictions, above 0 for real."""
    from sklearn.model_selection import PredefinedSplit, cross_val_predict
    from sklearn.svm import LinearSVC

    svm = LinearSVC(dual=False, tol=1e-12, max_iter=100_000)
    both, labels = np.vstack([real, fake]), np.repeat([1, 0], len(real))
    if not held_out:
        return np.split(svm.fit(both, labels).decision_function(both), 2)
    folds = np.empty(len(real), int)  # as docs/fid.md defines them: fifths of the images in a fixed random order
    folds[np.random.Generator(np.random.PCG64(0)).permutation(len(real))] = np.arange(len(real)) % min(5, len(real))
    split = PredefinedSplit(np.tile(folds, 2))
    return np.split(cross_val_predict(svm, both, labels, cv=split, method="decision_function"), 2)


def _pids(real: np.ndarray, fake: np.ndarray, held_out: bool = False) -> float:
    of_real, of_fake = _decisions(real, fake, held_out)
    ties = (of_fake == of_real).mean() / 2 if held_out else 0
    return 100 * float((of_fake > of_real).mean() + ties)


def _uids(real: np.ndarray, fake: np.ndarray, held_out: bool = False) -> float:
    of_real, of_fake = _decisions(real, fake, held_out)
    return 100 * float(((of_real <= 0).mean() + (of_fake > 0).mean()) / 2)


_sklearn = partial(Reference, "scikit-learn", "sklearn.svm")
_torch_fidelity = partial(Reference, "torch-fidelity", "torch_fidelity.metric_kid")
DISTANCES = {
    "fid": Reference("pytorch-fid", "pytorch_fid.fid_score", _fid),
    "kid": _torch_fidelity(partial(_kid, estimate="u-statistic")),
    "kid_unpaired": _torch_fidelity(partial(_kid, estimate="unbiased")),
    "cmmd": Reference("clip-mmd", "clip_mmd.calculation", _cmmd),
    "pids": _sklearn(_pids),
    "uids": _sklearn(_uids),
    "pidsheldout": _sklearn(partial(_pids, held_out=True)),
    "uidsheldout": _sklearn(partial(_uids, held_out=True)),
}


# --------------------------------------------------------------------------------------------------------------------
# Installing

UNDECLARED = {"clip-mmd": "transformers", "clip-anytorch": "'setuptools<81'"}  # what they import and do not require
OLD = ("dinov2",)  # requires old versions of libraries that this project needs


def to_install(libraries: Sequence[str]) -> str:
    """Return the shell command that installs libraries, with what they lack."""
    usual = [f"{name} {UNDECLARED.get(name, '')}".strip() for name in libraries if name not in OLD]
    alone = [name for name in libraries if name in OLD]
    commands = [f"pip install {' '.join(usual)}"] * bool(usual) + [f"pip install --no-deps {' '.join(alone)}"] * bool(
        alone
    )
    return " && ".join(commands)
