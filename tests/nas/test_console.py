"""Plain progress lines, of a clock that is ours."""

from types import SimpleNamespace

from nas import console


def test_time_left_is_that_of_the_part_that_runs(monkeypatch, capsys):
    """Ten steps of a minute each; then a part of four steps of ten minutes, which knows nothing of the first."""
    now = 0.0
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(console.sys.stderr, "isatty", lambda: False, raising=False)
    with console.progress("work") as update:
        now = 600.0  # compiling
        for i in range(1, 11):
            now += 60
            update(i, 10, "first")
        for i in range(1, 4):
            now += 600
            update(i, 4, "second")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "work: 1 of 10 (10%), first"  # nothing is known of its pace yet
    assert lines[4] == "work: 5 of 10 (50%), 5 min 00 s left, first"
    assert lines[10:13] == [
        "work: 1 of 4 (25%), second",
        "work: 2 of 4 (50%), 20 min 00 s left, second",
        "work: 3 of 4 (75%), 10 min 00 s left, second",
    ]
