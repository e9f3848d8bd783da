"""`nas quantize`: post-training quantisation of an exported file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nas.commands.options import DEFAULT_DEVICE, DeviceName, Json, Seed
from nas.console import emit_json, print_table
from nas.errors import UserError


def quantize(
    file: Annotated[Path, typer.Argument(help="An fp32 .onnx file that `nas export` wrote.", metavar="FILE")],
    data: Annotated[
        str | None, typer.Option("--data", help="Pictures, as for `nas train`; by default those of the file's run.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file to write; by default FILE with .int8.onnx.")
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="Ranges of activations: minmax, entropy or percentile.")
    ] = "minmax",
    percentile: Annotated[
        float, typer.Option("--percentile", help="Of the values that the method percentile keeps.")
    ] = 99.99,
    per_tensor: Annotated[
        bool, typer.Option("--per-tensor", help="One scale for a whole weight instead of one a channel.")
    ] = False,
    weight_bits: Annotated[
        int, typer.Option("--weight-bits", help="7: right on every CPU; 8: only with VNNI or the like.")
    ] = 7,
    images: Annotated[int, typer.Option("--images", help="Training images to calibrate on.", min=1)] = 256,
    each: Annotated[
        bool, typer.Option("--each", help="Also the accuracy with only one operator quantised, for each.")
    ] = False,
    floats: Annotated[
        str | None,
        typer.Option("--float", help="Operators that stay in float, by how their names begin, e.g. stem,stage0."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option("--budget", help="Mixed precision: keep this much of the fp32 accuracy, percent, e.g. 99.9."),
    ] = None,
    order: Annotated[
        str,
        typer.Option("--order", help="With --budget, what is quantised first: augmented, hessian or random."),
    ] = "augmented",
    device: DeviceName = DEFAULT_DEVICE,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Quantise an exported network to INT8 and show what every operator lost and gained.

    Calibrated on training images; accuracy before and after is that of the files on the test images.
    Beside the file: its card, and NAME.report.json with the table.

    With --budget only so many operators are quantised as keep that share of the accuracy on the validation
    images: the least sensitive first, or those that save the most time with the conversions counted; by the Hessian
    alone and, unless --order says otherwise, by what each costs beside those so found. The fastest file stays.

    Example: nas quantize runs/c10/export/knee.onnx --method percentile

    Example: nas quantize runs/c10/export/knee.onnx --float stem

    Example: nas quantize runs/c10/export/knee.onnx --budget 99.9
    """
    from latency_tables import Quantisation
    from nas.quantize_run import quantize_file, still_in_float

    how = Quantisation(method=method, percentile=percentile, per_channel=not per_tensor, weight_bits=weight_bits)
    if budget is not None:
        from nas.mixed_run import Wish, mix_file

        if each or floats:
            given = "--each" if each else "--float"
            raise UserError(f"{given} goes with plain quantisation; leave out --budget, or {given}.")
        wish, target = Wish(budget, order), out or file.with_suffix(".mixed.onnx")
        document = mix_file(file, data, device, how, wish, images=images, out=target, seed=seed)
        if json:
            emit_json(document)
        else:
            _print_mixed(document)
        return
    if order != "augmented":
        raise UserError("--order chooses operators for mixed precision; add --budget, e.g. 99.9.")
    target = out or file.with_suffix(".int8.onnx")
    kept = tuple(filter(None, (floats or "").split(",")))
    document = quantize_file(file, data, device, how, images=images, each=each, out=target, seed=seed, floats=kept)
    if json:
        emit_json(document)
        return
    _print(document, each)
    for line in still_in_float(document):
        print(f"still in float: {line}")


def _print(document: dict[str, Any], each: bool) -> None:
    columns = ["operator", "SQNR dB", "fp32 us", "int8 us", "times faster"]
    rows = []
    for row in document["operators"]:
        faster = row["fp32_ms"] / row["int8_ms"] if row["int8_ms"] else float("inf")
        cells = [row["name"], _decibel(row["sqnr_db"])]
        cells += [f"{1e3 * row['fp32_ms']:.1f}", f"{1e3 * row['int8_ms']:.1f}", f"{faster:.2f}"]
        if each:
            cells += [_decibel(row["alone"]["sqnr_db"]), f"{row['alone']['accuracy_change']:+.2f}"]
        rows.append(cells)
    if each:
        columns += ["alone: dB of the logits", "alone: accuracy, points"]
    print_table(f"{document['int8']['path']}, by operator", columns, rows)
    states = [document["fp32"], document["int8"]]
    print_table(
        f"On {document['test_images']} test images; {document['same_class']:.2f} % get the same class from both",
        ("file", "accuracy %", "ms median", "KiB"),
        [
            (s["path"], f"{s['accuracy']:.2f}", f"{s['latency_ms']['median']:.3f}", f"{s['file_bytes'] / 1024:.0f}")
            for s in states
        ],
    )


def _print_mixed(document: dict[str, Any]) -> None:
    rows = [
        (
            row["name"],
            row["precision"],
            "-" if document["order"] == "random" else f"{row['hessian']:.2e}",
            "-" if row["beside"] is None else f"{row['beside']:.2e}",
            f"{1e3 * row['fp32_ms']:.1f}",
            f"{1e3 * row['int8_ms']:.1f}",
        )
        for row in document["operators"]
    ]
    columns = ("operator", "precision", "by the Hessian", "beside others", "fp32 us", "int8 us")
    print_table(f"{document['mixed']['path']}, by operator; sensitivities in nats", columns, rows)
    print_table(
        f"On {document['test_images']} test images, measured in turns; {document['same_class']:.2f} % get the same "
        "class from the mixed file as from fp32",
        ("file", "accuracy %", "% of fp32's", "ms median", "KiB"),
        [
            (
                name,
                f"{document[name]['accuracy']:.2f}",
                f"{100 * document[name]['accuracy'] / document['fp32']['accuracy']:.2f}",
                f"{document[name]['latency_ms']['median']:.3f}",
                f"{document[name]['file_bytes'] / 1024:.0f}",
            )
            for name in ("fp32", "int8", "mixed")
        ],
    )
    times, each = document["candidates_ms"], document["conversions"]["each_ms"]
    print(f"By {document['chosen']}; {', '.join(f'{name}: {ms:.3f} ms' for name, ms in times.items())}.")
    print(f"A conversion between float and integers takes {1e3 * each:.1f} us beside what it takes a number.")
    ms = {name: document[name]["latency_ms"]["median"] for name in ("fp32", "mixed")}
    if all(row["precision"] == "fp32" for row in document["operators"]):
        print("No operator is on integers: none gains more than its conversions cost, within the budget. Ship fp32.")
    elif ms["mixed"] >= ms["fp32"]:
        print("The mixed file is no faster than fp32 here: conversions cost what integers save. Ship fp32.")


def _decibel(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f}"
