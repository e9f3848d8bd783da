"""`nas design-space`: a search space made for a device."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.commands.options import DEFAULT_DEVICE, DeviceName, Json, Seed, SpaceOptions, refuse_others
from nas.console import emit_json

if TYPE_CHECKING:
    from latency_tables import Device, LatencyTable
    from nas.runs import Run
    from search_spaces.hyperspace import Hyperspace


_OF_EARLIER = {
    "out", "device", "precision", "limits", "source", "spaces", "population", "tournament", "draws", "networks",
    "anchors", "table", "types", "compare_fp32", "option", "seed", "json",
}  # fmt: skip


def design_space(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="Folder to make, or to continue.")],
    device: DeviceName = DEFAULT_DEVICE,
    precision: Annotated[str, typer.Option("--precision", help="int8, int8-qoperator or fp32.")] = "int8",
    limits: Annotated[str, typer.Option("--limits", help="Latencies in ms that the networks are for.")] = "2,4,6,8",
    data: Annotated[
        str | None, typer.Option("--data", help="Pictures to train a teacher on, as for `nas train`.")
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option("--teacher", help="A run whose largest network teaches.", metavar="RUN")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="A finished design; its stages and anchors are taken, nothing is trained.", metavar="DESIGN"
        ),
    ] = None,
    types: Annotated[
        str | None,
        typer.Option(
            "--types",
            help="Block types allowed, e.g. mbv2,resnet,fused_mbconv_relu; by default the published six, or those "
            "of --from.",
        ),
    ] = None,
    teacher_epochs: Annotated[int, typer.Option("--teacher-epochs", help="Of the teacher.", min=1)] = 40,
    steps: Annotated[int, typer.Option("--steps", help="Distilling a stage in fp32.", min=1)] = 2000,
    int8_steps: Annotated[int, typer.Option("--int8-steps", help="Then with rounding.", min=0)] = 400,
    batch_size: Annotated[int, typer.Option("--batch-size", min=2)] = 64,
    lr: Annotated[float, typer.Option("--lr", help="Peak learning rate of distillation.")] = 0.05,
    loss: Annotated[str, typer.Option("--loss", help="nsr, nsr_student or mse.")] = "nsr",
    processes: Annotated[
        int, typer.Option("--processes", help="Stages and anchors at once; they take turns at this host's GPUs.", min=1)
    ] = 1,
    rows: Annotated[int, typer.Option("--rows", help="Networks judged for each pair of widths.", min=1)] = 12,
    judged: Annotated[
        int, typer.Option("--judged", help="Images they are judged on, of those the teacher's run kept out.", min=2)
    ] = 1024,
    anchors: Annotated[
        int | None,
        typer.Option(
            "--anchors",
            help="Epochs of networks trained to set block types against each other; 0: none. "
            "By default none, or those of --from.",
            min=0,
        ),
    ] = None,
    spaces: Annotated[int, typer.Option("--spaces", help="Scored by the evolution.", min=1)] = 5000,
    population: Annotated[int, typer.Option("--population", min=1)] = 500,
    tournament: Annotated[int, typer.Option("--tournament", min=1)] = 125,
    draws: Annotated[int, typer.Option("--draws", help="Networks drawn for a space's score.", min=100)] = 100_000,
    networks: Annotated[int, typer.Option("--networks", help="Random networks timed whole, a table.", min=8)] = 192,
    table: Annotated[
        Path | None, typer.Option("--table", help="Latency table of the hyperspace, of an earlier --out.")
    ] = None,
    compare_fp32: Annotated[
        bool, typer.Option("--compare-fp32/--no-compare-fp32", help="Measure fp32 too, for each block's speed-up.")
    ] = True,
    option: SpaceOptions = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Design a search space for a device (SpaceEvo). Interrupted, it continues when run again.

    Measures all blocks of the hyperspace, lets each imitate a teacher, and evolves the choice of blocks and
    widths. OUT is then a SPACE for the other commands; OUT/design.html shows why it is what it is.

    Example: nas design-space --device local-cpu-1t --limits 2,4,6,8 --teacher runs/c10 --out designed

    Example: nas design-space --data cifar10/ --limits 0.5,1,2 -o width=0.5 --out small

    For INT8 and few classes, -o activation=relu -o features=0 leaves out HardSwish of stem and head and the layer
    before the classifier; for small pictures, -o strides=212121 keeps the maps of the middle stages larger.

    Example: nas design-space --from designed --device local-cpu-4t --limits 1,2,4 --out other

    Then: nas train designed --data cifar10/ --out runs/designed
    """
    from nas.design.evolution import EvolutionConfig
    from nas.design.page import write_page
    from nas.design.reuse import earlier_design
    from nas.design.run import begin, design_space, in_precision
    from nas.design.scoring import Goal
    from nas.design.summary import print_design
    from nas.design.teaching import check_teacher
    from nas.errors import UserError
    from nas.jax_setup import spare_autotuning
    from nas.lock import locked
    from nas.spaces import parse_options
    from supernets.distill import DistillConfig

    if [data, teacher, source].count(None) != 2:
        raise UserError("Give one of --data, to train a teacher, --teacher RUN, and --from DESIGN.")
    if source is not None:
        refuse_others(context, _OF_EARLIER, f"--from {source} distils nothing and trains no anchors")
        if source.resolve() == out.resolve():
            raise UserError(f"--out (={out}) must be another folder than --from; without --from it is continued.")
        if anchors:
            raise UserError(f"--anchors (={anchors}) must be 0 beside --from, or left out to take those of {source}.")
    try:
        goal = Goal(tuple(float(limit) for limit in limits.split(",")), draws=draws)
    except ValueError as error:
        raise UserError(f"--limits (={limits!r}) must be numbers joined by commas, e.g. 2,4,6,8.") from error
    from latency_tables import get_device
    from latency_tables.devices import PRECISIONS

    if precision not in PRECISIONS:
        raise UserError(f"--precision (={precision!r}) must be one of: {', '.join(PRECISIONS)}.")
    target = in_precision(get_device(device), precision)
    spare_autotuning()
    if processes > 1:  # the teacher's training must leave them room
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    how = DistillConfig(
        steps=steps,
        int8_steps=int8_steps if precision.startswith("int8") else 0,
        batch_size=batch_size,
        peak_lr=lr,
        rows=rows,
        judged=judged,
        loss=loss,  # type: ignore[arg-type]
        seed=seed,
    )
    evolution = EvolutionConfig(spaces, population, tournament, seed)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out, "nas design-space"):
        if source is not None:
            given = parse_options("spaceevo", option or [])
            earlier = earlier_design(source, given, _kinds(types), int8=precision.startswith("int8"))
            earlier = replace(earlier, anchors=None) if anchors == 0 else earlier
            earlier.copy_stages(out / "blocks")
            origin, hyper, how = earlier.teacher, earlier.hyper, earlier.distillation
        else:
            run, earlier = _teacher(out, data, teacher, option or [], teacher_epochs, seed), None
            origin, hyper = run.folder, _hyperspace(run, option or [], types)
            check_teacher(run, hyper)
        begin(out, origin, hyper, how)  # refuses other options before an hour of measuring
        tables = _tables(out, hyper, target, table, networks, seed, compare=compare_fp32 and precision != "fp32")
        document = design_space(out, origin, hyper, tables, goal, how, evolution, processes, anchors or 0, earlier)
        page = write_page(out, document)
    if json:
        emit_json(document | {"report": str(page)})
        return
    print_design(document)
    print(f"{page}\n{out}")


def _teacher(out: Path, data: str | None, run: Path | None, options: list[str], epochs: int, seed: int) -> "Run":
    """The run that teaches; the largest network of a teacher's space, trained here, where none is given."""
    from nas.design.teaching import teachers_space
    from nas.runs import Run
    from nas.spaces import parse_options
    from nas.train_run import train_run
    from supernets import TrainConfig
    from supernets.data import load_dataset

    if run is not None:
        return Run.open(run)
    assert data is not None
    images = load_dataset(data, seed=seed)
    space = teachers_space(images, parse_options("spaceevo", options))
    arch = space.to_text(space.largest)
    config = TrainConfig(method="scratch", arch=arch, epochs=epochs, warm_epochs=0, seed=seed)
    held_out = max(1, min(1000, len(images.train_images) // 6))
    train_run(out / "teacher", space, images, data, config, validation=held_out, size=None)
    return Run.open(out / "teacher")


def _hyperspace(run: "Run", options: list[str], types: str | None) -> "Hyperspace":
    """Spaces for the teacher's classes, colours and largest picture, unless options say otherwise."""
    from nas.errors import UserError
    from nas.spaces import parse_options
    from nas.subnets import image_sizes
    from search_spaces import get_space
    from search_spaces.hyperspace import Hyperspace
    from search_spaces.spaceevo_blocks import PUBLISHED

    given = parse_options("spaceevo", options)
    if wrong := {"blocks", "windows"} & given.keys():
        raise UserError(f"-o {min(wrong)}: is what is designed; leave it out.")
    of_the_teacher = ("num_classes", "in_channels", "stem_stride", "strides")
    known = {k: v for k, v in run.space.options.items() if k in of_the_teacher}
    made = get_space("spaceevo", **({"resolutions": max(image_sizes(run.space))} | known | given)).options
    kept = {k: v for k, v in made.items() if k not in ("blocks", "windows", "resolutions")}
    sizes: tuple[int, ...] = tuple(made["resolutions"])  # type: ignore[arg-type]
    return Hyperspace(types=_kinds(types) or PUBLISHED, resolutions=sizes, **kept)  # type: ignore[arg-type]


def _kinds(types: str | None) -> tuple[int, ...] | None:
    """Positions of named block types; None where none is named."""
    from nas.errors import UserError
    from search_spaces.spaceevo_blocks import KINDS

    if types is None:
        return None
    wanted = list(dict.fromkeys(types.split(",")))
    if unknown := [name for name in wanted if name not in KINDS]:
        raise UserError(f"--types: {unknown[0]!r} is no block type; choose out of: {', '.join(KINDS)}.")
    return tuple(sorted(KINDS[name] for name in wanted))


def _tables(
    out: Path, hyper: "Hyperspace", device: "Device", given: Path | None, networks: int, seed: int, *, compare: bool
) -> "tuple[LatencyTable, LatencyTable | None]":
    """Latencies in the wanted precision and, to compare, in fp32; measured unless they are there."""
    from latency_tables import LatencyTable
    from nas.commands.profile import measure_table
    from nas.design.profiling import hyper_study
    from nas.design.run import in_precision

    def measured(target: "Device") -> "LatencyTable":
        study = hyper_study(hyper, target, timed=networks, seed=seed)
        return measure_table(study, out / "tables" / f"{target.name}.parquet")

    if given is None:
        first = measured(device)
    else:
        first = LatencyTable.read(given)
        first.check_device(device)
    return first, measured(in_precision(device, "fp32")) if compare else None
