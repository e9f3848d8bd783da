"""Searchers (ask/tell, no I/O) and the loop that runs them against real evaluations."""

from nas.search.engine import SearchResult, search
from nas.search.factory import SEARCHERS, make_searcher

__all__ = ["SEARCHERS", "SearchResult", "make_searcher", "search"]
