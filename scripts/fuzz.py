"""Feeds damaged files to everything that reads one: each must be read or refused in one line, never crash or hang.

    scripts/fuzz.py [--seconds 60] [--seed 0] [--only KIND] [--json]

A valid sample of every kind is damaged at random (bits, bytes, cuts, splices, numbers made huge) and read again.
A reader that changes a file elsewhere has failed too. Failures are kept in ./fuzz-failures, named after their kind
and number. Exits 1 if there are any.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from fuzz_samples import samples

HANG_SECONDS = 20
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink", "shutil.rmtree"}
_NASTY = (b"0", b"-1", b"1e999", b"NaN", b"null", b"{}", b"[]", b'""', b"99999999999999999999", b"\xff\xfe", b"../../x")


def main() -> None:
    """Runs the fuzzer, prints a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one kind of file")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = fuzz(Path(folder), given.seconds, given.seed, given.only)
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        for kind, row in found.items():
            print(f"{kind:18} {row['inputs']:7} inputs {row['refused']:7} refused {len(row['failures'])} failures")
            for failure in row["failures"][:3]:
                print(f"    {failure}")
    sys.exit(any(row["failures"] for row in found.values()))


def fuzz(
    folder: Path, seconds: float, seed: int, only: str | None = None, most: int | None = None
) -> dict[str, dict[str, Any]]:
    """Inputs tried, refused and failed by kind of file, each kind for its share of the time or `most` inputs."""
    from nas.__main__ import _user_errors

    kinds = {kind: value for kind, value in samples(folder).items() if only in (None, kind)}
    found = {}
    warnings.simplefilter("ignore")
    writes: list[str] = []
    sys.addaudithook(lambda event, arguments: _note_write(writes, event, arguments))
    signal.signal(signal.SIGALRM, _hang)
    for kind, (sample, read) in kinds.items():
        whole = sample.read_bytes()
        read(sample)  # a sample that is refused would prove nothing
        row: dict[str, Any] = {"inputs": 0, "refused": 0, "failures": []}
        chance = random.Random(f"{seed} {kind}")
        end = time.monotonic() + seconds / len(kinds)
        while time.monotonic() < end and row["inputs"] != most:
            data = damaged(whole, chance)
            sample.write_bytes(data)
            writes.clear()
            row["inputs"] += 1
            signal.alarm(HANG_SECONDS)
            try:
                read(sample)
            except _user_errors():  # the command line prints it on one line
                row["refused"] += 1
            except Exception as error:
                row["failures"].append(_kept(kind, row, data, type(error).__name__, error))
            finally:
                signal.alarm(0)
            if outside := [path for path in writes if not path.startswith(str(folder))]:
                row["failures"].append(_kept(kind, row, data, "wrote outside", ValueError(outside[0])))
        sample.write_bytes(whole)
        found[kind] = row
    return found


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A copy of `data` with one to four pieces of damage."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randint(0, max(0, len(out) - 1)), chance.randint(0, 16)
        match chance.randrange(6):
            case 0 if out:
                out[at] ^= 1 << chance.randrange(8)
            case 1:
                out[at : at + length] = chance.randbytes(length)
            case 2:
                del out[at:]
            case 3:
                out[at:at] = out[at : at + length] * chance.randint(1, 3)
            case 4:
                del out[at : at + length]
            case _:
                out[at : at + length] = chance.choice(_NASTY)
    return bytes(out)


def _note_write(writes: list[str], event: str, arguments: tuple[Any, ...]) -> None:
    """Keeps the path of whatever creates, changes or removes a file; an audit hook (PEP 578)."""
    opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if (opened or event in _CHANGES) and isinstance(arguments[0], str | bytes | os.PathLike):
        writes.append(os.fsdecode(arguments[0]))


def _kept(kind: str, row: dict[str, Any], data: bytes, what: str, error: BaseException) -> str:
    folder = Path("fuzz-failures")
    folder.mkdir(exist_ok=True)
    name = folder / f"{kind}-{row['inputs']}"
    name.write_bytes(data)
    return f"{name}: {what}: {' '.join(str(error).split())[:160]}"


def _hang(*_: object) -> None:
    raise TimeoutError(f"still reading after {HANG_SECONDS} s")


if __name__ == "__main__":
    main()
