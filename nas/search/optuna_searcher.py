"""Optuna's samplers behind ask/tell; the study lives in Optuna's own storage."""

import re
from importlib.util import find_spec
from typing import Any

import numpy as np

from nas.errors import UserError
from nas.search.base import Searcher
from search_spaces import Space


class OptunaSearcher(Searcher):
    """TPE, NSGA-II or a Gaussian process by Optuna itself (Akiba et al., KDD 2019).

    Args:
        space: Where to search.
        sampler: "tpe", "nsga2" or "gp".
        storage: URL of an Optuna storage; in memory by default. A study of the same name there is replaced.
        study_name: Its name.
        seed: Of the sampler.
        **options: Those of `Searcher`.
    """

    def __init__(
        self,
        space: Space,
        *,
        sampler: str = "tpe",
        storage: str | None = None,
        study_name: str = "nas",
        seed: int = 0,
        **options: Any,
    ) -> None:
        import optuna

        super().__init__(space, seed=seed, **options)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        make = {
            "tpe": optuna.samplers.TPESampler,
            "nsga2": optuna.samplers.NSGAIISampler,
            "gp": optuna.samplers.GPSampler,
        }[sampler]
        if sampler == "gp" and find_spec("torch") is None:
            raise UserError("Searcher 'optuna-gp' needs torch, which is not installed; pip install torch, or use ehvi.")
        opened = _open(storage) if storage else None
        if opened and study_name in optuna.get_all_study_names(opened):
            optuna.delete_study(study_name=study_name, storage=opened)
        self.study = optuna.create_study(
            storage=opened,
            study_name=study_name,
            sampler=make(seed=seed),
            directions=["minimize"] * self.num_objectives,
        )
        self._trials: dict[bytes, Any] = {}  # asked and not told
        self._values: dict[bytes, np.ndarray] = {}  # told

    def _propose(self, n: int) -> np.ndarray:
        rows: list[np.ndarray] = []
        for _ in range(4 * n):
            if len(rows) == n:
                break
            trial = self.study.ask()
            row = self._suggest(trial)
            key = row.tobytes()
            if key in self._values:  # Optuna proposed it again: the answer is known
                self._finish(trial, self._values[key])
            elif key in self._trials or self.excess(row[None])[0] > 0:
                self.study.tell(trial, state=self._pruned)
            else:
                self._trials[key] = trial
                rows.append(row)
        asked = np.array(rows, dtype=np.int64).reshape(-1, len(self.space.genes))
        if len(asked) == n:
            return asked
        topped = self.top_up(asked, n)[:n]  # the sampler keeps repeating itself
        for row in topped:
            if row.tobytes() not in self._trials:
                self._trials[row.tobytes()] = self._enqueue(row)
        return topped

    def _suggest(self, trial: Any) -> np.ndarray:
        row = np.zeros(len(self.space.genes), dtype=np.int64)
        for i, gene in enumerate(self.space.genes):
            if self.space.active(row)[0, i]:
                row[i] = trial.suggest_int(gene.name, 0, len(gene.choices) - 1)
        return row

    def _enqueue(self, row: np.ndarray) -> Any:
        active = self.space.active(row)[0]
        self.study.enqueue_trial({g.name: int(row[i]) for i, g in enumerate(self.space.genes) if active[i]})
        trial = self.study.ask()
        self._suggest(trial)
        return trial

    def _learn(self, X: np.ndarray, Y: np.ndarray) -> None:
        for row, values in zip(X, Y, strict=True):
            trial = self._trials.pop(row.tobytes(), None) or self._enqueue(row)
            self._values[row.tobytes()] = values
            self._finish(trial, values)

    def _finish(self, trial: Any, values: np.ndarray) -> None:
        for j in np.flatnonzero(np.isfinite(self.limits)):
            trial.set_constraint(f"limit{j}", float(values[j] - self.limits[j]))
        self.study.tell(trial, values.tolist())

    @property
    def _pruned(self) -> Any:
        from optuna.trial import TrialState

        return TrialState.FAIL


def _open(url: str) -> Any:
    """Optuna's storage at a URL."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return optuna.storages.get_storage(url)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        reason = " ".join(str(error).splitlines()[0].split()) or type(error).__name__
        shown = re.sub(r"(://[^:@/]*):[^@/]*@", r"\1:***@", url)  # no password on a screen or in a log
        raise UserError(
            f"--storage (={shown}) cannot be opened ({reason}); give a database that answers, such as "
            "sqlite:///study.db or postgresql+psycopg://user@host/name (pip install nas-platform[postgresql])."
        ) from error
