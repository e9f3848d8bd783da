"""What `nas design-space` prints of a design."""

from typing import Any

from nas.console import print_table
from predictors.space_quality import BEST


def print_design(document: dict[str, Any]) -> None:
    """Prints the chosen block type and widths of every stage beside the best other type, and what was luck."""
    print_table(
        f"Designed for {document['device']}: score {document['score']:.4g}, {len(document['curve'])} spaces scored",
        ("stage", "block type", "widths", "best other type", "its score"),
        [
            (
                row["stage"],
                row["block"],
                ", ".join(map(str, row["widths"])),
                *_runner_up(row["blocks"], row["block"]),
            )
            for row in document["alternatives"]
        ],
    )
    for line in left_to_luck(document["limits"], document["goal"]["draws"]):
        print(line)


def left_to_luck(limits: list[dict[str, float]], draws: int) -> list[str]:
    """A line for each limit under which fewer networks were drawn than the score averages over.

    One that happens to be there counts almost as much as thousands (the penalty's exponent is 0.01), so that an
    evolution of thousands of spaces finds the luckiest.
    """
    counts = [(row["limit_ms"], round(row["share"] * draws)) for row in limits]
    return [
        f"Only {under} of the {draws} networks drawn from it are under {limit:g} ms: what it scores there is luck; "
        "give larger limits, or more --draws."
        for limit, under in counts
        if under < BEST
    ]


def _runner_up(scores: dict[str, float], chosen: str) -> tuple[str, str]:
    others = {name: score for name, score in scores.items() if name != chosen}
    if not others:
        return "-", "-"
    name = max(others, key=others.__getitem__)
    return name, f"{others[name]:.4g}"
