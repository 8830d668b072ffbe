"""Invent results folders of several training budgets, whose scores follow a known law."""

import math

import torch

from helpers.measured import scores
from sair.methods.checkpoint import save

# By method: operations of a step, and the dB by which it is ahead of others after as many operations.
LAW = {"sair": (1.5, -0.3), "liif": (1.0, 0.0)}


def gain(method, operations):
    """Return what the law adds to the PSNR: one dB per doubling of the operations."""
    return math.log2(operations / 1000) + LAW[method][1]


def two_measures(method, operations):
    """Return what the law adds to the PSNR and to L1, which is lower where the PSNR is higher."""
    return gain(method, operations), -gain(method, operations) / 500


def salt(method):
    """Return a number that gives each method noise on single images that others do not have."""
    return 10 * list(LAW).index(method)


def trained(folder, method, steps, seed=0, images=40, **facts):
    """Write the scores and the checkpoint of one training to a results folder; return the path of the scores."""
    per_step, _ = LAW[method]
    home = folder / "faces" / method / f"seed{seed}"
    path = scores(home / "scores.csv", *two_measures(method, per_step * steps), images=images, seed=salt(method) + seed)
    size = {"parameters": 9, "operations": per_step, "steps": steps}
    save(home / "checkpoint.safetensors", {"w": torch.zeros(1)}, size | facts)
    (folder / "faces/manifest.csv").write_text("the same images and masks\n")
    return path


def budgets(home, methods=("sair", "liif"), factors=(0.5, 1, 2, 4), seeds=(0, 1, 2), images=40):
    """Write a results folder per factor on 1,000 steps; return the folders."""
    folders = [home / f"{factor:g}" for factor in factors]
    for folder, factor in zip(folders, factors, strict=True):
        for method in methods:
            for seed in seeds:
                trained(folder, method, round(1000 * factor), seed, images)
    return list(map(str, folders))
