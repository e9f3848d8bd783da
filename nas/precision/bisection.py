"""The longest prefix of a list that passes a test, by bisection."""

from collections.abc import Callable

_FURTHER = 6  # a part of n: so many longer prefixes must fail too, as accuracy does not fall evenly


def longest_prefix(passes: Callable[[int], bool], n: int) -> int:
    """The largest k out of 0..n that passes, by O(log n) tests and n / 6 more behind every late pass; 0 passes.

    Where a longer prefix may pass though a shorter one fails, the result still passes, and none of the next n / 6
    (at least two) does, but a longer one might.

    Args:
        passes: Whether the first k pass.
        n: Length of the list.
    """
    known: dict[int, bool] = {0: True}

    def test(k: int) -> bool:
        if k not in known:
            known[k] = passes(k)
        return known[k]

    if test(n):
        return n
    low, high = 0, n  # low passes, high fails
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if test(middle) else (low, middle)
    beyond = max(2, n // _FURTHER)
    while further := [k for k in range(low + 1, min(low + beyond, n) + 1) if test(k)]:
        low = further[-1]
    return low
