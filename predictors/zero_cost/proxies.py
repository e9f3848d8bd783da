"""The zero-cost proxies: what each is, where it comes from, what it costs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy.

    L is the cross-entropy of one batch at initialisation, theta the kernels of convolutions and
    matrix products, batch norm uses the batch's moments unless said otherwise.

    Attributes:
        formula: In words and symbols.
        source: Paper.
        cost: What it runs; a forward pass of a batch is 1, its way back 2.
        higher_is_better: By definition; whether it holds in a space must be measured.
    """

    formula: str
    source: str
    cost: str
    higher_is_better: bool = True


PROXIES: dict[str, Proxy] = {
    "params": Proxy("number of trainable parameters", "baseline", "0"),
    "flops": Proxy("multiply-accumulates for one image", "baseline", "0"),
    "plain": Proxy("sum theta * dL/dtheta", "Abdelfattah et al., ICLR 2021", "3"),
    "snip": Proxy("sum |theta * dL/dtheta|", "Lee et al., ICLR 2019", "3"),
    "grad_norm": Proxy("sum over layers of ||dL/dtheta||", "Abdelfattah et al., ICLR 2021", "3"),
    "l2_norm": Proxy("sum over layers of ||theta||", "Abdelfattah et al., ICLR 2021", "0"),
    "grasp": Proxy("-sum theta * (H dL/dtheta), H the Hessian of L", "Wang et al., ICLR 2020", "7"),
    "fisher": Proxy(
        "sum over weights of their channel's mean_n (sum_hw a * dL/da)^2 / 2, a a kernel's output",
        "Theis et al., 2018; Turner et al., ICLR 2020",
        "3",
    ),
    "synflow": Proxy(
        "log sum |theta * dR/dtheta|, R the summed logits of an image of ones under |theta|, no batch norm",
        "Tanaka et al., NeurIPS 2020",
        "3 / batch",
    ),
    "synflow_bn": Proxy("sum |theta * dR/dtheta|, R as for synflow but with batch norm", "NASLib", "3 / batch"),
    "jacov": Proxy(
        "-sum log(l + 1e-5) + 1 / (l + 1e-5), l the eigenvalues of the correlations of d(sum logits)/dimage",
        "Mellor et al., ICML 2021 (first version)",
        "2",
    ),
    "epe_nas": Proxy(
        "sum over classes of |sum log(|r| + 1e-5)|, r the correlations of jacov within the class",
        "Lopes et al., ICANN 2021",
        "2",
    ),
    "nwot": Proxy("log det of the number of ReLU inputs whose sign two images share", "Mellor et al., ICML 2021", "1"),
    "zen": Proxy(
        "log mean |f(x + 0.01 e) - f(x)| + sum log sigma of every batch norm, f the last map, "
        "x, e and theta unit normal",
        "Lin et al., ICCV 2021",
        "2",
    ),
    "zico": Proxy(
        "sum over layers of log sum E|dL/dtheta| / std(dL/dtheta), over 2 batches", "Li et al., ICLR 2023", "6"
    ),
    "vote": Proxy(
        "how many others a majority of synflow, jacov and snip ranks below", "Abdelfattah et al., ICLR 2021", "5"
    ),
}
VOTERS = ("synflow", "jacov", "snip")


def needed(names: tuple[str, ...]) -> set[str]:
    """The proxies that must be computed for these: a vote needs its voters."""
    return {*names} - {"vote"} | ({*VOTERS} if "vote" in names else set())
