"""Zero-cost proxies: scores of networks at initialisation, without training."""

from predictors.zero_cost.proxies import PROXIES, Proxy
from predictors.zero_cost.score import Scores, ZeroCost, node_names

__all__ = ["PROXIES", "Proxy", "Scores", "ZeroCost", "node_names"]
