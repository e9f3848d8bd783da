"""`Population`: passes of many networks in lockstep, for a GPU.

A network of a few hundred small operators is all launch overhead there. Here an operator of all
networks of a chunk is one call, of all passes at once: the maps of every pass lie in pools, which the
call updates in place.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from predictors.zero_cost.lanes import TABLE, State, compile_program, key_of, last, maps_kind, start, table_key, take
from predictors.zero_cost.levels import Step, lower
from predictors.zero_cost.lockstep import Call, Plan, plan
from predictors.zero_cost.machine import spec
from predictors.zero_cost.planes import Plane
from predictors.zero_cost.programs import Sums
from predictors.zero_cost.weights import kernel_shape
from search_spaces import Network, Operator
from search_spaces.operators import Shape

Array = jax.Array
_SHARE, _HOST_MEMORY = 0.7, 4e9  # of the device's memory for the pools; bytes where it does not say
_PROBE = 8  # networks
_AHEAD, _ROOM = 16, 1.05  # chunks that decide the sizes of the pools, with some room for those after them


class Population:
    """Runs planes over networks, a chunk at a time.

    Args:
        planes: The passes.
        threads: That compile at once.
        together: Networks of a chunk; by default what the memory of the device holds.
    """

    def __init__(self, planes: Sequence[Plane], *, threads: int, together: int | None = None) -> None:
        self.planes, self._together = tuple(planes), together
        self._pool = ThreadPoolExecutor(threads)
        self._programs: dict[tuple[str, Operator, int], Future[Any]] = {}
        self._specs: State = {}

    def run(self, networks: Sequence[Network]) -> Iterator[list[dict[str, Any]]]:
        """What the passes leave behind, chunk by chunk: of every network the results by plane.

        A plane gives "sums" or "flows" by operator's name, "image" (the last cotangent of the image), "code",
        "variances" and "last", as far as it makes them.
        """
        steps = lower(networks)
        image = (networks[0].in_channels, networks[0].size, networks[0].size)
        together = self._together or _fitting(self.planes, plan(steps[:_PROBE], (4, 4), image), len(steps[:_PROBE]))
        together = min(together, len(steps))
        lanes = max(1, together // 4), max(1, together // 2)
        chunks = [steps[start : start + together] for start in range(0, len(steps), together)]
        state = self._reserve([plan(chunk, lanes, image) for chunk in chunks[:_AHEAD]], together, {})
        waiting: tuple[Plan, State] | None = None
        for one in self._plans(chunks, lanes, image):
            if not self._holds([one], together):
                state = self._reserve([one], together, state)
            self._prepare(one)
            results = self._chunk(one, state)
            if waiting is not None:
                yield _entries(self.planes, *waiting)  # while the accelerator works on the next
            waiting = one, results
        if waiting is not None:
            yield _entries(self.planes, *waiting)

    def _plans(self, chunks: Iterable[list[list[Step]]], lanes: tuple[int, int], image: Shape) -> Iterator[Plan]:
        """Plans that the pools hold: a chunk that is too large for them is halved, as far as it goes."""
        for chunk in chunks:
            one = plan(chunk, lanes, image)
            if len(chunk) == 1 or self._holds([one], len(chunk)):
                yield one
            else:
                middle = len(chunk) // 2
                yield from self._plans((chunk[:middle], chunk[middle:]), lanes, image)

    def _holds(self, plans: Sequence[Plan], together: int) -> bool:
        needed = _specs(self.planes, plans, together)
        return needed.keys() <= self._specs.keys() and all(
            _length(needed[key]) <= _length(self._specs[key]) for key in needed
        )

    def _reserve(self, plans: Sequence[Plan], together: int, old: State) -> State:
        """Pools and tables for plans and others like them; what was compiled for smaller ones is lost."""
        old.clear()  # there is no room for both
        if not self._holds(plans, together):
            self._specs, self._programs = _specs(self.planes, plans, together, room=_ROOM), {}
        state = {key: jax.tree.map(_zeros, spec) for key, spec in self._specs.items()}
        for plane in self.planes:
            key = key_of(plane, maps_kind(plane), plans[0].image)
            image = plane.rows(tuple(part[None] for part in plane.image))
            state[key] = jax.tree.map(lambda pool, row: pool.at[0].set(row[0]), state[key], image)
        return state

    def _prepare(self, one: Plan) -> None:
        """Begins to compile every program of a plan, in the order in which they are needed."""
        wanted = [("forward", call.op, call.forward.shape[1]) for call in one.calls]
        if any(plane.end for plane in self.planes):
            wanted += [("backward", c.op, c.forward.shape[1]) for c in reversed(one.calls) if c.backward is not None]
        for key in dict.fromkeys(wanted):
            if key not in self._programs:
                self._programs[key] = self._pool.submit(compile_program, self.planes, self._specs, *key)

    def _chunk(self, one: Plan, state: State) -> State:
        """Dispatches a chunk's calls; its results, not yet computed."""
        for call in one.calls:
            self._call("forward", call, call.forward, state)
        results: State = {}
        for plane in self.planes:
            if plane.last is not None:
                results[f"{plane.name}/last"] = [
                    last(plane, shape, state[key_of(plane, "passing", shape)], np.array([slot], np.int32))
                    for shape, slot in one.last
                ]
            if plane.end is not None:
                shape = one.results[0][0]
                maps, ends = key_of(plane, "kept", shape), key_of(plane, "cotangents", shape)
                slots = np.array([slot for _, slot in one.results], dtype=np.int32)
                state[ends] = start(plane, shape, state[maps], state[ends], slots, one.ends)
        if any(plane.end for plane in self.planes):
            for call in reversed(one.calls):
                if call.backward is not None:
                    self._call("backward", call, call.backward, state)
        for key in [key for key in state if TABLE in key]:
            results[key], state[key] = state[key], _zeros(self._specs[key])
        for plane in self.planes:
            if plane.how is not None and plane.how.jacobian:
                image = key_of(plane, "cotangents", one.image)
                results[f"{plane.name}/image"] = take(plane, one.image, state[image], one.images)
        return results

    def _call(self, way: str, call: Call, index: np.ndarray, state: State) -> None:
        program, keys = self._programs[way, call.op, index.shape[1]].result()
        weighted = bool(kernel_shape(call.op))
        kernels = tuple(plane.initial.kernel(call.named) if weighted else (None, None) for plane in self.planes)
        state.update(program({key: state[key] for key in keys}, kernels, index))


# -- pools and tables --------------------------------------------------------------------------------


def _specs(planes: Sequence[Plane], plans: Sequence[Plan], networks: int, room: float = 1.0) -> State:
    """Shapes of the pools and tables that hold each of some plans, the number of slots and rows times `room`."""
    specs: State = {}
    rows = int(np.ceil(room * max(len(one.rows) for one in plans)))
    for plane in planes:
        for kind in ("passing",) if plane.end is None else ("kept", "products", "cotangents"):
            if kind == "products" and plane.how is None:
                continue
            count = plane.how.cotangents if kind == "cotangents" and plane.how is not None else None
            sizes = Counter[Shape]()
            for one in plans:
                sizes |= getattr(one, kind).size  # the larger of both
            for shape, size in sizes.items():
                specs[key_of(plane, kind, shape)] = plane.pool(int(np.ceil(room * size)), shape, count)
        tables: dict[str, tuple[int, ...]] = {}
        if plane.how is None:
            tables["flows"] = (rows,)
        else:
            batch = len(plane.image[0])
            if plane.end is not None and plane.how.weights:
                tables["sums"] = (rows, len(Sums._fields))
            if plane.how.codes:
                tables["code"] = (networks, batch, batch)
            if plane.how.variances:
                tables["variances"] = (rows,)
        specs |= {table_key(plane, name): spec(shape) for name, shape in tables.items()}
    return specs


def _length(spec: Any) -> int:
    return int(jax.tree.leaves(spec)[0].shape[0])


def _fitting(planes: Sequence[Plane], one: Plan, networks: int) -> int:
    """How many networks the device holds, judged by a few."""
    leaves = jax.tree.leaves(_specs(planes, [one], networks))
    each = sum(4 * np.prod(leaf.shape, dtype=np.float64) for leaf in leaves) / networks
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit", _HOST_MEMORY)
    return int(np.clip(_SHARE * limit / each, 4, 256))


def _zeros(spec: jax.ShapeDtypeStruct) -> Array:
    return jnp.zeros(spec.shape, spec.dtype)


# -- results -----------------------------------------------------------------------------------------


def _entries(planes: Sequence[Plane], one: Plan, results: State) -> list[dict[str, Any]]:
    """Results by network and plane, fetched."""
    results = jax.device_get(results)
    entries: list[dict[str, Any]] = [{plane.name: {} for plane in planes} for _ in one.results]
    for plane in planes:
        table = {name: results.get(table_key(plane, name)) for name in ("sums", "flows", "code", "variances")}
        for n, entry in enumerate(entries):
            found = entry[plane.name]
            found |= {name: {} for name in ("sums", "flows") if table[name] is not None}
            if table["variances"] is not None:
                found["variances"] = []
            for name in ("last", "image"):
                if f"{plane.name}/{name}" in results:
                    found[name] = results[f"{plane.name}/{name}"][n]
            if table["code"] is not None:
                found["code"] = table["code"][n]
        for r, row in enumerate(one.rows):
            found = entries[row.network][plane.name]
            if table["sums"] is not None and row.kernel and row.reached:
                found["sums"][row.name] = Sums(*table["sums"][r].tolist())
            if table["flows"] is not None and row.kernel and row.reached:
                found["flows"][row.name] = float(table["flows"][r])
            if table["variances"] is not None and row.norm:
                found["variances"].append(float(table["variances"][r]))
    return entries
