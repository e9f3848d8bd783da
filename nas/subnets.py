"""Subnets of a run's supernet: recalibrated weights, accuracy through ONNX Runtime, outputs of Flax."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.jax_setup import spare_autotuning
from nas.onnx_eval import accuracy, logits
from nas.runs import Run
from nas.train_run import recorded_data, recorded_training
from search_spaces import Space

if TYPE_CHECKING:
    from search_spaces import Network
    from supernets import TrainConfig

CALIBRATION_IMAGES = 500
_TEST_CHUNK = 1000  # test images in memory at once


@dataclass(frozen=True)
class Evaluator:
    """Accuracy of subnets on validation images; what a worker gets, once.

    Attributes:
        space: Of the subnets.
        params: The supernet's weights.
        calibration: Training images for the batch norms, by resolution, augmented and normalised, NHWC.
        images: Validation images by resolution, NCHW.
        labels: Their classes.
    """

    space: Space
    params: dict[str, np.ndarray]
    calibration: dict[int, np.ndarray]
    images: dict[int, np.ndarray]
    labels: np.ndarray

    @cached_property
    def calibrator(self) -> Any:
        """Compiled at the first use."""
        from supernets import Calibrator

        return Calibrator(self.space, self.params)

    def weights(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Recalibrated weights of a genotype in the layouts of ONNX."""
        from supernets.extraction import export_weights, slice_weights

        network = self.space.network(x)
        return export_weights(slice_weights(self.params, network, self.calibrator(x, self.calibration[network.size])))

    def extracted(self, x: np.ndarray) -> tuple[Any, dict[str, Any]]:
        """The stand-alone Flax module of a genotype, recalibrated, and its weights by name."""
        from supernets import extract

        network = self.space.network(x)
        stats = self.calibrator(x, self.calibration[network.size])
        return extract(self.params, network, stats)

    def __call__(self, x: np.ndarray) -> float:
        """Accuracy in percent."""
        from latency_tables import onnx_model

        network = self.space.network(x)
        model = onnx_model(network, self.weights(x), batch=min(100, len(self.labels)))
        return accuracy(logits(model.SerializeToString(), self.images[network.size]), self.labels)


def image_sizes(space: Space) -> tuple[int, ...]:
    """The sizes of images that networks of a space take, pixels."""
    if "resolution" in space.index:
        return space.genes[space.index["resolution"]].choices
    return (space.network([0] * len(space.genes)).size,)


class Subnets:
    """A run opened for evaluation: its data, its weights.

    Args:
        run: The run.

    Raises:
        CheckpointError: if there are no weights.
        RunError: if the data is not what the supernet was trained on.
    """

    def __init__(self, run: Run) -> None:
        from supernets import load_params

        spare_autotuning()  # before JAX is first used: on a GPU, ten seconds a block of a quantised supernet
        self.run = run
        self.params = {k: np.asarray(v) for k, v in load_params(run.supernet, run.space).items()}
        self.data = recorded_data(run)
        self.split = self.data.split(run.config["data"]["validation"], run.config["seed"])

    def images(self, images: np.ndarray, size: int) -> np.ndarray:
        """Normalised images `[n, size, size, c]`."""
        from supernets.images import prepare

        return np.asarray(prepare(images, self.data.mean, self.data.std, size=size))

    def test_outputs(self, run: Callable[[np.ndarray], np.ndarray], size: int) -> np.ndarray:
        """What a function makes of all test images, given some of them at a time, normalised NCHW."""
        from supernets.images import nchw

        raw = self.data.test_images
        parts = (raw[i : i + _TEST_CHUNK] for i in range(0, len(raw), _TEST_CHUNK))
        return np.concatenate([run(nchw(self.images(part, size))) for part in parts])

    def seen_images(self, size: int, config: "TrainConfig | None" = None) -> np.ndarray:
        """Training images for batch norms, NHWC, augmented as in the training of the run, or in another."""
        from supernets.inputs import Recipe, seen_images

        images, data = self.split.train_images, self.data
        crops = not isinstance(images, np.ndarray)
        recipe = Recipe.of(config or recorded_training(self.run), data.mean, data.std, crops=crops)
        return seen_images(images, recipe, count=CALIBRATION_IMAGES, size=size)

    def trained_weights(
        self, params: "dict[str, Any]", network: "Network", config: "TrainConfig"
    ) -> dict[str, np.ndarray]:
        """Weights to export of a network trained on its own on the run's images, batch norms as in its training."""
        import jax.numpy as jnp

        from supernets import export_weights, slice_weights
        from supernets.calibrate import network_moments

        moments = network_moments(params, network, jnp.asarray(self.seen_images(network.size, config)))
        return export_weights(slice_weights(params, network, moments))

    def calibration_images(self, size: int) -> np.ndarray:
        """Training images for quantisation, NHWC, not augmented."""
        from supernets.inputs import some_images

        images = self.split.train_images
        return self.images(images[some_images(len(images), CALIBRATION_IMAGES, self.run.config["seed"])], size)

    def evaluator(self) -> Evaluator:
        """The part that workers need."""
        from supernets.images import nchw

        sizes = image_sizes(self.run.space)
        return Evaluator(
            self.run.space,
            self.params,
            {size: self.seen_images(size) for size in sizes},
            {size: nchw(self.images(self.split.validation_images, size)) for size in sizes},
            self.split.validation_labels,
        )


def flax_logits(module: Any) -> Callable[[np.ndarray], np.ndarray]:
    """From images `[n, c, h, w]` to the outputs `[n, classes]` of a stand-alone Flax module."""
    import jax
    from flax import nnx

    graph, state = nnx.split(module)
    run: Callable[..., Any] = jax.jit(lambda state, x: nnx.merge(graph, state)(x))

    def outputs(images: np.ndarray, batch: int = 250) -> np.ndarray:
        images = images.transpose(0, 2, 3, 1)
        parts = [np.asarray(run(state, images[i : i + batch])) for i in range(0, len(images), batch)]
        return np.concatenate(parts)

    return outputs
