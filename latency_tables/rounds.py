"""Interleaved rounds over open sessions: the clockwork of `measure`."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from latency_tables.sessions import Runner

SLOW_ROUND = 1.15  # a round this much slower than the typical one is repeated
RECORDED_MS = 4.0  # of recorded calls in a sample, about


@dataclass(frozen=True, slots=True)
class Rounds:
    """What came out, per session.

    Attributes:
        median_ms: Median over rounds of the samples, drift cancelled `[sessions]`.
        error_ms: Half width of its 95 % confidence interval `[sessions]`.
        times_ms: All recorded calls, as they were.
    """

    median_ms: np.ndarray
    error_ms: np.ndarray
    times_ms: list[np.ndarray]


def run_rounds(
    runners: Sequence[Runner],
    *,
    tolerance: float,
    rounds: tuple[int, int],
    seconds: float,
    rng: np.random.Generator,
    report: Callable[[float], None],
) -> Rounds:
    """Runs rounds until the medians are known; see measuring.py.

    Args:
        runners: The sessions.
        tolerance: Stop when the confidence interval of every median is within this share.
        rounds: Fewest and most rounds.
        seconds: Stop after this time, but not before the fewest rounds.
        rng: For the order.
        report: Called after every round with the estimated share of the work that is done.
    """
    start = time.perf_counter()
    calls = [_calls(_warm_up(runner)) for runner in runners]
    kept: list[list[np.ndarray]] = []  # rounds x sessions, the recorded calls
    repeats = 0
    while True:
        row: list[np.ndarray] = [np.empty(0)] * len(runners)
        for i in rng.permutation(len(runners)):
            row[i] = _sample(runners[i], *calls[i])
        kept.append(row)
        samples = np.array([[np.median(times) for times in r] for r in kept])
        late = time.perf_counter() - start >= seconds
        speed = np.median(samples / np.median(samples, axis=0), axis=1)
        if speed[-1] > SLOW_ROUND * np.median(speed) and repeats < rounds[1] // 2 and not late:
            kept.pop()
            repeats += 1
            continue
        medians, errors = _typical(samples)
        worst = float((errors / medians).max())
        enough = late or worst <= tolerance or len(kept) >= rounds[1]
        if enough and len(kept) >= rounds[0]:
            break
        spent = (time.perf_counter() - start) / max(seconds, 1e-9)
        report(min(max(len(kept) / rounds[1], min(spent, 0.95)), 1.0))
    return Rounds(medians, errors, [np.concatenate(times) for times in zip(*kept, strict=True)])


def _typical(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median over rounds with the drift of the other sessions divided out, and its error `[sessions]`."""
    relative = samples / np.median(samples, axis=0)
    sessions = samples.shape[1]
    if sessions > 1:
        others = [np.median(np.delete(relative, i, axis=1), axis=1) for i in range(sessions)]
        speed = np.stack(others, axis=1)
        samples = samples / (speed / np.median(speed, axis=0))
    spread = np.subtract(*np.quantile(samples, (0.75, 0.25), axis=0))
    return np.median(samples, axis=0), 1.57 * spread / np.sqrt(len(samples))  # McGill et al.'s notches


def _warm_up(runner: Runner) -> float:
    """Runs until two calls in a row agree within 5 % (at most 0.5 s); returns ms per call."""
    runner()
    last, end = np.inf, time.perf_counter() + 0.5
    while True:
        start = time.perf_counter()
        runner()
        now = time.perf_counter()
        ms = (now - start) * 1e3
        if abs(ms - last) <= 0.05 * ms or now > end:
            return ms
        last = ms


def _calls(ms: float) -> tuple[int, int]:
    """Unrecorded and recorded calls of a sample, for a model of that latency."""
    return (2 if ms < 1 else 1), int(np.clip(RECORDED_MS / ms, 3, 8))


def _sample(runner: Runner, unrecorded: int, recorded: int) -> np.ndarray:
    """Milliseconds of the recorded calls."""
    for _ in range(unrecorded):
        runner()
    ticks = np.empty(recorded + 1)
    ticks[0] = time.perf_counter()
    for i in range(recorded):
        runner()
        ticks[i + 1] = time.perf_counter()
    return np.diff(ticks) * 1e3
