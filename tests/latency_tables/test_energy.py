"""Energy counters of a made-up powercap folder: packages only, wrap-around, and energy per call."""

import numpy as np
import pytest

from latency_tables import DeviceError, get_device
from latency_tables.energy import Zone, energy_zones, joules, measure_energy
from search_spaces import NetworkBuilder


def zone(folder, path, name, counter, largest=262_143_328_850):
    place = folder / path
    place.mkdir()
    (place / "name").write_text(f"{name}\n")
    (place / "max_energy_range_uj").write_text(f"{largest}\n")
    (place / "energy_uj").write_text(f"{counter}\n")
    return place


def test_packages_are_found_and_their_parts_are_not_counted_twice(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", 5)
    zone(tmp_path, "intel-rapl:0:0", "core", 3)
    zone(tmp_path, "intel-rapl:1", "package-1", 7)
    zone(tmp_path, "intel-rapl:2", "psys", 7)
    (zone(tmp_path, "intel-rapl:3", "package-2", 7) / "energy_uj").unlink()  # as where it may not be read
    assert [(z.name, z.read()) for z in energy_zones(tmp_path)] == [("package-0", 5), ("package-1", 7)]


def test_nothing_to_read_is_told(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DeviceError, match="No energy counter"):
            energy_zones(folder)


def test_a_counter_that_begins_again(tmp_path):
    zones = [Zone("package-0", tmp_path, 999_999_999), Zone("package-1", tmp_path, 999_999_999)]
    assert joules(zones, [1_000_000, 5], [3_500_000, 5]) == pytest.approx(2.5)
    assert joules(zones, [999_000_000, 0], [500_000, 0]) == pytest.approx(1.5)


def test_energy_of_a_call(tmp_path):
    """A clock that drives the counter at 10 W: power must come out, and energy a call is power x time a call."""
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 100) / "energy_uj"
    b = NetworkBuilder("small", in_channels=1, size=4)
    b.linear("classifier", b.global_pool("pool", b.conv("stem", b.image, 2)), 2)
    ticks = iter(np.arange(0, 100, 0.25))

    def clock():
        seconds = next(ticks)
        counter.write_text(str(100 + round(1e7 * seconds)))
        return float(seconds)

    found = measure_energy(b.build(), get_device("local-cpu-1t"), energy_zones(tmp_path), seconds=2.0, clock=clock)
    assert found.watts == pytest.approx(10) and found.calls == 7
    assert found.millijoules == pytest.approx(1e3 * 10 * 2.0 / 7)
    with pytest.raises(DeviceError, match="cannot be read here"):
        measure_energy(b.build(), get_device("ssh://a@b"), energy_zones(tmp_path))
