"""`KernelPredictor`: what kernels cost that no table has measured, with calibrated intervals.

One model per kind of kernel (nn-Meter, Zhang et al., MobiSys 2021; LitePred, Feng et al., NSDI 2024), here a
Gaussian process on log(time / roofline) with a length scale per feature, because it says how sure
it is: that decides what to measure next and how wide intervals are. Stored as arrays and JSON.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latency_tables import Device, LatencyTable, Prediction, TableError
from latency_tables.table import check_conditions
from predictors.gaussian import GaussianProcess
from predictors.kernel_features import KernelConfig
from predictors.roofline import Roofline
from search_spaces import Network
from search_spaces.whole_file import whole_file

FORMAT = 1
LEVEL = 0.9
_FOLDS = 5
_FEWEST = 12  # kernels of a kind that make a model; below, the roofline alone


class KernelPredictor:
    """Predicts networks of any space: kernels of the table by the table, others by models.

    Args:
        seed: Of folds and subsets.

    Attributes:
        kernels_: From a known kernel's key to its cost in ms.
        roofline_: See `Roofline`.
        models_: From a kind to its process on log(time / roofline).
        widths_: From a kind to how many standard deviations cover 90 % of left-out kernels.
        errors_: From a kind to the mean relative error of left-out kernels.
        constant_ms_: What every call costs.
        ratio_: Ends of measured over predicted that cover 90 % of whole networks never seen.

    Example:
        >>> KernelPredictor().fit([table]).predict_network(reference_network("resnet50"))  # doctest: +SKIP
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, tables: Sequence[LatencyTable], y: None = None) -> "KernelPredictor":
        """Learns from tables of one device; the first one's networks calibrate the intervals.

        Raises:
            ValueError: if there is no table, or they are of different conditions.
        """
        del y
        if not tables:
            raise ValueError("KernelPredictor.fit needs at least one table.")
        self.conditions_ = dict(tables[0].metadata["conditions"])
        for table in tables:
            for name, value in table.metadata["conditions"].items():
                if name != "device" and value != self.conditions_[name]:
                    raise ValueError(f"Tables differ in {name}: {self.conditions_[name]!r} and {value!r}.")
        self.kernels_ = {key: row.cost_ms for table in reversed(tables) for key, row in table.kernels.items()}
        self.constant_ms_ = tables[0].constant_ms
        keys = list(self.kernels_)
        configs, ms = [KernelConfig.parse(key) for key in keys], np.array([self.kernels_[key] for key in keys])
        self.roofline_ = Roofline().fit(configs, ms)
        X, target = np.array([c.features for c in configs]), np.log(ms / self.roofline_.predict(configs))
        kinds = np.array([config.kind for config in configs])
        self.models_: dict[str, GaussianProcess] = {}
        self.widths_: dict[str, float] = {}
        self.errors_: dict[str, float] = {}
        for kind in sorted(set(kinds.tolist())):
            mine = kinds == kind
            # kernels of one width are left out together: those of a new network are as new
            groups = np.array([max(c.inputs, c.outputs) for c in configs])[mine]
            self._fit_kind(kind, X[mine], target[mine], groups)
        self.ratio_ = self._calibrated(tables)
        return self

    def _fit_kind(self, kind: str, X: np.ndarray, target: np.ndarray, groups: np.ndarray) -> None:
        if len(X) < _FEWEST:
            spread = float(np.abs(target).max()) + 0.5
            self.widths_[kind], self.errors_[kind] = spread, float(np.abs(np.expm1(target)).mean())
            return
        rng = np.random.default_rng(self.seed)
        model = GaussianProcess().fit(X, target, rng)
        _, group = np.unique(groups, return_inverse=True)
        fold = (rng.permutation(group.max() + 1) % _FOLDS)[group]
        left_out = np.empty_like(target), np.empty_like(target)
        for f in np.unique(fold):
            if (fold == f).all():
                raise ValueError(f"Kernels of kind {kind!r} all have {groups[0]} channels; measure more networks.")
            part = GaussianProcess(model.scales_, model.signal_, model.noise_).condition(
                X[fold != f], target[fold != f]
            )
            for values, found in zip(left_out, part.predict(X[fold == f]), strict=True):
                values[fold == f] = found
        mean, deviation = left_out
        self.models_[kind] = model
        # conformal: with n cases the k-th smallest has k / (n + 1) of all cases below it
        scores, k = np.sort(np.abs(target - mean) / deviation), int(np.ceil((len(target) + 1) * LEVEL))
        self.widths_[kind] = float(scores[min(k, len(scores)) - 1])
        self.errors_[kind] = float(np.abs(np.expm1(mean - target)).mean())

    def _calibrated(self, tables: Sequence[LatencyTable]) -> tuple[float, float]:
        """Ratio interval on networks whose kernels were not measured, or of the table's own held-out networks."""
        unseen = [row for table in tables for row in table.metadata.get("unseen", ())]
        if len(unseen) < 8:
            held_out = tables[0].metadata["held_out"]
            return min(held_out["low"], 1.0), max(held_out["high"], 1.0)
        networks = [Network.parse(row["network"]) for row in unseen]
        ratio = np.sort([row["median_ms"] / self._sum(n) for row, n in zip(unseen, networks, strict=True)])
        k = max(int((len(ratio) + 1) * (1 - LEVEL) / 2), 1)
        return float(min(ratio[k - 1], 1.0)), float(max(ratio[-k], 1.0))

    # -- predictions ---------------------------------------------------------------------------

    def predict(self, keys: Iterable[str]) -> np.ndarray:
        """Milliseconds that kernels add to a network `[n]`: known ones by the table."""
        return self.predict_interval(keys)[:, 0]

    def predict_interval(self, keys: Iterable[str]) -> np.ndarray:
        """Milliseconds of kernels and the ends of their 90 % intervals `[n, 3]`; known kernels have none."""
        keys = list(keys)
        rows = np.empty((len(keys), 3))
        groups: dict[str, list[int]] = {}
        for i, key in enumerate(keys):
            if key in self.kernels_:
                rows[i] = self.kernels_[key]
            else:
                groups.setdefault(KernelConfig.parse(key).kind, []).append(i)
        for kind, places in groups.items():
            configs = [KernelConfig.parse(keys[i]) for i in places]
            base, width = self.roofline_.predict(configs), self.widths_.get(kind, 1.0)
            mean, deviation = np.zeros(len(places)), np.ones(len(places))
            if kind in self.models_:
                mean, deviation = self.models_[kind].predict(np.array([c.features for c in configs]))
            steps = np.array([0.0, -1.0, 1.0]) * width
            rows[places] = base[:, None] * np.exp(mean[:, None] + deviation[:, None] * steps)
        return rows

    def predict_network(self, network: Network) -> Prediction:
        """Latency of a network in ms per call, with the interval that covers 90 % of unseen networks."""
        median = self._sum(network)
        return Prediction(median, median * self.ratio_[0], median * self.ratio_[1])

    def far_from_roofline(self, factor: float = 10.0) -> dict[str, float]:
        """Measured kernels that take more than `factor` times their roofline, or less than its inverse: the ratios.

        A sanity check of what was measured: such a kernel is served by other code than its kind, or was disturbed.
        """
        keys = list(self.kernels_)
        ratio = np.array([self.kernels_[key] for key in keys]) / self.roofline_.predict(
            [KernelConfig.parse(key) for key in keys]
        )
        return {key: float(r) for key, r in zip(keys, ratio, strict=True) if not 1 / factor <= r <= factor}

    def _sum(self, network: Network) -> float:
        return self.constant_ms_ + float(self.predict(network.kernels).sum())

    def check_device(self, device: Device) -> None:
        """Raises TableError unless the kernels were measured under the conditions of `device`, here and now."""
        check_conditions(self.conditions_, device, "kernels")

    # -- files ---------------------------------------------------------------------------------

    def write(self, path: str | Path) -> None:
        """Writes an .npz of arrays and one JSON text; appears whole or not at all."""
        document: dict[str, Any] = {
            "format": FORMAT,
            "conditions": self.conditions_,
            "constant_ms": self.constant_ms_,
            "ratio": self.ratio_,
            "kernels": self.kernels_,
            "roofline": {kind: list(map(float, c)) for kind, c in self.roofline_.coefficients_.items()},
            "widths": self.widths_,
            "errors": self.errors_,
            "kinds": sorted(self.models_),
        }
        arrays = {f"{kind}.{name}": a for kind, m in self.models_.items() for name, a in m.arrays().items()}
        with whole_file(Path(path)) as beside, beside.open("wb") as file:
            np.savez_compressed(file, metadata=np.array(json.dumps(document)), **arrays)  # type: ignore[arg-type]

    @classmethod
    def read(cls, path: str | Path) -> "KernelPredictor":
        """Reads what `write` wrote; arrays only, so that a file cannot run code.

        Raises:
            TableError: if it is missing or damaged.
        """
        made = cls()
        try:
            with np.load(path, allow_pickle=False) as data:
                document = json.loads(str(data["metadata"]))
                if document["format"] != FORMAT:
                    raise ValueError(f"format {document['format']}, this version reads {FORMAT}")
                made.models_ = {kind: GaussianProcess.from_arrays(data, kind) for kind in document["kinds"]}
            made.conditions_, made.kernels_ = document["conditions"], document["kernels"]
            made.constant_ms_, made.ratio_ = float(document["constant_ms"]), tuple(document["ratio"])
            made.widths_, made.errors_ = document["widths"], document["errors"]
            made.roofline_ = Roofline()
            made.roofline_.coefficients_ = {kind: np.array(c) for kind, c in document["roofline"].items()}
        except Exception as error:  # noqa: BLE001 - NumPy and zipfile raise a dozen kinds for damaged files
            raise TableError(
                f"Kernel predictor {str(path)!r} cannot be read ({error}). Measure it with `nas profile kernels`."
            ) from error
        return made
