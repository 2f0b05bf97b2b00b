"""Class activation maps of all twenty classes of one clip, beside the grad-cam package called label by label.

``pytest benchmarks/bench_cam.py`` prints both times and their ratio.
"""

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from harness.explain import gradcam, scale
from harness.models import resnet50, vggish

CLASSES = range(20)
NETWORKS = {
    "ResNet-50": (resnet50, (1, 1, 128, 431), "layer4.2", (128, 431), 1),
    "VGGish": (vggish, (1, 10, 96, 64), "features.14", (64, 960), 10),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_cams_of_a_clip(name: str, benchmark: Callable, capsys: pytest.CaptureFixture) -> None:
    build, shape, target, picture, windows = NETWORKS[name]
    torch.set_num_threads(1)  # as trials run
    torch.manual_seed(0)
    model, inputs = build(len(CLASSES)).eval(), torch.randn(shape)

    def ours() -> np.ndarray:
        return scale(gradcam(model, inputs, [CLASSES], target=target)[0], picture, windows=windows)

    with GradCAM(model, [dict(model.named_modules())[target]]) as cam:

        def theirs() -> np.ndarray:
            return np.stack([cam(inputs, [ClassifierOutputTarget(number)]) for number in CLASSES])

        theirs()
        start = time.perf_counter()
        reference = theirs()
        label_by_label = time.perf_counter() - start
    maps = benchmark.pedantic(ours, rounds=5, warmup_rounds=1)
    # (label, window, ...) as the package gives them; VGGish's windows are time x frequency, laid end to end.
    reference = reference[:, 0] if windows == 1 else reference.transpose(0, 3, 1, 2).reshape(-1, *picture)
    np.testing.assert_allclose(maps, reference, atol=1e-4)
    agreement = np.corrcoef(maps.ravel(), reference.ravel())[0, 1]
    assert agreement >= 0.999
    once = benchmark.stats.stats.median
    benchmark.extra_info.update(grad_cam_seconds=label_by_label, ratio=label_by_label / once)
    with capsys.disabled():
        print(
            f"\n{name}, {len(CLASSES)} classes of one 10-s clip: {once * 1e3:.0f} ms; grad-cam label by label "
            f"{label_by_label * 1e3:.0f} ms: {label_by_label / once:.1f} times as long "
            f"(correlation {agreement:.6f}, one thread)"
        )
