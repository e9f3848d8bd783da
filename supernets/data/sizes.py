"""Which data are kept in memory, and which are streamed."""

from supernets.data.errors import DataError
from supernets.data.images import Encoded, size_of

RESIDENT_BYTES = 4 << 30
"""Decoded images, training and test together, up to which a data set is kept in memory (and on the devices)."""


def streams(total: int, first: Encoded, *, size: int | None, wish: bool | None) -> bool:
    """Whether to stream: as wished, or else where the decoded images need more than `RESIDENT_BYTES`.

    Args:
        total: Pictures, training and test together.
        first: One of them; without a size, all are taken to be as large.
        size: Height and width to bring all to.
        wish: True or False, or None for the rule.

    Raises:
        DataError: if they are to be streamed and no size is given.
    """
    width, height = (size, size) if size is not None else size_of(first)
    needed = 3 * total * width * height
    if wish is None:
        wish = needed > RESIDENT_BYTES
    if wish and size is None:
        raise DataError(
            f"{total} pictures ({needed / 2**30:.1f} GiB decoded) are streamed, which needs the size to bring them to: "
            "pass one, for example 224."
        )
    return wish
