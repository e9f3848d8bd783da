"""Block-wise distillation of SpaceEvo (Wang et al., ICCV 2023): a stage of one block type learns a teacher's.

Every (stage, block type) is a small supernet between two projections to the teacher's feature maps. Each
step trains its largest, its smallest and random networks, first in single precision, then with LSQ+'s
rounding. How well a network of it then imitates the teacher stands for what it adds to accuracy.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from search_spaces import Network
from search_spaces.hyperspace import StageSpace
from supernets import masked
from supernets.chain import outputs
from supernets.config import TrainConfig
from supernets.errors import TrainingError
from supernets.first_steps import with_network_steps
from supernets.layers import Moments
from supernets.links import cut
from supernets.params import Array, Params
from supernets.shared import init_networks
from supernets.update import Update

_EPSILON = 0.1  # of the mean variance, beside each variance: a channel that does not vary cannot rule the loss
MapBatch = Callable[[int], tuple[Array, Array]]  # step -> what a teacher's stage reads and makes, [n, h, w, c] each


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
        loss: Of `LOSSES`.
        seed: Of every random choice.
    """

    steps: int = 2000
    int8_steps: int = 400
    batch_size: int = 64
    peak_lr: float = 0.05
    random: int = 2
    rows: int = 12
    loss: Literal["nsr", "nsr_student", "mse"] = "nsr"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("int8_steps", 0), ("batch_size", 2), ("random", 0), ("rows", 1)):
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
    space: StageSpace, batch: MapBatch, config: DistillConfig, on_step: Callable[[int, float], None] | None = None
) -> Distilled:
    """Trains a stage of one block type and judges networks of every width.

    Batch norms use the moments of the batch, also at the end, on images of a step that was not trained.

    Args:
        space: The stage.
        batch: Teacher's maps by step.
        config: How.
        on_step: Called with the number of steps done, and the loss of the largest network.

    Raises:
        TrainingError: if the loss stops being a number.
    """
    loss, superset = LOSSES[config.loss], space.superset
    networks = [superset, *(space.network(x) for x in _kernels_in_turn(space))]
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
            some = (superset, space.network(np.zeros_like(space.cardinality)))
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
    x, target = batch(start)
    judge = jax.jit(loss)
    flat = archs.reshape(-1, archs.shape[-1])
    values = [judge(masked.forward(params, superset, space.network(a), x), target) for a in flat]
    losses = np.array([float(value) for value in values]).reshape(archs.shape[:-1])
    return Distilled(archs, losses, np.array(curve))


def judged_archs(space: StageSpace, rows: int, seed: int) -> np.ndarray:
    """Random genotypes of every pair of widths, `[input widths, widths, rows, genes]`."""
    rng = np.random.default_rng([seed, 1])
    before, after = space.cardinality[:2]
    found = space.sample(rng, int(before * after * rows)).reshape(before, after, rows, -1)
    for i, j in product(range(before), range(after)):
        found[i, j, :, 0], found[i, j, :, 1] = i, j
    return found


def _drawn(space: StageSpace, config: DistillConfig, step: int) -> list[Network]:
    rng = np.random.default_rng([config.seed, 2, step])
    random = [space.network(x) for x in space.sample(rng, config.random)]
    return [space.superset, space.network(np.zeros_like(space.cardinality)), *random]


def _kernels_in_turn(space: StageSpace) -> list[np.ndarray]:
    """The largest networks with one kernel size throughout: together they have every filter size."""
    rows = []
    for choice in range(len(space.kind.kernels)):
        x = space.cardinality - 1
        x[[i for name, i in space.index.items() if name.endswith(".kernel")]] = choice
        rows.append(x)
    return rows


class Teacher:
    """A trained network cut where its maps have the sizes of a hyperspace's stages.

    Args:
        params: Its weights, or those of a supernet that holds it.
        network: The network.
        moments: Of its batch norms.
        sizes: Height and width of the map after each stage of the hyperspace, the size before the first one in front.

    Raises:
        TrainingError: if it has no maps of some size, or fewer blocks than there are stages there.
    """

    def __init__(self, params: Params, network: Network, moments: dict[str, Moments], sizes: tuple[int, ...]) -> None:
        self._params, self._network, self._moments = params, network, moments
        shapes = link_shapes(network)
        self._cuts = cut_points([size for _, size in shapes], sizes)
        self.channels = [shapes[i][0] for i in self._cuts]

    def __call__(self, images: Array, stage: int) -> tuple[Array, Array]:
        """What a stage, from 1, is given and what it shall make, from normalised images."""
        wanted = self._cuts[stage - 1 : stage + 1]
        found: list[Array] = []
        for i, x in enumerate(outputs(self._params, self._network, images, self._moments)):
            if i in wanted:
                found.append(x)
            if i == wanted[1]:
                break
        before, after = found
        return before.astype(jnp.float32), after.astype(jnp.float32)


def link_shapes(network: Network) -> list[tuple[int, int]]:
    """Channels and size of what each link makes; size 0 behind the blocks."""
    links = cut(network)
    shapes = [link.operators[-1].out_shape[:2] for link in links]
    return [*shapes[:-1], (shapes[-1][0], 0)]


def cut_points(have: list[int], want: tuple[int, ...]) -> list[int]:
    """Positions of links whose maps stand for those of the hyperspace's stages.

    Stages of one size share the teacher's blocks of that size as evenly as may be; before the first
    stage stands the last link of that size.

    Args:
        have: Size of the map after every link.
        want: Size before the first stage, then after each.
    """
    found = []
    for size in dict.fromkeys(want):
        links, stages = [i for i, s in enumerate(have) if s == size], want.count(size)
        if len(links) < stages:
            raise TrainingError(
                f"The teacher has {len(links)} blocks with maps of {size} px, the hyperspace has {stages} stages "
                "there; choose a teacher with the strides of the space, such as ofa_mbv3 with the same stem_stride."
            )
        found += [links[-(-len(links) * i // stages) - 1] for i in range(1, stages + 1)]
    return found
