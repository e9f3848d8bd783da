"""How a supernet is trained, as data."""

from dataclasses import dataclass

from supernets.errors import TrainingError


@dataclass(frozen=True)
class TrainConfig:
    """Sandwich-rule training with in-place distillation (BigNAS) after a warm-up of the largest network.

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

    def __post_init__(self) -> None:
        for name, value, least in (
            ("epochs", self.epochs, 1),
            ("warm_epochs", self.warm_epochs, 0),
            ("batch_size", self.batch_size, 2),
            ("random_subnets", self.random_subnets, 0),
            ("shift", self.shift, 0),
            ("seed", self.seed, 0),
        ):
            if value < least:
                raise TrainingError(f"{name} (={value}) must be at least {least}.")
        if self.warm_epochs > self.epochs:
            raise TrainingError(f"warm_epochs (={self.warm_epochs}) must not exceed epochs (={self.epochs}).")
        if self.peak_lr <= 0 or self.clip_norm <= 0:
            raise TrainingError(f"peak_lr (={self.peak_lr}) and clip_norm (={self.clip_norm}) must be above 0.")
        for name, share in (("dropout", self.dropout), ("label_smoothing", self.label_smoothing)):
            if not 0 <= share < 1:
                raise TrainingError(f"{name} (={share}) must be in [0, 1).")
