"""The default searcher: Gaussian processes and expected hypervolume improvement."""

from typing import Any

import numpy as np

from nas.errors import UserError
from nas.pareto import pareto_front
from nas.search.base import Searcher
from nas.search.improvement import Improvement, Warp
from nas.search.inputs import Inputs
from predictors.feature_groups import ENUMERABLE, enumerate_space, zero_cost_front
from predictors.gaussian_process import GaussianProcess, Groups, Posterior
from search_spaces import Space


class EHVI(Searcher):
    """Evaluates what is expected to enlarge the front most (Emmerich et al., IEEE CEC 2011).

    A Gaussian process for every objective that must be measured; an objective that is known (a latency
    from a table) enters exactly. Objectives after the first are taken for costs. See `Inputs` for what
    the processes see. A space of up to `ENUMERABLE` networks is scored whole; in a larger
    one the expected improvement is maximised by evolution. Architectures that were asked for and
    not yet told count with their mean, so that any number can be in flight.

    Args:
        space: Where to search.
        initial: Evaluations before the first model: random ones and those of `spread`, by turns.
        refit: Evaluations between two optimisations of the models' parameters.
        shortlist: Candidates that stay under consideration between them.
        generations: Of the evolution, in a large space.
        zero_cost: Whether zero-cost scores are inputs of the processes (Abdelfattah et al., ICLR 2021, use
            them to warm a search up); the space is scored whole, once. Where a cost is measured,
            `zero_cost_front` takes the place of `spread`.
        fitted: Evaluations that the models are fitted on at most: the front and the newest.
        reference: Reference point `[m]` of the hypervolume; by default just beyond the largest value of
            a random sample and of the space's ends where the objective is known or can be estimated, so that
            no network is too large to count, and else the upper fence of the first evaluations.
        **options: Those of `Searcher`.
    """

    def __init__(
        self,
        space: Space,
        *,
        initial: int = 16,
        refit: int = 8,
        shortlist: int = 1024,
        generations: int = 12,
        zero_cost: bool = False,
        fitted: int = 600,
        reference: np.ndarray | None = None,
        **options: Any,
    ) -> None:
        super().__init__(space, **options)
        if zero_cost and space.size > ENUMERABLE:
            raise UserError(
                f"Searcher 'ehvi-zc' scores a space whole, and {space.name} has {float(space.size):.3g} networks "
                f"(at most {ENUMERABLE}); use ehvi."
            )
        self.zero_cost = zero_cost
        self.initial, self.refit, self.shortlist, self.generations = initial, refit, shortlist, generations
        self.fitted, self.reference = fitted, reference
        self._costs = [j for j in range(1, self.num_objectives) if j not in self.known]
        self._models: dict[int, GaussianProcess] = {}
        self._refitted = -refit  # evaluations told when the parameters were last optimised
        self._candidates = self.X
        self._pending: dict[bytes, np.ndarray] = {}

    def _propose(self, n: int) -> np.ndarray:
        if len(self._asked) < self.initial or len(self.X) < 2:
            first = self._first(n) if len(self._asked) % 2 == 0 else self.X[:0]
            chosen = self.top_up(first, min(n, max(1, self.initial - len(self._asked))))[:n]
        else:
            self._fit()
            chosen = self._choose(n)
        self._pending.update(zip(self._keys(chosen), chosen, strict=True))
        return chosen

    def _learn(self, X: np.ndarray, Y: np.ndarray) -> None:
        for key in self._keys(X):
            self._pending.pop(key, None)

    def _first(self, n: int) -> np.ndarray:
        if not (self.zero_cost and self._costs):
            return self.space.spread(self.rng, n)
        # a cost must be learned where the front will be, and nothing but zero-cost scores tells where
        front = zero_cost_front(self.space)
        evenly = np.linspace(0, len(front) - 1, self.initial // 2).round().astype(int)
        return np.concatenate([front[self.rng.permutation(evenly)], self.space.spread(self.rng, n)])

    # -- models --------------------------------------------------------------------------------

    def _fit(self) -> None:
        if not hasattr(self, "_inputs"):
            self._inputs = Inputs(self.space, self.known, self._costs, zero_cost=self.zero_cost)
        optimise = len(self.X) - self._refitted >= self.refit
        rows = self._training_rows()
        groups = self._inputs.learn(self.X[rows], self.Y[rows])
        cap = self._reference_point()
        self._warps: list[Warp | None] = [None] * self.num_objectives
        for j in range(self.num_objectives):
            if j not in self.known:
                warp = self._warps[j] = Warp.of(self.Y[rows, j], float(cap[j]))
                model = self._models.setdefault(j, GaussianProcess())
                model.fit(groups, warp(self.Y[rows, j]), optimise=optimise)
        if optimise:
            self._refitted = len(self.X)
            self._candidates = self._shortlisted()

    def _training_rows(self) -> np.ndarray:
        if len(self.X) <= self.fitted:
            return np.arange(len(self.X))
        newest = np.arange(len(self.X) - self.fitted, len(self.X))
        return np.union1d(newest, pareto_front(self.Y))

    def _reference_point(self) -> np.ndarray:
        """The reference point, but no limit exceeded."""
        if self.reference is not None:
            return np.minimum(np.asarray(self.reference, dtype=np.float64), self.limits)
        reference = np.empty(self.num_objectives)
        for j in range(self.num_objectives):
            first = self.Y[: self.initial, j]
            largest = self._inputs.largest(j)
            if largest is None:
                reference[j] = _fence(first)
            elif j in self.known:
                reference[j] = 1.02 * largest
            else:
                reference[j] = 1.02 * max(largest, float(first.max()))
        return np.minimum(reference, self.limits)

    # -- candidates ----------------------------------------------------------------------------

    def _shortlisted(self) -> np.ndarray:
        if self.space.size <= ENUMERABLE:
            if not hasattr(self, "_everything"):
                everything = enumerate_space(self.space)
                self._everything = everything[(self.excess(everything) == 0) & self.space.reads_image(everything)]
                self._everything_fixed = self._inputs.fixed(self._everything)
                self._everything_known = self._known_values(self._everything)
            score = self._score(
                self._everything,
                [*self._everything_fixed, *self._inputs.estimated(self._everything)],
                self._everything_known,
            )
            return self._everything[np.argsort(-score, kind="stable")[: self.shortlist]]
        front = self.X[pareto_front(self.Y)]
        X = self.top_up(self._offspring(front, self.shortlist), self.shortlist)
        for _ in range(self.generations):
            score = self._score(X)
            best = X[np.argsort(-score, kind="stable")[: self.shortlist // 4]]
            X = np.concatenate(
                [best, self.fresh(np.concatenate([self._offspring(best, self.shortlist), self._offspring(front, 64)]))]
            )
            X = X[np.sort(np.unique(X, axis=0, return_index=True)[1])]
        return X[np.argsort(-self._score(X), kind="stable")[: self.shortlist]]

    def _offspring(self, parents: np.ndarray, n: int) -> np.ndarray:
        mothers, fathers = parents[self.rng.integers(0, len(parents), size=(2, n))]
        crossed = np.where(self.rng.random((n, 1)) < 0.5, self.space.crossover(mothers, fathers, self.rng), mothers)
        return self.space.mutate(crossed, self.rng, 1.5 / len(self.space.genes))

    def _known_values(self, X: np.ndarray) -> np.ndarray:
        """The known objectives of `X`, zeros for the others, `[n, m]`."""
        values = np.zeros((len(X), self.num_objectives))
        for j, known in self.known.items():
            values[:, j] = known(X)
        return values

    def _score(self, X: np.ndarray, groups: Groups | None = None, known: np.ndarray | None = None) -> np.ndarray:
        groups = self._inputs(X) if groups is None else groups
        known = self._known_values(X) if known is None else known
        posteriors = {j: model.posterior(groups) for j, model in self._models.items()}
        return self._expected(known, posteriors, Improvement(self.Y, self._reference_point()))

    def _expected(self, known: np.ndarray, posteriors: dict[int, Posterior], improvement: Improvement) -> np.ndarray:
        mean, sd = known.copy(), np.zeros_like(known)
        for j, posterior in posteriors.items():
            mean[:, j], sd[:, j] = posterior.mean, posterior.sd
        return improvement.expected(mean, sd, self._warps)

    def _choose(self, n: int) -> np.ndarray:
        """The best candidates one after the other, each believed to turn out at its mean."""
        pending = np.array(list(self._pending.values()), dtype=np.int64).reshape(-1, len(self.space.genes))
        X = np.concatenate([pending, self.fresh(self._candidates)])
        groups = self._inputs(X)
        posteriors = {j: model.posterior(groups) for j, model in self._models.items()}
        reference, known = self._reference_point(), self._known_values(X)
        values = known.copy()
        for j, posterior in posteriors.items():
            values[:, j] = self._warp(j).inverse(posterior.mean)
        Y, taken = self.Y, np.zeros(len(X), dtype=bool)
        for row in range(len(pending)):
            taken[row] = True
            Y = np.concatenate([Y, values[row : row + 1]])
            for posterior in posteriors.values():
                posterior.believe(row)
        chosen: list[int] = []
        while len(chosen) < n and not taken.all():
            score = self._expected(known, posteriors, Improvement(Y, reference))
            score[taken] = -1.0
            row = int(score.argmax())
            taken[row] = True
            chosen.append(row)
            Y = np.concatenate([Y, values[row : row + 1]])
            for posterior in posteriors.values():
                posterior.believe(row)
        return X[chosen] if len(chosen) == n else self.top_up(X[chosen], n)[:n]

    def _warp(self, j: int) -> Warp:
        warp = self._warps[j]
        assert warp is not None
        return warp


def _fence(y: np.ndarray) -> float:
    """Tukey's upper fence of a sample, at most its maximum: beyond it lie outliers."""
    low, high = np.quantile(y, [0.25, 0.75])
    return float(min(y.max(), high + 1.5 * (high - low)))
