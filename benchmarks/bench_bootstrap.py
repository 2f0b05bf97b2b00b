"""A thousand bootstrap replicates of masked mAP on the size of OpenMIC-2018's test part, beside scikit-learn in a loop.

``pytest benchmarks/bench_bootstrap.py`` prints both times and their ratio.
"""

import time
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from harness.analysis.resampling import resample
from harness.metrics import weighted

CLIPS, CLASSES, REPLICATES = 5085, 20, 1000
#: Replicates that scikit-learn scores; each takes the same time.
LOOPED = 40


@pytest.mark.parametrize("observed", [0.1, 1.0], ids=["two labels of a clip observed", "all observed"])
def test_replicates_of_masked_map(observed: float, benchmark: Callable, capsys: pytest.CaptureFixture) -> None:
    generator = np.random.default_rng(0)
    labels = generator.random((CLIPS, CLASSES)) < 0.4
    probabilities = np.clip(generator.random(labels.shape) * 0.8 + 0.2 * labels, 0, 1)
    mask = generator.random(labels.shape) < observed

    def ours() -> np.ndarray:
        def score(_: int, weights: np.ndarray) -> np.ndarray:
            averages, _ = weighted("multilabel", labels, probabilities, mask, weights, metrics=["map_masked"])
            return averages["map_masked"][:, None]

        return resample([np.arange(CLIPS)], score, replicates=REPLICATES, blocks=1).drawn[0, :, 0]

    weights = resample([np.arange(CLIPS)], lambda _, weights: weights, replicates=LOOPED, blocks=1).drawn[0]

    def theirs() -> np.ndarray:
        return np.array([
            np.mean([
                average_precision_score(labels[seen, c], probabilities[seen, c], sample_weight=counts[seen])
                for c, seen in enumerate(mask.T)
            ])
            for counts in weights
        ])  # fmt: skip

    theirs()
    start = time.process_time()
    reference = theirs()
    looped = (time.process_time() - start) * REPLICATES / LOOPED
    start = time.process_time()
    ours()
    once = time.process_time() - start
    values = benchmark.pedantic(ours, rounds=3, warmup_rounds=1)
    np.testing.assert_allclose(values[:LOOPED], reference, atol=1e-7)
    benchmark.extra_info.update(sklearn_cpu_seconds=looped, cpu_seconds=once, ratio=looped / once)
    with capsys.disabled():
        print(
            f"\n{REPLICATES:,} replicates of mAP, {CLIPS:,} clips x {CLASSES} classes, {mask.mean():.0%} observed: "
            f"{once:.2f} s of CPU time; scikit-learn in a loop {looped:.1f} s: {looped / once:.0f} times as long "
            f"(equal to {abs(values[:LOOPED] - reference).max():.0e})"
        )
