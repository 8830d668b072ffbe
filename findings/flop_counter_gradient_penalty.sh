#!/usr/bin/env bash
# torch's FlopCounterMode and a loss that contains a gradient. LaMa's discriminator, like many, is trained with a penalty
# on its gradient with respect to the images: `autograd.grad(..., create_graph=True)`, then `backward`. Such a step runs
# without the counter. Seen with torch 2.13.0 on the CPU: inside FlopCounterMode the call of autograd.grad raises
# "A leaf node was passed to _will_engine_execute_node", from the hooks with which the counter follows modules. A
# TorchDispatchMode that only adds up `flop_registry` has no such hooks and counts the step.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 torch==2.13.0
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def step():
    network = nn.Sequential(nn.Linear(3, 4), nn.Softplus(), nn.Linear(4, 1))
    images = torch.ones(2, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(images).sum(), images, create_graph=True)
    gradient.square().mean().backward()


step()
print("without the counter: the step runs")
try:
    with FlopCounterMode(display=False):
        step()
except RuntimeError as error:
    message = str(error)
print("with the counter:", message)
assert "_will_engine_execute_node" in message
print("as seen before")
PYTHON
