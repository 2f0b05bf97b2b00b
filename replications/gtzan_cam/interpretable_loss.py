"""The interpretable loss of Zhang, Wu and Zhu (CVPR 2018), which the authors of study 002 left out.

A filter's maps X and the templates T share information if each template picks out some maps, and each map knows its
template: the filter then answers to one thing, at one place at a time. The loss of a filter is minus that information,

    MI(X; T) = sum over T of p(T) * sum over x of p(x|T) log(p(x|T) / p(x)),
    p(x|T) = exp(<x, T>) / Z_T,   Z_T = sum over x of exp(<x, T>),   p(x) = sum over T of p(T) p(x|T),

where <x, T> is the sum of the products of all cells. There are as many positive templates as cells, and a negative one
for maps that should keep silent. The write-up names three things that it could not find explained (Challenges). Here
is how each is read:

- *When the "constants" are updated*: Z_T and p(x) are sums over the maps of the batch, computed anew in every step, as
  in Zhang's released code; nothing is carried over but the filters' categories.
- *What it costs*: with all templates, one product of matrices for the values <x, T>, forward only. The gradient is the
  paper's practical one, of a single template per map.
- *Which layers*: the top one; the paper adds one convolution and no loss to the layers below.

**The practical gradient beside the exact one.** With s = <x, T>, the exact gradient of -MI at a cell is

    - sum over T of p(T) T_cell p(x|T) * (log(p(x|T) / p(x)) - KL_T),   KL_T = sum over x of p(x|T) log(p(x|T) / p(x)).

The paper's holds Z_T constant, which loses KL_T, and keeps one template of the sum: for a map of the filter's own
category the one around its strongest cell, for all others the negative one. What that costs depends on how loud the
maps are. While they are as quiet as our networks', the information is small, KL_T is smaller still, and the sum loses
nothing; the single template then lies at a cosine of about 0.5 to the exact gradient on maps with a clear peak, of 0.1
on noise. On maps so loud that the information nears its bound it may point the other way.

Whatever the labels, a map that fits its template less than it fits templates on average is driven away from it: a
filter that is loud in a clip of another class is made louder. Zhang's released code does not do that: it leaves out
p(x), differentiates the logarithm, too, and has a filter's own category and all others weigh the same, so that nearly
every map is drawn to its template. What is trained with here is the paper's.
"""

import functools
import math

import torch
from torch import nn

from harness.errors import RepriseError
from harness.models.chain import chain
from harness.models.masking import STEEPNESS, Mask, peaks, templates
from harness.training.losses import cross_entropy

#: Height of a template is this over the number of cells, so that <x, T> is about half a map's mean. Our reading of the
#: paper's tau.
TAU = 0.5
#: Share of what is known already in the mean activations that decide on a filter's category (Zhang's released code).
MOMENTUM = 0.9
#: Length of the gradient that the loss adds, per map and clip. It was set on another corpus, 770 single notes of seven
#: instruments at half the bands and frames, where over ten epochs it adds from an eighth to a quarter of the length of
#: the cross-entropy's gradient at the maps; eight times as much blew the maps up a hundredfold, for shared information
#: has no other bound than log(n), and louder maps share more. It was not set anew for genres: on the rendered ones a
#: trained net's share is 3 to 5 %.
WEIGHT = 2e-3


@functools.lru_cache(maxsize=8)
def template_bank(height: int, width: int, steepness: float = STEEPNESS) -> torch.Tensor:
    """All templates of a map: those around each cell, row by row, and then the negative one, -1 everywhere.

    Float64, in units of tau. Their prior p(T), (1 - alpha) for the negative one and alpha / n for each of the n
    positive ones, is uniform under the paper's alpha = n / (1 + n).
    """
    cells = height * width
    single = torch.eye(cells, dtype=torch.float64).reshape(1, cells, height, width)
    return torch.cat([templates(single, steepness)[0], -torch.ones(1, height, width, dtype=torch.float64)])


def likelihoods(maps: torch.Tensor, bank: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How probable each map, (n, filters, h, w), is under each template of a bank, and altogether.

    Gives log p(x|T), (n, templates, filters), and log p(x), (n, filters).
    """
    cells = bank[0].numel()
    # Channels innermost, as the network keeps them: the product then needs no copy of the maps.
    scores = (TAU / cells) * bank.flatten(1) @ maps.permute(0, 2, 3, 1).flatten(1, 2)
    given = scores.log_softmax(dim=0)
    return given, given.logsumexp(dim=1) - math.log(len(bank))


def mutual_information(maps: torch.Tensor, steepness: float = STEEPNESS) -> torch.Tensor:
    """Information that the maps of each filter share with the templates: the negative of the paper's loss.

    Parameters
    ----------
    maps : Tensor (n, filters, h, w)
        Of a batch. In float64, and for small maps, this is the oracle of all else here.
    steepness
        See `harness.models.masking.templates`.

    Returns
    -------
    Tensor (filters,)
        In nats, from 0 to log(n); differentiable. It grows with the maps' loudness, for quiet ones with its square:
        networks are compared by `relative_information`.
    """
    given, evidence = likelihoods(maps, template_bank(*maps.shape[2:], steepness).to(maps))
    return (given.exp() * (given - evidence[:, None])).sum(dim=0).mean(dim=0)


def relative_information(maps: torch.Tensor, steepness: float = STEEPNESS, filters: int = 32) -> torch.Tensor:
    """Information that each filter's maps share with the templates once they are divided by their mean.

    Parameters
    ----------
    maps, steepness
        As in `mutual_information`.
    filters
        How many are reckoned at once, for the sake of memory.

    Returns
    -------
    Tensor (filters,), float64
        In nats. It does not change with the loudness of a filter's maps, so that networks may be compared; 0 of a
        filter that is silent.
    """
    found = []
    for some in maps.split(filters, dim=1):
        some = some.double()
        mean = some.mean(dim=(0, 2, 3), keepdim=True)
        found.append(mutual_information(some / torch.where(mean > 0, mean, 1), steepness))
    return torch.cat(found)


def strengths(maps: torch.Tensor, positive: torch.Tensor, steepness: float = STEEPNESS) -> torch.Tensor:
    """How hard each map is drawn to the one template that is kept for it: p(x|T) log(p(x|T) / p(x)), (n, filters).

    Negative where the map is driven away. Whether the clip is of the filter's category, ``positive`` (n, filters),
    chooses the template and nothing else.
    """
    bank = template_bank(*maps.shape[2:], steepness).to(maps)
    given, evidence = likelihoods(maps, bank)
    rows, columns = peaks(maps)
    chosen = torch.where(positive, rows * maps.shape[3] + columns, len(bank) - 1)
    log_p = given.gather(1, chosen[:, None]).squeeze(1)
    return log_p.exp() * (log_p - evidence)


def chosen_templates(maps: torch.Tensor, positive: torch.Tensor, steepness: float = STEEPNESS) -> torch.Tensor:
    """Draw the one template that is kept for each map, in units of tau: around the strongest position, or -1."""
    return templates(maps, steepness).masked_fill_(~positive[:, :, None, None], -1)


class InterpretableLoss:
    """Cross-entropy, and in training the practical gradient at the maps that enter a mask layer.

    Only the gradient is added: the value stays the cross-entropy, to be compared with the other arms'. As it stands the
    practical gradient shrinks with the square of the number of cells and with the batch, and would need another weight
    for every network; as in Zhang's released code, each filter's strengths are divided by their mean size over the
    batch. The mean activations that decide on the filters' categories are a buffer of the mask layer, so that they are
    saved with the weights, and a run that was interrupted ends as one that was not.

    Parameters
    ----------
    network
        A chain with the mask layer; its category buffer is added, and its maps are read in every step of training.
    stage
        Name of the mask layer.
    weight
        Mean length of the added gradient per map, if its template were 1 or -1 in every cell; beside the gradient of
        the clip's own cross-entropy.

    Raises
    ------
    RepriseError
        The network has no such mask layer.
    """

    def __init__(self, network: nn.Sequential, stage: str = "mask3", weight: float = WEIGHT) -> None:
        stages = chain(network)
        names = [name for name, _ in stages]
        if stage not in names or not isinstance(mask := dict(stages)[stage], Mask):
            raise RepriseError(f"the network has no mask layer {stage!r}; its stages are {', '.join(names)}")
        below = [module for _, module in stages[: names.index(stage)] if isinstance(module, nn.Conv2d)]
        above = [module for _, module in stages if isinstance(module, nn.Linear)]
        self.network, self.mask, self.weight = network, mask, weight
        self._maps: torch.Tensor | None = None
        mask.register_buffer("activity", torch.full((above[-1].out_features, below[-1].out_channels), -1.0))
        mask.register_forward_pre_hook(self._keep)

    def _keep(self, mask: Mask, inputs: tuple[torch.Tensor]) -> None:
        if mask.training:
            self._maps = inputs[0]

    def __call__(
        self, logits: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum of the losses of a batch.

        Parameters
        ----------
        logits : Tensor (n, classes)
            Of the network's last forward pass.
        labels : Tensor (n, classes)
            1 for the clip's class, else 0; known of all clips.
        mask : Tensor (n, classes)
            1 where a label was observed.

        Returns
        -------
        total, count : Tensor ()
            As of `harness.training.losses.cross_entropy`.
        """
        total, count = cross_entropy(logits, labels, mask)
        if self.network.training and self._maps is not None:
            maps, self._maps = self._maps, None  # or the batch's graph would live until the next one's
            total = total + self._gradient_only(maps, labels)
        return total, count

    def _gradient_only(self, maps: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """A zero whose gradient at the maps is the practical one, in the chosen size."""
        still = maps.detach().float()
        self._observe(still, labels)
        positive = labels[:, categories(self.mask)] > 0
        pull = strengths(still, positive, self.mask.steepness)
        pull = pull / pull.abs().mean(dim=0).clamp_min(torch.finfo(pull.dtype).tiny)
        pull = pull * self.weight / math.sqrt(still[0, 0].numel())
        direction = chosen_templates(still, positive, self.mask.steepness)
        term = (maps * direction.mul_(-pull[:, :, None, None])).sum()
        return term - term.detach()

    def _observe(self, maps: torch.Tensor, labels: torch.Tensor) -> None:
        """Take a batch into the mean activations of filters by class; a class that is not in it keeps its own."""
        means = labels.T @ maps.mean(dim=(2, 3)) / labels.sum(dim=0).clamp_min(1)[:, None]
        old = self.mask.activity
        new = torch.where(old < 0, means, MOMENTUM * old + (1 - MOMENTUM) * means)
        old.copy_(torch.where(labels.sum(dim=0)[:, None] > 0, new, old))


def categories(mask: Mask) -> torch.Tensor:
    """Number of the class to which each filter answers most strongly, as far as training has seen."""
    return mask.activity.argmax(dim=0)
