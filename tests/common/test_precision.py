"""Test that `precision: auto` depends on the device that computes, not on other devices of the machine."""

import pytest
import torch

from sair.common import runtime

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def flags(tmp_path, monkeypatch, text):
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(runtime, "CPUINFO", path)


@pytest.mark.parametrize(
    ("text", "fast"),
    [
        ("flags\t\t: fpu avx512f amx_bf16 amx_tile\n", True),
        ("flags\t\t: fpu avx512f avx512_bf16\nbugs\t\t: x\n", True),  # the last of its line
        ("flags\t\t: fpu avx512f avx512_vnni\n", False),
        ("flags\t\t: fpu not_avx512_bf16x\n", False),
        (None, False),  # not Linux
    ],
)
@pytest.mark.parametrize("gpu", [True, False])
def test_only_the_instructions_of_a_cpu_decide(tmp_path, monkeypatch, text, fast, gpu):
    flags(tmp_path, monkeypatch, text)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: not fast)
    assert runtime.fast_bfloat16(CPU) is fast
    with runtime.autocast("auto", CPU):
        assert torch.is_autocast_enabled("cpu") is fast


@pytest.mark.parametrize("supported", [True, False])
def test_emulation_on_a_gpu_does_not_count(tmp_path, monkeypatch, supported):
    flags(tmp_path, monkeypatch, "flags : avx512f" if supported else "flags : amx_bf16")
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or supported
    )
    assert runtime.fast_bfloat16(CUDA) is supported
