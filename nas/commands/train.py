"""`nas train`: a supernet for a data set."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from nas.commands.options import DEFAULT_DEVICE, Json, Seed, SpaceOptions, refuse_others
from nas.console import emit_json


def train(
    context: typer.Context,
    space: Annotated[str, typer.Argument(help="A search space (see `nas spaces`).", metavar="SPACE")],
    out: Annotated[Path, typer.Option("--out", help="Run folder; continued if it is there already.")],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="fashion-mnist-6k, a .npz file, an image folder, a .csv of paths, or a folder of Parquet files.",
        ),
    ] = "fashion-mnist-6k",
    size: Annotated[int | None, typer.Option("--size", help="Resize images to this many pixels.")] = None,
    validation: Annotated[
        int | None,
        typer.Option(
            "--validation", help="Training images kept for the search; a sixth by default, at most 1000.", min=1
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1)] = None,
    warm_epochs: Annotated[
        int | None, typer.Option("--warm-epochs", help="Of the largest network alone.", min=0)
    ] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=2)] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")] = None,
    random_subnets: Annotated[
        int | None, typer.Option("--random-subnets", help="Random subnets a step.", min=0)
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option("--weight-decay", help="Of kernels; 1e-4, or as --from.", min=0.0)
    ] = None,
    shift: Annotated[
        int | None, typer.Option("--shift", help="Largest random shift in pixels; 2, or as --from.", min=0)
    ] = None,
    skip_corrupt: Annotated[
        bool, typer.Option("--skip-corrupt", help="Leave out pictures that cannot be read (see `nas data check`).")
    ] = False,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--in-memory",
            help="Decode pictures as they are needed, or all at the start; by default streams from 4 GiB decoded.",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", help="Processes that decode streamed pictures; 0 for threads.", min=0)
    ] = 0,
    method: Annotated[
        str,
        typer.Option(
            "--method", help="sandwich, ofa, single_path, scratch (--arch), qfa (--from), proxyless or fbnet."
        ),
    ] = "sandwich",
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Run that --method qfa starts from: its weights, data and options."),
    ] = None,
    arch: Annotated[str, typer.Option("--arch", help="The network of --method scratch.")] = "",
    divergence: Annotated[str, typer.Option("--divergence", help="Of the sandwich: ce, or alpha (AlphaNet).")] = "ce",
    sampling: Annotated[
        str,
        typer.Option("--sampling", help="uniform; of the sandwich best or worst (AttentiveNAS); of single_path fair."),
    ] = "uniform",
    schedule: Annotated[str, typer.Option("--schedule", help="cosine, or exponential (BigNAS).")] = "cosine",
    precision: Annotated[str, typer.Option("--precision", help="fp32 or bf16.")] = "fp32",
    randaugment: Annotated[float, typer.Option("--randaugment", help="Magnitude 0 (off) to 10.")] = 0.0,
    mixup: Annotated[float, typer.Option("--mixup", help="Mixup's alpha.")] = 0.0,
    cutmix: Annotated[float, typer.Option("--cutmix", help="CutMix's alpha.")] = 0.0,
    ema: Annotated[float, typer.Option("--ema", help="Decay of an average of the weights.")] = 0.0,
    devices: Annotated[int | None, typer.Option("--devices", help="Accelerators to divide a batch over.")] = None,
    norm_groups: Annotated[
        int, typer.Option("--norm-groups", help="Groups of a batch normalised apart; one a device is fastest.", min=1)
    ] = 1,
    hosts: Annotated[
        str | None, typer.Option("--hosts", help="host:port,COUNT,INDEX of a training over several hosts, or auto.")
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", help="Of this host, an accelerator each, joined as hosts are.", min=1)
    ] = 1,
    device: Annotated[str, typer.Option("--device", help="Whose latency counts (proxyless, fbnet).")] = DEFAULT_DEVICE,
    table: Annotated[Path | None, typer.Option("--table", help="Its latency table, if not the default one.")] = None,
    reference_ms: Annotated[
        float | None, typer.Option("--reference-ms", help="Latency to aim at (proxyless, and target).")
    ] = None,
    gradient: Annotated[str, typer.Option("--gradient", help="Of proxyless: full_v2, two or reinforce.")] = "full_v2",
    latency_loss: Annotated[
        str | None, typer.Option("--latency-loss", help="add or mul (proxyless), mul (fbnet), or target, to hit it.")
    ] = None,
    option: SpaceOptions = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Train a supernet that holds every network of a space. Interrupted, it continues when run again.

    Classes, channels and image size of the space follow the data unless given with -o.

    proxyless and fbnet search while they train, for a space of layer choices and a device with a table.

    Example: nas train ofa_mbv3 --data cifar10/ --out runs/c10 -o width=0.5 --epochs 60
    """
    from nas.errors import UserError
    from nas.files import writable_folder
    from nas.hosts import join_hosts
    from nas.jax_setup import spare_autotuning
    from nas.lock import locked
    from nas.processes import joined, run_joined, without_option
    from nas.spaces import parse_options
    from nas.train_run import space_for, train_run
    from search_spaces import get_space
    from supernets.data import load_dataset

    options = parse_options(space, option or ())
    get_space(space, **options)  # refuses an unknown name before any work
    writable_folder(out)
    if method == "proxyless" and weight_decay is not None:
        raise UserError("--weight-decay does not go with --method proxyless, which has the paper's, 4e-5.")
    if processes > 1:
        _refuse_processes(method, devices, hosts)
        command = [sys.executable, "-m", "nas", *without_option(context.obj, "--processes")]
        raise typer.Exit(run_joined(joined(command, processes)))
    if method == "qfa" or source is not None:
        if method == "qfa":
            refuse_others(context, _OF_QFA, "--method qfa trains as the run of --from was trained, on one host")
        join_hosts(None)
        document = _quantised(
            space, out, source, method, devices,
            epochs=epochs, batch_size=batch_size, peak_lr=lr, random_subnets=random_subnets,
            weight_decay=weight_decay, shift=shift,
        )  # fmt: skip
        emit_json(document) if json else print(document["run"])
        return
    host = join_hosts(hosts)
    images = load_dataset(data, size=size, seed=seed, skip_corrupt=skip_corrupt, stream=stream)
    if shift is not None and images.streamed:
        raise UserError(f"--shift (={shift}) goes with pictures in memory; streamed ones are cropped at random sizes.")
    from supernets import TrainConfig
    from supernets.config import METHODS

    given: dict[str, object] = {
        "epochs": epochs,
        "warm_epochs": warm_epochs if warm_epochs is not None or epochs is None else epochs // 3,
        "batch_size": batch_size,
        "peak_lr": lr,
        "random_subnets": random_subnets,
        "weight_decay": weight_decay,
        "shift": shift,
    }
    differentiable = method in ("proxyless", "fbnet")
    if differentiable and hosts:
        raise UserError(f"--hosts goes with supernets, not with --method {method}; use --devices on one host.")
    if not differentiable and method not in METHODS:
        raise UserError(f"--method (={method!r}) must be one of: {', '.join(METHODS)}, proxyless, fbnet.")
    given |= {
        "method": "single_path" if differentiable else method,
        "arch": arch,
        "divergence": divergence,
        "sampling": sampling,
        "precision": precision,
        "schedule": schedule,
        "norm_groups": norm_groups,
        "randaugment": randaugment,
        "mixup": mixup,
        "cutmix": cutmix,
        "ema": ema,
    }
    config = TrainConfig(seed=seed, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    chosen = space_for(space, images, options)
    spare_autotuning()
    held_out = validation or max(1, min(1000, len(images.train_images) // 6))
    with locked(out, "nas train") if host == 0 else nullcontext():
        if differentiable:
            from nas.differentiable_run import Where, differentiable_run
            from supernets.search_config import fbnet_config, proxyless_config

            if reference_ms is None and (method == "proxyless" or latency_loss == "target"):
                how = "--latency-loss target" if method == "fbnet" else "--method proxyless"
                raise UserError(f"{how} needs the latency to aim at; add --reference-ms, e.g. 5.")
            if method == "fbnet" and latency_loss not in (None, "mul", "target"):
                raise UserError(f"--latency-loss (={latency_loss!r}) of --method fbnet must be mul or target.")
            updates = config.epochs * len(images.train_images) // config.batch_size // 5
            goal = reference_ms or 1.0
            wish = (
                fbnet_config(config, goal, updates=updates, loss=latency_loss or "mul")  # type: ignore[arg-type]
                if method == "fbnet"
                else proxyless_config(config, goal, updates=updates, gradient=gradient, loss=latency_loss or "add")  # type: ignore[arg-type]
            )
            where = Where(device, table)
            document = differentiable_run(
                out, chosen, images, data, wish, where,
                validation=held_out, size=size, skip_corrupt=skip_corrupt, devices=devices, workers=workers,
            )  # fmt: skip
        else:
            document = train_run(
                out, chosen, images, data, config,
                validation=held_out, size=size, skip_corrupt=skip_corrupt, devices=devices, workers=workers, host=host,
            )  # fmt: skip
    if host:
        return
    if json:
        emit_json(document)
        return
    print(document["run"])
    if differentiable:
        print(document["best"]["arch"])


def _refuse_processes(method: str, devices: int | None, hosts: str | None) -> None:
    from nas.errors import UserError

    if devices or hosts:
        raise UserError("--processes takes an accelerator each and joins them itself: leave out --devices and --hosts.")
    if method in ("qfa", "proxyless", "fbnet"):
        raise UserError(f"--processes goes with supernets, not with --method {method}; use --devices.")


_OF_QFA = {
    "space", "out", "source", "method", "epochs", "batch_size", "lr", "random_subnets", "weight_decay", "shift",
    "devices", "json",
}  # fmt: skip


def _quantised(
    space: str, out: Path, source: Path | None, method: str, devices: int | None, **given: float | None
) -> dict[str, Any]:
    """Fine-tunes a run's supernet so that its subnets are INT8."""
    from nas.errors import UserError
    from nas.lock import locked
    from nas.quantised import fine_tuning, quantise_run
    from nas.runs import Run
    from nas.spaces import is_named

    if source is None or method != "qfa":
        raise UserError("--method qfa fine-tunes the supernet of a run: it needs --from RUN, and --from needs it.")
    origin = Run.open(source)
    if not is_named(origin.space, space):
        raise UserError(
            f"SPACE (={space!r}) must be the space of {str(source)!r}, which is {origin.space.reference!r}."
        )
    if given["shift"] is not None and origin.config["data"].get("stream"):
        raise UserError(f"--shift (={given['shift']}) needs pictures in memory; those of {str(source)!r} are streamed.")
    config = fine_tuning(origin, {key: value for key, value in given.items() if value is not None})
    with locked(out, "nas train"):
        return quantise_run(out, source, config, devices=devices)
