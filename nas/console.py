"""What a person sees: messages, tables and progress on stderr; results, or one JSON document, on stdout."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Update = Callable[[float, float, str], None]  # done, total, note
_PLAIN_SECONDS = 5.0  # between two lines where stderr is no terminal


def say(text: str) -> None:
    """A line for the person, on stderr."""
    print(text, file=sys.stderr, flush=True)


def emit_json(document: Any) -> None:
    """The one JSON document, on stdout."""
    print(json.dumps(document, indent=2), flush=True)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, file: Any = None) -> None:
    """A table; columns of numbers are right-aligned, but for the first."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    texts = [[str(cell) for cell in row] for row in rows]
    table = Table(title=title, title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        numbers = i > 0 and all(_begins_as_number(row[i]) for row in texts)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in texts:
        table.add_row(*map(escape, row))
    stream = file or sys.stdout
    # where nobody's terminal sets a width, let no cell be cut
    width = None if stream.isatty() else 160
    Console(file=stream, width=width).print(table)


def _begins_as_number(text: str) -> bool:
    return not text or text[0] in "+-" or text[0].isdigit()


def duration(seconds: float) -> str:
    """A time as a person says it: 42 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@contextmanager
def progress(label: str) -> Iterator[Update]:
    """A bar with time left on a terminal, a plain line every few seconds elsewhere."""
    with _bar(label) if sys.stderr.isatty() else _lines(label) as update:
        yield update


@contextmanager
def _bar(label: str) -> Iterator[Update]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=None, note="")

        def update(done: float, total: float, note: str) -> None:
            bar.update(task, completed=done, total=total, note=note)

        yield update


@contextmanager
def _lines(label: str) -> Iterator[Update]:
    start = last = time.monotonic()
    # time and progress of the first update, for before it programs compile; progress that falls begins another part
    first, before = (start, 0.0), float("inf")

    def update(done: float, total: float, note: str) -> None:
        nonlocal first, before, last
        now = time.monotonic()
        if done < before:
            first = (now, done)
        before = done
        if now - last < _PLAIN_SECONDS or not total:
            return
        last = now
        ending = ""
        if done > first[1]:
            ending = f", {duration((now - first[0]) * (total - done) / (done - first[1]))} left"
        say(f"{label}: {done:g} of {total:g} ({done / total:.0%}){ending}{', ' + note if note else ''}")

    yield update
    say(f"{label}: done in {duration(time.monotonic() - start)}")
