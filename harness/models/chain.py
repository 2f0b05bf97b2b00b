"""A network as a chain of stages: which of them learn, and where the part that never learns ends."""

from collections.abc import Sequence

from torch import nn

from harness.errors import RepriseError


def chain(model: nn.Sequential) -> list[tuple[str, nn.Module]]:
    """Flatten nested Sequentials into one chain of named stages.

    Parameters
    ----------
    model
        A network whose nested containers are Sequentials.

    Returns
    -------
    list of (str, nn.Module)
        Dotted names (as in ``model.named_modules()``) and stages; applying the stages in order is ``model(x)``.

    Examples
    --------
    >>> from torch import nn
    >>> [name for name, _ in chain(nn.Sequential(nn.Sequential(nn.ReLU(), nn.ReLU()), nn.Flatten()))]
    ['0.0', '0.1', '1']
    """
    stages = []
    for name, child in model.named_children():
        if type(child) is nn.Sequential:
            stages += [(f"{name}.{inner}", stage) for inner, stage in chain(child)]
        else:
            stages.append((name, child))
    return stages


def _learns(name: str, trainable: Sequence[str]) -> bool:
    """Whether `name` is one of the `trainable` modules or lies within one."""
    return any(root in ("", name) or name.startswith(f"{root}.") for root in trainable)


def freeze(model: nn.Sequential, trainable: Sequence[str]) -> None:
    """Let only the named modules learn.

    Parameters
    ----------
    model
        Changed in place: ``requires_grad`` of every parameter is set.
    trainable
        Dotted names of the modules that learn, each with all it contains; ``""`` names the whole network.

    Raises
    ------
    RepriseError
        The network has no module of that name.
    """
    names = {name for name, _ in model.named_modules()}
    for root in trainable:
        if root not in names:
            raise RepriseError(
                f"the network has no module {root!r} to train; its stages are {', '.join(n for n, _ in chain(model))}"
            )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(_learns(name, trainable))


def split_frozen(model: nn.Sequential, trainable: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide the chain before its first stage that learns.

    Stages without parameters that directly precede the first learning one (a pooling, a flattening) belong to the
    frozen prefix too: what they put out is smaller than what they take in.

    Parameters
    ----------
    model
        A network; see `chain`.
    trainable
        Names of the modules that learn, as in `freeze`.

    Returns
    -------
    prefix : list of str
        Names of the leading stages that never learn; empty if the first parameters already do.
    rest : list of str
        Names of all later stages.
    """
    stages = chain(model)
    learning = [
        any(_learns(f"{name}.{inner}", trainable) for inner, _ in stage.named_parameters()) for name, stage in stages
    ]
    index = learning.index(True) if any(learning) else len(stages)
    names = [name for name, _ in stages]
    if not any(True for _, stage in stages[:index] for _ in stage.parameters()):
        index = 0
    return names[:index], names[index:]


def trainable_parameters(model: nn.Module) -> int:
    """Number of parameters that learn.

    Parameters
    ----------
    model
        Any network.

    Returns
    -------
    int
        How many scalars have ``requires_grad``.
    """
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def count_parameters(model: nn.Module) -> int:
    """Number of all parameters.

    Parameters
    ----------
    model
        Any network.

    Returns
    -------
    int
        How many scalars, learning or not; buffers are not counted.
    """
    return sum(p.numel() for p in model.parameters())
