"""Picking from a front: names, conditions, architectures; never by running what was typed."""

import pytest

from nas.errors import UserError
from nas.pick import pick


def entry(arch, ms, accuracy):
    return {"arch": arch, "accuracy": accuracy, "latency_ms": {"median": ms}, "macs": ms * 1e6, "params": 1000}


FRONT = [entry("a", 1.0, 80.0), entry("b", 1.5, 88.0), entry("c", 4.0, 90.0)]


@pytest.mark.parametrize(
    ("wish", "arch"),
    [
        ("fastest", "a"),
        ("knee", "b"),
        ("most_accurate", "c"),
        ("most-accurate", "c"),
        ("latency_ms<=2", "b"),
        ("latency_ms < 1.5", "a"),
        ("accuracy>=85", "b"),
        ("latency_ms<=9,accuracy>=89", "c"),
        ("c", "c"),
    ],
)
def test_pick(wish, arch):
    assert pick(FRONT, wish)["arch"] == arch


@pytest.mark.parametrize("wish", ["", "latency<=2", "latency_ms<=x", "latency_ms<=1e", "accuracy>=99", "z"])
def test_refused(wish):
    with pytest.raises(UserError):
        pick(FRONT, wish)


def test_empty_front():
    with pytest.raises(UserError, match="empty"):
        pick([], "knee")
