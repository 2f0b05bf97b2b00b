"""Networks that more than one study uses, their weights, and what a frozen part is worth.

Every network is an ``nn.Sequential`` whose nested Sequentials flatten to one chain of stages (`chain`), so that any
prefix can be run once and kept, and any stage's output can be explained without hooks.
"""

from harness.models.chain import chain, count_parameters, freeze, split_frozen, trainable_parameters
from harness.models.inception_resnet import inception_resnet_v2
from harness.models.resnet import resnet50
from harness.models.vggish import vggish

__all__ = [
    "chain",
    "count_parameters",
    "freeze",
    "inception_resnet_v2",
    "resnet50",
    "split_frozen",
    "trainable_parameters",
    "vggish",
]
