"""`nas quantize`: post-training quantisation of an exported file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nas.commands.options import DEFAULT_DEVICE, DeviceName, Json, Seed
from nas.console import emit_json, print_table


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
    device: DeviceName = DEFAULT_DEVICE,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Quantise an exported network to INT8 and show what every operator lost and gained.

    Calibrated on training images; accuracy before and after is that of the files on the test images.
    Beside the file: its card, and NAME.report.json with the table.

    Example: nas quantize runs/c10/export/knee.onnx --method percentile
    """
    from latency_tables import Quantisation
    from nas.quantize_run import in_float, quantize_file

    how = Quantisation(method=method, percentile=percentile, per_channel=not per_tensor, weight_bits=weight_bits)
    target = out or file.with_suffix(".int8.onnx")
    document = quantize_file(file, data, device, how, images=images, each=each, out=target, seed=seed)
    if json:
        emit_json(document)
        return
    _print(document, each)
    for line in in_float(document):
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


def _decibel(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f}"
