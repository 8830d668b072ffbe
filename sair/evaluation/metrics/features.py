"""List the networks whose features FID, KID, CMMD, P-IDS and U-IDS compare, and these metrics of each."""

from __future__ import annotations

from typing import NamedTuple

from sair.evaluation.metrics.metric import Metric


class FeatureNetwork(NamedTuple):
    """A network that turns an image into a feature vector.

    Attributes:
        name: name in a config's ``distances``, and ending of the names of its metrics.
        label: printed name.
        entry: its pretrained file in ``sair weights``.
        convention: input and output in a few words.
    """

    name: str
    label: str
    entry: str
    convention: str


NETWORKS = {
    network.name: network
    for network in (
        FeatureNetwork(
            "inception",
            "Inception of pytorch-fid",
            "inception",
            "pytorch-fid,2015-12-05,pool3,bilinear-to-299",
        ),
        FeatureNetwork(
            "torchvision",
            "Inception of torchvision",
            "inception_torchvision",
            "torchvision,inception_v3-imagenet1k_v1,pool,bilinear-antialiased-to-342-then-centre-299",
        ),
        FeatureNetwork(
            "clip", "CLIP ViT-B/32", "clip_b32", "openai-vit-b-32,bicubic-antialiased-8bit-to-224,image-embedding"
        ),
        FeatureNetwork(
            "clip336",
            "CLIP ViT-L/14 at 336 pixels",
            "clip_l14_336",
            "openai-vit-l-14-336,bicubic,image-embedding",
        ),
        FeatureNetwork(
            "dinov2", "DINOv2 ViT-L/14", "dinov2_l14", "dinov2-vit-l-14,bicubic-antialiased-8bit-to-224,class-token"
        ),
    )
}

# Metrics of every network: name, label, decimals, unit, whether higher is better, definition.
_DISTANCES = (
    ("fid", "FID", 2, "", False, "squared-fréchet-distance"),
    ("kid", "KID", 5, "", False, "degree=3,gamma=1/d,coef0=1,all-images,pairs-excluded"),
    ("cmmd", "CMMD", 3, "", False, "unit-length,gaussian,sigma=10,times-1000,biased-as-published"),
    ("pids", "P-IDS as published", 1, "%", True, "linear-svc,c=1,fitted-and-read-on-the-same-images"),
    ("uids", "U-IDS as published", 1, "%", True, "linear-svc,c=1,fitted-and-read-on-the-same-images"),
    ("pidsheldout", "P-IDS held out", 1, "%", True, "linear-svc,c=1,five-folds-of-images,ties-half"),
    ("uidsheldout", "U-IDS held out", 1, "%", True, "linear-svc,c=1,five-folds-of-images"),
)
KINDS = [name for name, *_ in _DISTANCES]  # columns of distances.<network>.csv
FEATURE_METRICS = [
    Metric(
        name=f"{name}_{network.name}",
        label=label,
        decimals=decimals,
        unit=unit,
        higher_is_better=higher,
        convention=f"{network.convention},{definition}",
        kind="set",
    )
    for network in NETWORKS.values()
    for name, label, decimals, unit, higher, definition in _DISTANCES
]


def metrics_of(network: str) -> list[str]:
    """Return the names of a network's metrics, in the order in which they are printed."""
    return [f"{kind}_{network}" for kind in KINDS]
