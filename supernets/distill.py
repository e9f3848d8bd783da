"""Block-wise distillation of SpaceEvo (Wang et al., ICCV 2023): a stage of one block type learns a teacher's.

Every (stage, block type) is a small supernet between two projections to the teacher's feature maps. Each
step trains its largest, its smallest and random networks, first in single precision, then with LSQ+'s
rounding. How well a network of it then imitates the teacher stands for what it adds to accuracy.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple

import jax
import numpy as np

from search_spaces import Network, Space
from search_spaces.hyperspace import StageSpace
from supernets import masked
from supernets.config import TrainConfig
from supernets.errors import TrainingError
from supernets.first_steps import with_network_steps
from supernets.params import Array
from supernets.shared import init_networks
from supernets.update import Update

_EPSILON = 0.1  # of the mean variance, beside each variance: a channel that does not vary cannot rule the loss
Maps = tuple[Array, Array]  # what a teacher's stage reads and makes, [n, h, w, c] each
MapBatch = Callable[[int], Maps]  # by step


def nsr(student: Array, teacher: Array) -> Array:
    """Noise-to-signal ratio: mean over images and channels of mean_hw (x - y)^2 / var_hw(teacher).

    The variance is the teacher's; the released code passes the arguments the other way round, so that
    a student could lower its loss by varying more. Beside it stands a tenth of the mean variance.

    Args:
        student: Maps `[n, h, w, c]`.
        teacher: Likewise.
    """
    return _nsr(student, teacher, teacher)


def student_nsr(student: Array, teacher: Array) -> Array:
    """The same with the student's variance, as the release computes it."""
    return _nsr(student, teacher, student)


def mean_square(student: Array, teacher: Array) -> Array:
    """Mean squared error over the teacher's variance, one number for the whole batch."""
    return ((student - teacher) ** 2).mean() / (teacher.var() + 1e-12)


def _nsr(student: Array, teacher: Array, scale: Array) -> Array:
    noise = ((student - teacher) ** 2).mean(axis=(1, 2))
    signal = scale.var(axis=(1, 2))
    return (noise / (signal + _EPSILON * signal.mean() + 1e-12)).mean()


LOSSES: dict[str, masked.MapLoss] = {"nsr": nsr, "nsr_student": student_nsr, "mse": mean_square}


@dataclass(frozen=True)
class DistillConfig:
    """How a stage is distilled.

    Attributes:
        steps: In single precision.
        int8_steps: Then with rounding, at a tenth of the rate.
        batch_size: Images.
        peak_lr: Learning rate after warm-up; a cosine follows.
        random: Networks a step beside the largest and the smallest.
        rows: Networks judged at the end, for each pair of input and output width.
        judged: Images kept out of training that they are judged on, at most.
        loss: Of `LOSSES`.
        seed: Of every random choice.
    """

    steps: int = 2000
    int8_steps: int = 400
    batch_size: int = 64
    peak_lr: float = 0.05
    random: int = 2
    rows: int = 12
    judged: int = 1024
    loss: Literal["nsr", "nsr_student", "mse"] = "nsr"
    seed: int = 0

    def __post_init__(self) -> None:
        least_of = {"steps": 1, "int8_steps": 0, "batch_size": 2, "random": 0, "rows": 1, "judged": 2}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise TrainingError(f"{name} (={getattr(self, name)}) must be at least {least}.")
        if self.loss not in LOSSES:
            raise TrainingError(f"loss (={self.loss!r}) must be one of: {', '.join(LOSSES)}.")


class Distilled(NamedTuple):
    """What a stage of one block type reached.

    Attributes:
        archs: Genotypes of the networks judged, `[input widths, widths, rows, genes]`.
        losses: Their losses with rounding, `[input widths, widths, rows]`; without if there were no such steps.
        curve: Loss of the largest network at every step.
    """

    archs: np.ndarray
    losses: np.ndarray
    curve: np.ndarray


def distil(
    space: StageSpace,
    batch: MapBatch,
    held_out: Iterable[Maps],
    config: DistillConfig,
    on_step: Callable[[int, float], None] | None = None,
) -> Distilled:
    """Trains a stage of one block type and judges networks of every width on images that none was trained on.

    Batch norms use the moments of the batch, also at the end. Judged on images that were trained on, block types that
    learn them by heart would look best.

    Args:
        space: The stage.
        batch: Teacher's maps by step.
        held_out: Teacher's maps of the images that are judged on, in batches; asked for after training.
        config: How.
        on_step: Called with the number of steps done, and the loss of the largest network.

    Raises:
        TrainingError: if the loss stops being a number.
    """
    loss, superset = LOSSES[config.loss], space.superset
    networks = [superset, *kernels_in_turn(space)]
    params = init_networks(networks, config.seed)
    curve: list[float] = []
    pending: deque[Array] = deque()  # losses that the device may still be at

    def settle(ahead: int) -> None:
        while len(pending) > ahead:
            curve.append(float(pending.popleft()))
            if not np.isfinite(curve[-1]):
                where = f"{space.name}: the loss is {curve[-1]} at step {len(curve) - 1}"
                raise TrainingError(f"{where}; lower the learning rate.")
            if on_step:
                on_step(len(curve), curve[-1])

    start = 0
    for steps, share in ((config.steps, 1.0), (config.int8_steps, 0.1)):
        if not steps:
            break
        if start:
            x, _ = batch(0)
            some = (superset, space.network(space.smallest))
            params = with_network_steps(params, some, {x.shape[1]: x})
        method = TrainConfig(method="sandwich", peak_lr=share * config.peak_lr, batch_size=config.batch_size)
        update = Update(method, steps)
        state = update.fresh(method, params)
        for step in range(start, start + steps):
            x, target = batch(step)
            total = update.zeros(state.params)
            for network in _drawn(space, config, step):
                total, value = masked.gradient(state.params, total, superset, network, x, target, loss)
                if network is superset:
                    pending.append(value)
            state = update.run(state, total, 1.0)
            settle(ahead=1)  # the next step is handed over before this one is waited for
        settle(ahead=0)
        params, start = state.params, start + steps
    archs = judged_archs(space, config.rows, config.seed)
    judge = jax.jit(loss)
    networks = [space.network(a) for a in archs.reshape(-1, archs.shape[-1])]
    found = [[judge(masked.forward(params, superset, n, x), target) for n in networks] for x, target in held_out]
    return Distilled(archs, np.array(found).mean(axis=0).reshape(archs.shape[:-1]), np.array(curve))


def judged_archs(space: StageSpace, rows: int, seed: int) -> np.ndarray:
    """Genotypes of every pair of widths, the smallest and random ones: `[input widths, widths, rows, genes]`.

    They are of every size. Tight limits are kept by networks whose stages are all small, and a few uniform draws hold
    none of these.
    """
    rng = np.random.default_rng([seed, 1])
    before, after = space.cardinality[:2]
    found = space.sample_of_every_size(rng, int(before * after * rows)).reshape(before, after, rows, -1)
    found[:, :, 0] = space.smallest
    for i, j in product(range(before), range(after)):
        found[i, j, :, 0], found[i, j, :, 1] = i, j
    return found


def _drawn(space: StageSpace, config: DistillConfig, step: int) -> list[Network]:
    rng = np.random.default_rng([config.seed, 2, step])
    random = [space.network(x) for x in space.sample(rng, config.random)]
    return [space.superset, space.network(space.smallest), *random]


def kernels_in_turn(space: Space) -> list[Network]:
    """The largest networks with one kernel size throughout, the smallest first: together they have every size."""
    columns = [i for name, i in space.index.items() if name.endswith(".kernel")]
    networks = []
    for choice in range(int(space.cardinality[columns].max())):
        x = space.cardinality - 1
        x[columns] = np.minimum(choice, x[columns])
        networks.append(space.network(x))
    return networks
