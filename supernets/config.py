"""How a supernet is trained, as data."""

from dataclasses import dataclass
from typing import Literal, get_args

from supernets.errors import TrainingError

Method = Literal["sandwich", "ofa", "single_path", "scratch", "qfa"]
METHODS: tuple[str, ...] = get_args(Method)
SAMPLINGS = {"sandwich": ("uniform", "best", "worst"), "single_path": ("uniform", "fair")}  # others draw nothing else


@dataclass(frozen=True)
class TrainConfig:
    """How weights are trained; the defaults are those of the sandwich rule.

    Methods: "sandwich" trains the largest, the smallest and random subnets a step, with in-place
    distillation (BigNAS), after a warm-up of the largest alone; "ofa" shrinks progressively from a
    trained full network, which teaches (`supernets.schedule`); "single_path" trains random subnets
    on the labels; "scratch" trains one network; "qfa" is the sandwich rule for a supernet that rounds
    (`supernets.quantised`), from trained weights, which are largest and smallest from the first step.

    Attributes:
        epochs: Passes over the training images in all.
        warm_epochs: Of these, the first ones train the largest network alone; then hidden channels
            are sorted by importance.
        batch_size: Images a step.
        random_subnets: Random subnets a step, besides the largest and the smallest.
        peak_lr: Of SGD with Nesterov momentum; linear warm-up, then cosine to zero.
        momentum: Of SGD.
        weight_decay: On kernels only, not on norms, biases and transformation matrices.
        label_smoothing: For the largest network; the others learn from its outputs.
        dropout: Before the classifier, for the largest network.
        clip_norm: Largest norm of the gradient of a step, summed over its subnets.
        shift: Largest random shift in pixels.
        flip: Whether images are mirrored at random.
        seed: Of weights, order, augmentation and subnets.
        checkpoint_seconds: Time between checkpoints.
        method: See above.
        divergence: What the sandwich rule's subnets learn by from the largest: cross entropy ("ce"), or
            AlphaNet's adaptive alpha-divergence ("alpha").
        sampling: How random subnets are drawn: "uniform"; for the sandwich rule AttentiveNAS's "best" or "worst" of
            three of similar MACs, by their loss on the batch; for "single_path" FairNAS's "fair": every choice of
            a gene equally often in a step (Chu et al., ICCV 2021).
        distill: Weight of the teacher beside the labels, for "ofa" and retraining.
        precision: "fp32", or "bf16" for activations and products.
        randaugment: Magnitude of RandAugment, 0 (off) to 10.
        mixup: Parameter of mixup's beta distribution; 0 for none.
        cutmix: Of CutMix's; with both, each batch takes either.
        ema: Decay of an average of the weights, which is what is used then; 0 for none.
        arch: Text of the network for "scratch".
        norm_groups: Groups of a batch that are normalised apart (`supernets.groups`), so that several devices that
            hold one or more each exchange gradients only; 1 for the whole batch.
        schedule: "cosine", or "exponential" with a constant ending at 5 % of the rate (BigNAS).
    """

    epochs: int = 30
    warm_epochs: int = 10
    batch_size: int = 128
    random_subnets: int = 2
    peak_lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    dropout: float = 0.1
    clip_norm: float = 10.0
    shift: int = 2
    flip: bool = True
    seed: int = 0
    checkpoint_seconds: float = 60.0
    method: Method = "sandwich"
    divergence: Literal["ce", "alpha"] = "ce"
    sampling: Literal["uniform", "best", "worst", "fair"] = "uniform"
    distill: float = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    randaugment: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    ema: float = 0.0
    arch: str = ""
    schedule: Literal["cosine", "exponential"] = "cosine"
    norm_groups: int = 1

    def __post_init__(self) -> None:
        for name, value, least in (
            ("epochs", self.epochs, 1),
            ("warm_epochs", self.warm_epochs, 0),
            ("batch_size", self.batch_size, 2),
            ("random_subnets", self.random_subnets, 0),
            ("shift", self.shift, 0),
            ("seed", self.seed, 0),
            ("norm_groups", self.norm_groups, 1),
        ):
            if value < least:
                raise TrainingError(f"{name} (={value}) must be at least {least}.")
        if self.warm_epochs > self.epochs:
            raise TrainingError(f"warm_epochs (={self.warm_epochs}) must not exceed epochs (={self.epochs}).")
        if self.peak_lr <= 0 or self.clip_norm <= 0:
            raise TrainingError(f"peak_lr (={self.peak_lr}) and clip_norm (={self.clip_norm}) must be above 0.")
        for name, given, known in (
            ("method", self.method, METHODS),
            ("divergence", self.divergence, ("ce", "alpha")),
            ("sampling", self.sampling, SAMPLINGS.get(self.method, ("uniform",))),
            ("precision", self.precision, ("fp32", "bf16")),
            ("schedule", self.schedule, ("cosine", "exponential") if self.method != "ofa" else ("cosine",)),
        ):
            if given not in known:
                raise TrainingError(f"{name} (={given!r}) must be one of: {', '.join(known)}.")
        if (self.method == "scratch") != bool(self.arch):
            raise TrainingError(f"arch (={self.arch!r}) goes with method scratch, which needs it, not {self.method}.")
        if self.method == "qfa" and (self.warm_epochs or self.precision != "fp32"):
            raise TrainingError(
                f"method qfa starts from a trained supernet in fp32: warm_epochs (={self.warm_epochs}) must be 0 and "
                f"precision (={self.precision!r}) 'fp32'."
            )
        for name in ("mixup", "cutmix", "distill", "weight_decay"):
            if (amount := getattr(self, name)) < 0:
                raise TrainingError(f"{name} (={amount}) must not be negative.")
        if not 0 <= self.randaugment <= 10:
            raise TrainingError(f"randaugment (={self.randaugment}) must be from 0 to 10.")
        for name, share in (("dropout", self.dropout), ("label_smoothing", self.label_smoothing), ("ema", self.ema)):
            if not 0 <= share < 1:
                raise TrainingError(f"{name} (={share}) must be in [0, 1).")
