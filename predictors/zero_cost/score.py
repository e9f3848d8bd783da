"""`ZeroCost`: scores architectures by their networks at initialisation."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from predictors.zero_cost import measures
from predictors.zero_cost.alone import Alone
from predictors.zero_cost.levels import groups, lower
from predictors.zero_cost.planes import planes_for
from predictors.zero_cost.population import Population
from predictors.zero_cost.proxies import PROXIES, VOTERS, needed
from predictors.zero_cost.scaled import NOTHING
from predictors.zero_cost.weights import Initial
from search_spaces import Conv, Linear, Network, Space, covering


@dataclass(frozen=True)
class Scores:
    """Scores of a population.

    Attributes:
        values: By proxy, float64 `[n]`, finite: what could not be computed has the worst score found.
        failures: By proxy, how many could not be computed (nan or infinite).
    """

    values: dict[str, np.ndarray]
    failures: dict[str, int]


class ZeroCost:
    """Zero-cost proxies of any networks, through programs compiled once an operator.

    Args:
        proxies: Names out of `PROXIES`.
        images: Normalised images `[2 * batch, h, w, c]` float32; the second half serves zico only and
            may be missing without it.
        labels: Their classes `[2 * batch]`.
        batch: Images in a batch; 64 as published.
        seed: Of the weights and of zen's noise.
        together: Networks that run in lockstep; by default 1 on a CPU, and on a GPU what its memory holds.

    Example:
        >>> from search_spaces import get_space
        >>> space = get_space("nasbench201", image_size=8)
        >>> images = np.random.default_rng(0).standard_normal((8, 8, 8, 3), dtype=np.float32)
        >>> judge = ZeroCost(("nwot",), images, np.arange(8), batch=8)
        >>> judge.score([space.network([3, 3, 3, 3, 3, 3])]).failures
        {'nwot': 0}
    """

    def __init__(
        self,
        proxies: Sequence[str],
        images: np.ndarray,
        labels: np.ndarray,
        *,
        batch: int = 64,
        seed: int = 0,
        together: int | None = None,
    ) -> None:
        if unknown := [name for name in proxies if name not in PROXIES]:
            raise ValueError(f"Proxy {unknown[0]!r} is unknown; choose out of: {', '.join(PROXIES)}.")
        self.proxies = tuple(proxies)
        self._needed = needed(self.proxies)
        streams = 2 if "zico" in self._needed else 1
        if batch < 2:
            raise ValueError(f"batch (={batch}) must be at least 2: batch norm and correlations need several images.")
        if len(images) < batch * streams or len(labels) != len(images):
            raise ValueError(
                f"images (n={len(images)}) and labels (n={len(labels)}) must be at least "
                f"batch * {streams} (={batch * streams}), as many of each."
            )
        self._labels = np.asarray(labels[:batch])
        self._initial = Initial(seed)
        batches = tuple(jnp.asarray(part) for part in np.split(images[: batch * streams], streams))
        self._shape = batches[0].shape[1:]
        classes = jnp.asarray(labels[: batch * streams].reshape(streams, -1))
        planes = planes_for(self._needed, batches, classes, self._initial, seed)
        threads = os.cpu_count() or 1
        on_cpu = jax.default_backend() == "cpu"
        self._runner: Alone | Population
        if together == 1 or (together is None and on_cpu):
            self._runner = Alone(planes, threads=threads)
        else:
            self._runner = Population(planes, threads=threads, together=together)
        # numbers out of arrays take a few milliseconds a network: beside the accelerator's work, not after it
        self._readers = ThreadPoolExecutor(1 if on_cpu else min(8, threads))

    def score(
        self, networks: Sequence[Network], report: Callable[[int, int], None] = lambda done, total: None
    ) -> Scores:
        """Scores networks; all must take images of the size given.

        Args:
            networks: The networks.
            report: Called with the number of networks done and all.
        """
        rows: list[Future[dict[str, float]]] = []
        for entries in self._run(networks):
            some = networks[len(rows) : len(rows) + len(entries)]
            rows += [self._readers.submit(self._row, n, e) for n, e in zip(some, entries, strict=True)]
            report(len(rows), len(networks))
        return self._scores([row.result() for row in rows])

    def nodes(
        self,
        networks: Sequence[Network],
        names: Sequence[str],
        report: Callable[[int, int], None] = lambda done, total: None,
    ) -> np.ndarray:
        """Statistics of single operators, what ParZC learns from.

        Args:
            networks: The networks.
            names: Operators, see `node_names`.
            report: Called with the number of networks done and all.

        Returns:
            `[n, names, 3]`: snip, norm of the gradient, logarithm of the synaptic flow; nan where a network lacks
            the operator or nothing reaches it. The judge must have been made for snip and synflow.
        """
        if missing := {"snip", "synflow"} - self._needed:
            raise ValueError(f"proxies (={self.proxies}) must include {sorted(missing)} for node statistics.")
        found = np.full((len(networks), len(names), 3), np.nan)
        place = {name: i for i, name in enumerate(names)}
        done = 0
        for entries in self._run(networks):
            for row, entry in zip(found[done:], entries, strict=False):
                for name, sums in entry["data"]["sums"].items():
                    row[place[name], :2] = float(sums.snip), float(np.sqrt(sums.square))
                for name, flow in entry["flow"]["flows"].items():
                    row[place[name], 2] = float(flow) if flow > NOTHING / 2 else np.nan
            done += len(entries)
            report(done, len(networks))
        return found

    def _run(self, networks: Sequence[Network]) -> Iterator[list[dict[str, Any]]]:
        """What the passes leave behind of every network, some networks at a time."""
        if wrong := [n for n in networks if (n.size, n.size, n.in_channels) != self._shape]:
            raise ValueError(f"Network {wrong[0].name!r} takes {wrong[0].size} px, the images are {self._shape}.")
        return self._runner.run(networks)

    def _scores(self, rows: list[dict[str, float]]) -> Scores:
        raw = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in sorted(self._needed)}
        failures = {name: int((~np.isfinite(values)).sum()) for name, values in raw.items()}
        finite = {name: _worst_where_not_finite(name, values) for name, values in raw.items()}
        if "vote" in self.proxies:
            finite["vote"], failures["vote"] = measures.vote([finite[name] for name in VOTERS]), 0
        return Scores({p: finite[p] for p in self.proxies}, {p: failures[p] for p in self.proxies})

    def _row(self, network: Network, entry: dict[str, Any]) -> dict[str, float]:
        """All scores of one network, nan or infinite where they cannot be computed."""
        kernels = [op for op in network if isinstance(op, Conv | Linear)]
        row = {"params": float(network.params), "flops": float(network.macs)}
        row["l2_norm"] = float(sum(self._initial.norm(op) for op in kernels))
        data = entry.get("data", {})
        if sums := list(data.get("sums", {}).values()):
            row |= {
                "plain": float(sum(float(s.plain) for s in sums)),
                "snip": float(sum(float(s.snip) for s in sums)),
                "grad_norm": float(sum(np.sqrt(float(s.square)) for s in sums)),
                "grasp": float(sum(float(s.grasp) for s in sums)),
                "fisher": float(sum(float(s.fisher) for s in sums)),
                "zico": measures.zico([float(s.zico) for s in sums]),
            }
        if (jacobian := data.get("image")) is not None:
            flat = np.asarray(jacobian, dtype=np.float64).reshape(len(jacobian), -1)
            row["jacov"] = measures.jacov(flat)
            row["epe_nas"] = measures.epe_nas(flat, self._labels, network.num_classes)
        if data.get("code") is not None:
            row["nwot"] = measures.nwot(data["code"])
        if "flow" in entry:
            row["synflow"] = measures.log_sum([float(f) for f in entry["flow"]["flows"].values()], NOTHING)
        if "flow_bn" in entry:
            row["synflow_bn"] = float(sum(float(s.snip) for s in entry["flow_bn"]["sums"].values()))
        if "zen" in entry:
            row["zen"] = measures.zen(float(entry["zen"]["last"]), [float(v) for v in entry["zen"]["variances"]])
        return {name: row.get(name, float("nan")) for name in self._needed}


def node_names(space: Space) -> list[str]:
    """Names of all operators with weights that networks of a space can have, in order of execution."""
    networks = lower(space.network(arch) for arch in covering(space))
    steps = (networks[n][i] for group in groups(networks) for n, i in group[:1])
    return list(dict.fromkeys(step.named.name for step in steps if isinstance(step.op, Conv | Linear)))


def _worst_where_not_finite(name: str, values: np.ndarray) -> np.ndarray:
    good = np.isfinite(values)
    if good.all():
        return values
    ends = values[good] if good.any() else np.zeros(1)
    worst = np.nextafter(ends.min(), -np.inf) if PROXIES[name].higher_is_better else np.nextafter(ends.max(), np.inf)
    return np.where(good, values, worst)
