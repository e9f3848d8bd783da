"""The `nas` command. Each subcommand is a thin function in `nas.commands`; heavy packages load where they are used."""

import typer

from nas.commands.compare import compare
from nas.commands.data import data
from nas.commands.demo import demo
from nas.commands.describe import describe
from nas.commands.design_space import design_space
from nas.commands.doctor import doctor
from nas.commands.export import export
from nas.commands.listing import devices, spaces
from nas.commands.measure import measure
from nas.commands.profile import profile
from nas.commands.quantize import quantize
from nas.commands.report import report
from nas.commands.retrain import evaluate, retrain
from nas.commands.runs import runs
from nas.commands.score import score
from nas.commands.search import search
from nas.commands.train import train

app = typer.Typer(
    help="Find, for your data and your device, the most accurate network at every latency.",
    epilog="Start with: nas demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    spaces,
    describe,
    devices,
    profile,
    measure,
    score,
    design_space,
    train,
    search,
    export,
    quantize,
    report,
    compare,
    demo,
    doctor,
    retrain,
):
    app.command()(command)
app.command("eval")(evaluate)
app.add_typer(data, name="data")
app.add_typer(runs, name="runs")
