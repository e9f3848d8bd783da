"""Batches of pictures, decoded and cropped by grain in threads or processes while the training runs."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from supernets.data.errors import DataError
from supernets.data.order import epoch_order, lanes
from supernets.data.pictures import Pictures

_READ_AHEAD = 4  # batches


class Picks:
    """The pictures that a host sees, one after the other from the first step on: an index, and what seeds its crop.

    Random access, as grain's sources are: where a picture stands follows from seed and number alone,
    so that a stream may begin at any step, with any number of workers.
    """

    def __init__(
        self, blocks: np.ndarray, batch_size: int, seed: tuple[int, ...], host: int, hosts: int, first_step: int
    ) -> None:
        self._blocks, self._batch, self._seed = blocks, batch_size, seed
        self._lanes = lanes(batch_size, hosts)
        if self._lanes % hosts:
            raise DataError(f"batch_size (={batch_size}) must be a multiple of the {hosts} hosts that read its parts.")
        self._mine, self._host, self._first = batch_size // hosts, host, first_step
        self._per_epoch = len(blocks) // batch_size
        self._order = lru_cache(maxsize=2)(self._epoch)

    def __len__(self) -> int:
        return 1 << 48  # the training ends it

    def __getitem__(self, k: int) -> tuple[int, tuple[int, ...]]:
        step, place = divmod(k, self._mine)
        step, place = step + self._first, place + self._host * self._mine
        epoch, row = divmod(step, self._per_epoch)
        return int(self._order(epoch)[row, place]), (*self._seed, 7, step, place)

    def _epoch(self, epoch: int) -> np.ndarray:
        return epoch_order(self._blocks, batch_size=self._batch, lanes=self._lanes, seed=self._seed, epoch=epoch)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_order"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._order = lru_cache(maxsize=2)(self._epoch)


class Crop:
    """What is done to a pick: the picture decoded, a random part of it, its label."""

    def __init__(self, pictures: Pictures, labels: np.ndarray) -> None:
        self._pictures, self._labels = pictures, labels

    def __call__(self, pick: tuple[int, tuple[int, ...]]) -> tuple[np.ndarray, np.int32]:
        index, seed = pick
        return self._pictures.crop(index, np.random.default_rng(seed)), np.int32(self._labels[index])


class Stream:
    """An endless iterator of a host's parts of the batches, see `epoch_order`.

    Args:
        pictures: Of the training.
        labels: Their classes.
        batch_size: Over all hosts.
        seed: Of order and crops.
        host: Which this is, from 0.
        hosts: How many share a batch.
        workers: Processes; 0 for threads of this one.
    """

    def __init__(
        self,
        pictures: Pictures,
        labels: np.ndarray,
        batch_size: int,
        seed: tuple[int, ...],
        host: int = 0,
        hosts: int = 1,
        workers: int = 0,
    ) -> None:
        self._crop, self._blocks = Crop(pictures, labels), pictures.blocks
        self._picks = (batch_size, seed, host, hosts)
        self._mine, self._workers = batch_size // hosts, workers
        self.per_epoch = len(pictures) // batch_size
        self._iterator: Iterator[tuple[np.ndarray, np.ndarray]] | None = None

    def seek(self, step: int) -> None:
        """Makes the next batch that of a step."""
        import grain

        self.close()
        data = grain.MapDataset.source(Picks(self._blocks, *self._picks, step)).map(self._crop)
        reading = grain.ReadOptions(prefetch_buffer_size=_READ_AHEAD * self._mine)
        batches = data.to_iter_dataset(reading).batch(self._mine)
        if self._workers:
            batches = batches.mp_prefetch(grain.multiprocessing.MultiprocessingOptions(num_workers=self._workers))
        self._iterator = iter(batches)

    def __next__(self) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 `[batch / hosts, size, size, 3]` and labels int32.

        Raises:
            DataError: if a picture cannot be read; names it.
        """
        if self._iterator is None:
            self.seek(0)
        assert self._iterator is not None
        return next(self._iterator)

    def close(self) -> None:
        """Ends threads and processes."""
        if self._iterator is not None and hasattr(self._iterator, "close"):
            self._iterator.close()
        self._iterator = None
