"""How sure a share of images is."""

LEVEL = 0.95


def wilson(percent: float, images: int) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share of images, both in percent, at `LEVEL`.

    Args:
        percent: Of the images that were right.
        images: Their number, at least 1.

    Returns:
        The lower and the upper end in percent, within 0..100.
    """
    from scipy.stats import binomtest

    found = binomtest(round(percent / 100 * images), images).proportion_ci(LEVEL, method="wilson")
    return 100 * float(found.low), 100 * float(found.high)
