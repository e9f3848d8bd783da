"""The layers: which package may import what, and that importing a light one stays fast."""

import ast
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {"search_spaces", "supernets", "latency_tables", "predictors", "nas"}

ALLOWED = {
    "search_spaces": set(),
    "supernets": {"search_spaces"},
    "latency_tables": {"search_spaces"},
    "predictors": {"search_spaces", "supernets", "latency_tables"},
    "nas": OURS - {"nas"},
}

# None: anything that nas does not keep for itself.
THIRD_PARTY: dict[str, set[str] | None] = {
    "search_spaces": {"numpy"},
    "supernets": {"numpy", "jax", "flax", "optax", "orbax", "grain", "PIL", "pyarrow"},
    "latency_tables": {"numpy", "pandas", "pyarrow", "onnx", "onnxruntime", "ml_dtypes", "PIL"},
    "predictors": None,
    "nas": None,
}
ONLY_IN_NAS = {"ray", "optuna", "typer"}
LAZY = ("jax", "flax", "ray", "optuna", "pandas", "pyarrow", "onnx", "onnxruntime", "matplotlib", "sklearn")


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """Yields the top-level module and the line of every import in a file, the ones inside functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom):
            yield ("." * node.level + (node.module or "")).partition(".")[0] or ".", node.lineno


def broken(package: str) -> Iterator[str]:
    """Yields one line for every import that the package may not have."""
    third_party = THIRD_PARTY[package]
    for file in sorted((ROOT / package).rglob("*.py")):
        for module, line in imports(file):
            if module in OURS:
                wrong = module != package and module not in ALLOWED[package]
            elif module in sys.stdlib_module_names:
                wrong = False
            elif third_party is not None:
                wrong = module not in third_party
            else:
                wrong = module == "." or (module in ONLY_IN_NAS and package != "nas")
            if wrong:
                yield f"{file.relative_to(ROOT)}:{line} imports {module}"


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_down(package: str) -> None:
    assert (ROOT / package / "__init__.py").is_file()
    assert list(broken(package)) == []


def test_the_walk_sees_every_kind_of_import(tmp_path: Path) -> None:
    file = tmp_path / "sample.py"
    file.write_text("import a.b\nfrom c.d import e\nfrom . import f\ndef g():\n    import h, i\n", encoding="utf-8")
    assert [module for module, _ in imports(file)] == ["a", "c", ".", "h", "i"]


def python(code: str) -> str:
    """Runs code in a fresh interpreter and returns what it prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def children_seconds() -> float:
    """Processor time of the processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def best_seconds(*command: str, tries: int = 5, enough: float = 0.0) -> float:
    """Returns the shortest processor time of a command; stops early at one below `enough`.

    Processor time is what the code costs; wall time is also what the rest of the machine was doing. The first
    call caches byte code, as a person's first call does.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    best = float("inf")
    for _ in range(tries):
        start = children_seconds()
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        best = min(best, children_seconds() - start)
        assert done.returncode == 0, done.stderr
        if best < enough:
            break
    return best


def test_search_spaces_imports_fast() -> None:
    # The time to start Python itself is in it, as it is in what a person waits for. A machine on which
    # NumPy alone takes half as long has its own measure.
    limit = max(0.2, 2.0 * best_seconds(sys.executable, "-c", "import numpy"))
    assert best_seconds(sys.executable, "-c", "import search_spaces", enough=limit) < limit


def test_help_is_fast() -> None:
    nas = Path(sys.executable).with_name("nas")
    command = [str(nas)] if nas.is_file() else [sys.executable, "-m", "nas"]
    limit = max(0.5, 4.0 * best_seconds(sys.executable, "-c", "import numpy"))
    assert best_seconds(*command, "--help", tries=8, enough=limit) < limit


@pytest.mark.parametrize("module", ["search_spaces", "nas.cli", "supernets.data"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    loaded = python(f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))")
    assert set(loaded.split()) & set(LAZY) == set()
