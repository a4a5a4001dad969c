"""What a compiled program does, read from its text: kernels, the bytes they move, their products.

XLA prints an optimized program as computations of instructions, one a line:

    %fusion.3 = f32[50,589824]{1,0} fusion(%slot, %steps, %s), kind=kLoop, calls=%fused.3

Every fusion, library call, copy, collective that stands in the entry computation, or in a loop
that it calls, is a kernel (or a few, inside a library). A kernel moves its result and each of its
operands once, but for what it only reads or writes a part of: of an operand that is nothing but
sliced the slices count, and of an update in place what is put there. These are the rules of XLA's
own HloCostAnalysis, which XLA:GPU does not offer for a compiled program.

What counts is what the device's memory sees. A TPU's program says of every array in which tiles it
lies, `{3,0,2,1:T(8,128)}`, to which its innermost axes are padded, and with `S(1)` that it lies on
the chip, where reading it costs next to nothing; HloCostAnalysis counts that as well.
"""

import math
import re
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

BYTES = {
    "pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "s32": 4, "u32": 4, "s64": 8, "u64": 8,
    "f8e4m3fn": 1, "f8e5m2": 1, "bf16": 2, "f16": 2, "f32": 4, "f64": 8, "c64": 8, "c128": 16,
}  # fmt: skip
# Names for what is in memory already, and for control: nothing moves.
FREE = frozenset((
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "opt-barrier",
    "optimization-barrier", "after-all", "partition-id", "replica-id",
))  # fmt: skip
# Library calls that are names as well.
FREE_CALLS = frozenset(("ConcatBitcast", "AssumeGatherIndicesInBound"))
LOOPS = frozenset(("while", "call", "conditional"))
SLICES = frozenset(("slice", "dynamic-slice", "gather"))
UPDATES = {"dynamic-update-slice": 1, "scatter": 2}  # which operand is put there
COLLECTIVES = (
    "all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all",
)  # fmt: skip

_ARRAY = re.compile(r"(\w+)\[([\d,]*)\](?:\{([^}]*)\})?")
_NAME = re.compile(r"%([\w.\-]+)")
_HEAD = re.compile(r"^(ENTRY )?%([\w.\-]+) \(.*\{$")
_LINE = re.compile(r"^\s+(ROOT )?%([\w.\-]+) = (.*)$")


class Instruction(NamedTuple):
    """One line of a computation.

    Attributes:
        shape: as printed; a tuple's in parentheses.
        operands: their names.
        attributes: the rest of the line.
    """

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    attributes: str
    is_root: bool

    @property
    def bytes(self) -> int:
        """Of the result, or of all results together, in the device's memory."""
        return sum(bytes_of(self.shape))

    def attribute(self, name: str) -> str | None:
        """What stands after `name=`: a word, or what is between braces or quotes."""
        found = re.search(rf'\b{name}=(?:\{{([^}}]*)\}}|"([^"]*)"|%?([\w.\->]+))', self.attributes)
        return next(group for group in found.groups() if group is not None) if found else None


class Kernel(NamedTuple):
    """What runs as one.

    Attributes:
        name: XLA's.
        source: the operation of the traced program that it comes from.
        bytes: that it moves, once.
        flops: of its matrix products and convolutions, once; not of element-wise arithmetic.
        precision: that these are taken in: "float32", "tf32", "bfloat16"; "" where there are none.
        runs: how often it runs in one call of the program.
        collective: what it does where it speaks to other devices, such as "all-reduce"; else "".
        received: bytes from them.
    """

    name: str
    source: str
    bytes: int
    flops: float
    precision: str
    runs: int
    collective: str = ""
    received: float = 0.0


class ProgramText:
    """The text of a compiled program, parsed."""

    def __init__(self, text: str):
        """Parse what `jax.stages.Compiled.as_text` returns."""
        self.computations: dict[str, dict[str, Instruction]] = {}
        self.entry = ""
        current: dict[str, Instruction] = {}
        for line in text.splitlines():
            if head := _HEAD.match(line):
                current = self.computations.setdefault(head[2], {})
                self.entry = head[2] if head[1] else self.entry
            elif found := _LINE.match(line):
                instruction = _parse(found[2], found[3], bool(found[1]))
                current[instruction.name] = instruction

    @cached_property
    def kernels(self) -> tuple[Kernel, ...]:
        """Of one call of the program, in the order they are scheduled."""
        return tuple(self._kernels_of(self.entry, 1))

    def _kernels_of(self, computation: str, count: int) -> Iterator[Kernel]:
        table = self.computations[computation]
        for one in table.values():
            if one.opcode in FREE or one.opcode.endswith("-done"):
                continue
            if one.attribute("custom_call_target") in FREE_CALLS:
                continue
            if one.opcode in LOOPS:
                trips = self._trips(one)
                for called in self._called(one):
                    yield from self._kernels_of(called, count * trips)
                continue
            flops, precision = self._products(one, table)
            source = one.attribute("op_name") or ""
            opcode = one.opcode.removesuffix("-start")
            collective = opcode if opcode in COLLECTIVES else ""
            moved = self._traffic(one, table)
            received = _received(one) if collective else 0.0
            yield Kernel(one.name, source, moved, flops, precision, count, collective, received)

    def _trips(self, one: Instruction) -> int:
        """How often a loop goes round; where it does not say, as its condition does: i < 16."""
        if found := re.search(r'known_trip_count":\{"n":"(\d+)"', one.attributes):
            return int(found[1])
        condition = self.computations.get(one.attribute("condition") or "", {})
        for each in condition.values():
            if each.is_root and each.attribute("direction") == "LT":
                operands = (condition[name] for name in each.operands if name in condition)
                limits = (operand.attribute("constant") for operand in operands)
                return next((int(limit) for limit in limits if limit), 1)
        return 1

    def _called(self, one: Instruction) -> list[str]:
        """The computations that an instruction runs; of a loop its body."""
        names = [one.attribute(key) for key in ("body", "to_apply", "calls")]
        branches = _NAME.findall(one.attribute("branch_computations") or "")
        return [name for name in (*names, *branches) if name in self.computations]

    def _traffic(self, one: Instruction, table: dict[str, Instruction]) -> int:
        """Bytes of the result and of each operand, once."""
        inside = self.computations.get(one.attribute("calls") or "", {})
        if one.opcode != "fusion" or not inside:
            alone = {name: table[name] for name in one.operands if name in table}
            return _moved_alone(one, alone)
        inputs = sorted(
            (each for each in inside.values() if each.opcode == "parameter"),
            key=lambda each: int(each.attribute("parameter") or 0),
        )
        # Two operands may be one array.
        read: dict[str, int] = {}
        for name, parameter in zip(one.operands, inputs, strict=False):
            whole = table[name].bytes if name in table else parameter.bytes
            read[name] = max(read.get(name, 0), min(whole, _bytes_read(parameter, inside)))
        return sum(read.values()) + _bytes_written(inside)

    def _products(self, one: Instruction, table: dict[str, Instruction]) -> tuple[float, str]:
        """FLOPs of the products in an instruction, and their precision."""
        if one.opcode == "fusion":
            inside = self.computations.get(one.attribute("calls") or "", {})
            each = [self._products(inner, inside) for inner in inside.values()]
            return sum(flops for flops, _ in each), next((p for _, p in each if p), "")
        if one.opcode == "dot":
            left = arrays_of(table[one.operands[0]].shape)[0]
            contracted = (one.attribute("lhs_contracting_dims") or "").split(",")
            length = math.prod(left[1][int(axis)] for axis in contracted if axis)
            return 2.0 * length * _count(one.shape), _precision(one, left[0])
        if one.opcode == "convolution" or "$conv" in one.attributes:
            inputs, kernel = (arrays_of(table[name].shape)[0] for name in one.operands[:2])
            return 2.0 * _convolution_products(one, inputs[1], kernel[1]), _precision(
                one, inputs[0]
            )
        return 0.0, ""


def _convolution_products(
    one: Instruction, inputs: tuple[int, ...], kernel: tuple[int, ...]
) -> float:
    """Multiplications of a convolution, those with padding and holes left out.

    XLA:TPU writes products of many matrices as convolutions, too: the matrices stand along an axis
    of the window, of which each output meets one.
    """
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", one.attributes)
    assert labels
    result = arrays_of(one.shape)[0][1]
    of_inputs, of_kernel, of_result = (
        dict(zip(each, sides, strict=False))
        for each, sides in zip(labels.groups(), (inputs, kernel, result), strict=True)
    )
    window = dict(re.findall(r"(\w+)=([\dx_\-]+)", _braced(one.attributes, "window")))
    total = float(of_result["b"] * of_kernel["i"] * of_kernel["o"])
    for axis in sorted(label for label in of_kernel if label.isdigit()):
        place, count = int(axis), len(of_kernel) - 2
        size, stride, spread, holes = (
            int(window.get(key, "x".join("1" * count)).split("x")[place])
            for key in ("size", "stride", "lhs_dilate", "rhs_dilate")
        )
        before = int(window.get("pad", "x".join(["0_0"] * count)).split("x")[place].split("_")[0])
        length = (of_inputs[axis] - 1) * spread + 1
        total *= sum(
            0 <= at < length and at % spread == 0
            for out in range(of_result[axis])
            for at in range(out * stride - before, out * stride - before + size * holes, holes)
        )
    return total


def _braced(text: str, name: str) -> str:
    found = re.search(rf"\b{name}=\{{([^}}]*)\}}", text)
    return found[1] if found else ""


def bytes_of(shape: str) -> list[int]:
    """What each array of a printed shape takes in the device's memory; 0 if it is on the chip."""
    return [
        0
        if "S(1)" in layout and "T(" in layout
        else _padded_count(dims, layout) * BYTES.get(kind, 0)
        for (kind, dims), (_, _, layout) in zip(
            arrays_of(shape), _ARRAY.findall(shape), strict=True
        )
    ]


def _padded_count(dims: tuple[int, ...], layout: str) -> int:
    """Numbers of an array, its innermost axes padded to the tiles of its layout."""
    order, _, rest = layout.partition(":")
    tile = re.match(r"T\(([\d,]+)\)", rest)
    if not tile:
        return math.prod(dims)
    tiles = [int(side) for side in tile[1].split(",")]
    sides = [dims[int(axis)] for axis in reversed(order.split(","))] if order else []
    sides = [1] * (len(tiles) - len(sides)) + sides
    for place, side in enumerate(reversed(tiles), 1):
        sides[-place] = -(-sides[-place] // side) * side
    return math.prod(sides)


def arrays_of(shape: str) -> list[tuple[str, tuple[int, ...]]]:
    """(type, dimensions) of each array of a printed shape."""
    return [
        (kind, tuple(int(side) for side in sides.split(",") if side))
        for kind, sides, _ in _ARRAY.findall(shape)
    ]


def _count(shape: str) -> int:
    return sum(math.prod(dims) for _, dims in arrays_of(shape))


def _parse(name: str, rest: str, is_root: bool) -> Instruction:
    shape, rest = _split_shape(rest)
    opcode, _, rest = rest.partition("(")
    inner, attributes = _split_parentheses(rest)
    if opcode in ("parameter", "constant"):
        attributes = f"{opcode}={inner}{attributes}"
    operands = tuple(_NAME.findall(inner)) if opcode != "constant" else ()
    return Instruction(name, shape, opcode, operands, attributes, is_root)


def _split_shape(text: str) -> tuple[str, str]:
    if not text.startswith("("):
        shape, _, rest = text.partition(" ")
        return shape, rest
    inner, rest = _split_parentheses(text[1:])
    return f"({inner})", rest.lstrip()


def _split_parentheses(text: str) -> tuple[str, str]:
    """What stands before the closing parenthesis of one that was open, and what after it."""
    depth = 1
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return text[:place], text[place + 1 :]
    return text, ""


def _received(one: Instruction) -> float:
    """What a collective brings, in bytes, wherever it lies."""
    size = sum(BYTES.get(kind, 0) * math.prod(dims) for kind, dims in arrays_of(one.shape))
    # One that is started returns what it sends, too, but for a sum.
    both = one.opcode.endswith("-start") and one.opcode != "all-reduce-start"
    return size / 2 if both else size


def _users(name: str, inside: dict[str, Instruction]) -> Iterator[Instruction]:
    """What reads an array, through other names of the same data."""
    for one in inside.values():
        if name in one.operands:
            if one.opcode in ("bitcast", "reshape") and not one.is_root:
                yield from _users(one.name, inside)
            else:
                yield one


def _bytes_read(parameter: Instruction, inside: dict[str, Instruction]) -> int:
    names = _same_data(parameter.name, inside)
    total = 0
    for user in _users(parameter.name, inside):
        if user.opcode in SLICES and user.operands[0] in names:
            total += user.bytes
        elif user.opcode in UPDATES and user.operands[0] in names:
            total += 0  # stays where it is
        else:
            return parameter.bytes
    return total


def _same_data(name: str, inside: dict[str, Instruction]) -> set[str]:
    names = {name}
    for one in inside.values():
        if one.opcode in ("bitcast", "reshape") and one.operands and one.operands[0] in names:
            names.add(one.name)
    return names


def _bytes_written(inside: dict[str, Instruction]) -> int:
    root = next(one for one in inside.values() if one.is_root)
    roots = [inside[name] for name in root.operands] if root.opcode == "tuple" else [root]
    return sum(_bytes_put(one, inside) for one in roots)


def _bytes_put(one: Instruction, inside: dict[str, Instruction]) -> int:
    while one.opcode in ("bitcast", "reshape") and one.operands[0] in inside:
        one = inside[one.operands[0]]
    if one.opcode in UPDATES:
        return inside[one.operands[UPDATES[one.opcode]]].bytes
    return one.bytes


def _moved_alone(one: Instruction, operands: dict[str, Instruction]) -> int:
    if one.opcode == "copy-start":  # its result: where to, where from, a semaphore
        return sum(bytes_of(one.shape)[:2])
    if one.opcode == "slice-start":  # where from, where to, a semaphore
        whole, part = bytes_of(one.shape)[:2]
        (kind, dims), (_, _, layout) = arrays_of(one.shape)[1], _ARRAY.findall(one.shape)[1]
        return _padded_count(dims, layout) * BYTES[kind] * ((whole > 0) + (part > 0))
    if one.opcode in SLICES:
        return 2 * one.bytes
    if one.opcode in UPDATES:
        return 2 * operands[one.operands[UPDATES[one.opcode]]].bytes
    return one.bytes + sum(each.bytes for each in operands.values())


def _precision(one: Instruction, kind: str) -> str:
    if kind != "f32":
        return {"bf16": "bfloat16", "f16": "float16", "f64": "float64"}.get(kind, kind)
    algorithm = one.attribute("algorithm") or ""
    if "f32_f32" in algorithm:
        return "float32"
    given = one.attribute("operand_precision") or "default"
    return "float32" if "highest" in given else "tf32"
