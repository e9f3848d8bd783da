"""`ZeroCost`: scores architectures by their networks at initialisation."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from predictors.zero_cost import measures
from predictors.zero_cost.machine import Machine
from predictors.zero_cost.programs import Pass
from predictors.zero_cost.proxies import PROXIES, VOTERS, needed
from predictors.zero_cost.scaled import NOTHING
from predictors.zero_cost.schedule import Lane, schedule, unfused
from predictors.zero_cost.walk import Trace, run_backward, run_flow, run_forward
from predictors.zero_cost.weights import Initial
from search_spaces import Conv, GlobalPool, Linear, Network, Space, covering

_GRADIENTS = {"plain", "snip", "grad_norm", "grasp", "fisher", "zico"}
_JACOBIAN = {"jacov", "epe_nas"}
_MIX = 0.01  # Zen-NAS's perturbation
_CHUNK = 4  # lanes that a chunk has networks for: a fifth of them has the same operation on an edge
_LANES = {"cpu": (1,), "gpu": (16, 4)}


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
        lanes: Networks that share a call, descending; by default what suits the platform.

    Attributes:
        compile_seconds: Spent compiling so far.

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
        lanes: Sequence[int] | None = None,
    ) -> None:
        if unknown := [name for name in proxies if name not in PROXIES]:
            raise ValueError(f"Proxy {unknown[0]!r} is unknown; choose out of: {', '.join(PROXIES)}.")
        self.proxies = tuple(proxies)
        self.compile_seconds = 0.0
        self._needed = needed(self.proxies)
        self._streams = 2 if "zico" in self._needed else 1
        if batch < 2:
            raise ValueError(f"batch (={batch}) must be at least 2: batch norm and correlations need several images.")
        if len(images) < batch * self._streams or len(labels) != len(images):
            raise ValueError(
                f"images (n={len(images)}) and labels (n={len(labels)}) must be at least "
                f"batch * {self._streams} (={batch * self._streams}), as many of each."
            )
        self._batch, self._seed = batch, seed
        self._labels = np.asarray(labels[: batch * self._streams])
        self._images = tuple(jnp.asarray(part) for part in np.split(images[: batch * self._streams], self._streams))
        self._lanes = tuple(lanes or _LANES["cpu" if jax.default_backend() == "cpu" else "gpu"])
        self._machine = Machine(self._lanes, threads=os.cpu_count() or 1)
        self._default, self._absolute = Initial(seed), Initial(seed, "absolute")
        self._gaussian = Initial(seed, "gaussian")

    def score(
        self, networks: Sequence[Network], report: Callable[[int, int], None] = lambda done, total: None
    ) -> Scores:
        """Scores networks; all must take images of the size given.

        Args:
            networks: The networks.
            report: Called with the number of networks done and all.
        """
        return self._scores([self._row(n, e) for n, e in zip(networks, self._run(networks, report), strict=True)])

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
        for row, entry in zip(found, self._run(networks, report), strict=True):
            for name, sums in entry["sums"].items():
                row[place[name], :2] = float(sums.snip), float(np.sqrt(sums.square))
            for name, flow in entry["flows"].items():
                row[place[name], 2] = float(flow) if flow > NOTHING / 2 else np.nan
        return found

    def _run(self, networks: Sequence[Network], report: Callable[[int, int], None]) -> list[dict[str, Any]]:
        """What the passes leave behind, of every network."""
        shape = self._images[0].shape[1:]
        if wrong := [n for n in networks if (n.size, n.size, n.in_channels) != shape]:
            raise ValueError(f"Network {wrong[0].name!r} takes {wrong[0].size} px, the images are {shape}.")
        chunk = 1
        if self._lanes[0] > 1:
            chunk, networks = _CHUNK * self._lanes[0], [unfused(network) for network in networks]
        chunks = [networks[i : i + chunk] for i in range(0, len(networks), chunk)]
        schedules = [schedule(part) for part in chunks]
        groups = {
            (part[g[0][0]].operators[g[0][1]], len(g))
            for part, plan in zip(chunks, schedules, strict=True)
            for g in plan
        }
        start = time.perf_counter()
        self._machine.prepare(groups, self._passes)
        self.compile_seconds += time.perf_counter() - start
        entries: list[dict[str, Any]] = []
        for part, plan in zip(chunks, schedules, strict=True):
            entries += self._chunk(part, plan)
            report(len(entries), len(networks))
        return entries

    def _scores(self, rows: list[dict[str, float]]) -> Scores:
        raw = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in sorted(self._needed)}
        failures = {name: int((~np.isfinite(values)).sum()) for name, values in raw.items()}
        finite = {name: _worst_where_not_finite(name, values) for name, values in raw.items()}
        if "vote" in self.proxies:
            finite["vote"], failures["vote"] = measures.vote([finite[name] for name in VOTERS]), 0
        return Scores({p: finite[p] for p in self.proxies}, {p: failures[p] for p in self.proxies})

    @cached_property
    def _data_pass(self) -> Pass:
        return Pass(
            streams=self._streams,
            tangent="grasp" in self._needed,
            jacobian=bool(_JACOBIAN & self._needed),
            codes="nwot" in self._needed,
            weights=bool(_GRADIENTS & self._needed),
        )

    @cached_property
    def _zen_pass(self) -> Pass:
        return Pass(streams=2, variances=True, weights=False)

    @property
    def _passes(self) -> list[tuple[Pass | None, int, bool]]:
        """Pass, batch and whether there is a way back, of all that the proxies need."""
        passes: list[tuple[Pass | None, int, bool]] = []
        if self._needed & (_GRADIENTS | _JACOBIAN | {"nwot"}):
            passes.append((self._data_pass, self._batch, bool(self._needed & (_GRADIENTS | _JACOBIAN))))
        if "zen" in self._needed:
            passes.append((self._zen_pass, self._batch, False))
        if "synflow" in self._needed:
            passes.append((None, 1, True))
        if "synflow_bn" in self._needed:
            passes.append((Pass(), 1, True))
        return passes

    def _chunk(self, networks: Sequence[Network], groups: list[list[Lane]]) -> list[dict[str, Any]]:
        """A few networks: all passes are dispatched before the first result is read."""
        found: list[dict[str, Any]] = [{} for _ in networks]
        for how, _, back in self._passes:
            if how is None:
                for entry, flows in zip(found, run_flow(self._machine, self._absolute, networks, groups), strict=True):
                    entry["flows"] = flows
            elif how.variances:
                self._zen(networks, groups, found)
            elif how == self._data_pass:
                self._data(networks, groups, found, back)
            else:
                self._flow_with_norm(networks, groups, found)
        return jax.device_get(found)

    def _data(
        self, networks: Sequence[Network], groups: list[list[Lane]], found: list[dict[str, Any]], back: bool
    ) -> None:
        how = self._data_pass
        image = self._images + ((jnp.zeros_like(self._images[0]),) if how.tangent else ())
        traces = run_forward(self._machine, how, self._default, networks, groups, image)
        for entry, trace in zip(found, traces, strict=True):
            entry["code"] = trace.code
        if not back:
            return
        labels = jnp.asarray(self._labels.reshape(how.streams, -1))
        cotangents = [
            _loss_cotangents(how, labels, trace.values[len(n.operators)])
            for n, trace in zip(networks, traces, strict=True)
        ]
        run_backward(self._machine, how, self._default, networks, groups, traces, cotangents)
        for entry, trace in zip(found, traces, strict=True):
            entry["sums"] = trace.sums
            entry["jacobian"] = trace.image[-1] if how.jacobian and trace.image is not None else None

    def _zen(self, networks: Sequence[Network], groups: list[list[Lane]], found: list[dict[str, Any]]) -> None:
        x, noise = jax.random.normal(jax.random.key(self._seed), (2, *self._images[0].shape))
        last = [last_map(network) for network in networks]
        traces = run_forward(
            self._machine, self._zen_pass, self._gaussian, networks, groups, (x, x + _MIX * noise), last
        )
        for entry, trace, value in zip(found, traces, last, strict=True):
            entry["change"] = _change(*trace.values[value])
            entry["variances"] = trace.variances

    def _flow_with_norm(
        self, networks: Sequence[Network], groups: list[list[Lane]], found: list[dict[str, Any]]
    ) -> None:
        ones = (jnp.ones_like(self._images[0][:1]),)
        traces: list[Trace] = run_forward(self._machine, Pass(), self._absolute, networks, groups, ones)
        ends = [(jnp.ones_like(t.values[len(n.operators)][0]),) for n, t in zip(networks, traces, strict=True)]
        run_backward(self._machine, Pass(), self._absolute, networks, groups, traces, ends)
        for entry, trace in zip(found, traces, strict=True):
            entry["flow_bn"] = [s.snip for s in trace.sums.values()]

    def _row(self, network: Network, entry: dict[str, Any]) -> dict[str, float]:
        """All scores of one network, nan or infinite where they cannot be computed."""
        kernels = [op for op in network if isinstance(op, Conv | Linear)]
        row = {"params": float(network.params), "flops": float(network.macs)}
        row["l2_norm"] = float(sum(self._default.norm(op) for op in kernels))
        if by_name := entry.get("sums"):
            sums = by_name.values()
            row |= {
                "plain": float(sum(float(s.plain) for s in sums)),
                "snip": float(sum(float(s.snip) for s in sums)),
                "grad_norm": float(sum(np.sqrt(float(s.square)) for s in sums)),
                "grasp": float(sum(float(s.grasp) for s in sums)),
                "fisher": float(sum(float(s.fisher) for s in sums)),
                "zico": measures.zico([float(s.zico) for s in sums]),
            }
        if (jacobian := entry.get("jacobian")) is not None:
            flat = np.asarray(jacobian, dtype=np.float64).reshape(len(jacobian), -1)
            row["jacov"] = measures.jacov(flat)
            row["epe_nas"] = measures.epe_nas(flat, self._labels[: self._batch], network.num_classes)
        if entry.get("code") is not None:
            row["nwot"] = measures.nwot(entry["code"])
        if "flows" in entry:
            row["synflow"] = measures.log_sum([float(f) for f in entry["flows"].values()], NOTHING)
        if "flow_bn" in entry:
            row["synflow_bn"] = float(sum(float(f) for f in entry["flow_bn"]))
        if "change" in entry:
            row["zen"] = measures.zen(float(entry["change"]), [float(v) for v in entry["variances"]])
        return {name: row.get(name, float("nan")) for name in self._needed}


def node_names(space: Space) -> list[str]:
    """Names of all operators with weights that networks of a space can have, in order of execution."""
    networks = [space.network(arch) for arch in covering(space)]
    operators = (networks[n].operators[i] for group in schedule(networks) for n, i in group[:1])
    return list(dict.fromkeys(op.name for op in operators if isinstance(op, Conv | Linear)))


def last_map(network: Network) -> int:
    """The value that the classifier's pooling reads; without pooling, what the last operator reads."""
    pools = [op for op in network if isinstance(op, GlobalPool)]
    return (pools or network.operators)[-1].inputs[0]


@jax.jit
def _change(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.abs(b - a).sum(axis=(1, 2, 3)).mean()


def _loss_cotangents(how: Pass, labels: jax.Array, logits: Any) -> Any:
    return _LOSS_COTANGENTS(how, labels, logits)


def _loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    rows = jax.nn.log_softmax(logits.reshape(len(logits), -1))
    return -jnp.take_along_axis(rows, labels[:, None], axis=1).mean()


def _cotangents(how: Pass, labels: jax.Array, logits: Any) -> Any:
    """Of the loss, stream by stream, its tangent, and of the summed logits."""
    found = []
    if how.weights:
        found = [jax.grad(_loss)(logits[i], labels[i]) for i in range(how.streams)]
        if how.tangent:
            found.append(jax.jvp(lambda x: jax.grad(_loss)(x, labels[0]), (logits[0],), (logits[how.streams],))[1])
    return (*found, jnp.ones_like(logits[0])) if how.jacobian else tuple(found)


_LOSS_COTANGENTS = jax.jit(_cotangents, static_argnums=0)


def _worst_where_not_finite(name: str, values: np.ndarray) -> np.ndarray:
    good = np.isfinite(values)
    if good.all():
        return values
    ends = values[good] if good.any() else np.zeros(1)
    worst = np.nextafter(ends.min(), -np.inf) if PROXIES[name].higher_is_better else np.nextafter(ends.max(), np.inf)
    return np.where(good, values, worst)
