"""Where a training's batches come from: images that live on the devices, or a stream of decoded files."""

from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from supernets.data.pictures import Pictures
from supernets.data.stream import Stream
from supernets.errors import TrainingError
from supernets.placement import Placement

Array = jax.Array
Images = np.ndarray | Pictures


class Batches(Protocol):
    """Batches by step, the same for the same seed and step.

    Attributes:
        per_epoch: Batches of an epoch; a rest that fills none is left out, another one every epoch.
    """

    per_epoch: int

    def __call__(self, step: int) -> tuple[Array, Array]:
        """Images uint8 `[batch, h, w, c]` and labels int32 `[batch]` of a step, on the devices."""

    def close(self) -> None:
        """Ends what works beside the training."""


def batches(
    images: Images, labels: np.ndarray, *, batch_size: int, seed: int, place: Placement, workers: int = 0, tag: int = 0
) -> Batches:
    """Batches of images in memory, or of pictures that are decoded as they are needed.

    Args:
        images: uint8 `[n, h, w, c]`, or pictures to stream.
        labels: int32 `[n]`.
        batch_size: Over all hosts.
        seed: Of the order, and of the crops of pictures.
        place: Where they go.
        workers: Processes that decode; 0 for threads of this one.
        tag: Tells apart what shares a seed.

    Raises:
        TrainingError: if there are fewer images than a batch.
    """
    if len(images) < batch_size:
        raise TrainingError(f"batch_size (={batch_size}) must not exceed the {len(images)} training images.")
    if isinstance(images, np.ndarray):
        return Resident(images, labels, batch_size, [seed, tag], place)
    return Streamed(Stream(images, labels, batch_size, (seed, tag), place.host, place.hosts, workers), place)


class Resident:
    """Images on every device; a batch is gathered there, so that a step sends its indices only."""

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, batch_size: int, seed: list[int], place: Placement
    ) -> None:
        self._images, self._labels = place.everywhere((jnp.asarray(images), jnp.asarray(labels)))
        self._n, self._size, self._seed, self._place = len(images), batch_size, seed, place
        self.per_epoch = len(images) // batch_size
        self._epoch, self._order = -1, np.empty(0, np.int32)

    def __call__(self, step: int) -> tuple[Array, Array]:
        """See `Batches`."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            order = np.random.default_rng([*self._seed, epoch]).permutation(self._n)
            self._epoch, self._order = epoch, order.astype(np.int32)
        chosen = self._order[place * self._size : (place + 1) * self._size]
        return _gather(self._images, self._labels, self._place.batch(chosen), self._place.divided)

    def close(self) -> None:
        """Nothing works beside the training."""


class Streamed:
    """A stream's batches, the next one on its way to the devices while a step runs."""

    def __init__(self, stream: Stream, place: Placement) -> None:
        self._stream, self._place, self.per_epoch = stream, place, stream.per_epoch
        self._next = -1
        self._ahead: Any = None

    def __call__(self, step: int) -> tuple[Array, Array]:
        """See `Batches`; a step other than the one after the last starts the stream anew there."""
        if step != self._next:
            self._stream.seek(step)
            self._ahead = self._read()
        found, self._next = self._ahead, step + 1
        self._ahead = self._read()
        return found

    def _read(self) -> Any:
        images, labels = next(self._stream)
        return self._place.part(images), self._place.part(labels)

    def close(self) -> None:
        """Ends the decoding."""
        self._stream.close()


@partial(jax.jit, static_argnames="sharding")
def _gather(images: Array, labels: Array, chosen: Array, sharding: Any) -> tuple[Array, Array]:
    found = images[chosen], labels[chosen]
    return found if sharding is None else jax.lax.with_sharding_constraint(found, sharding)
