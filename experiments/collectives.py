"""Which collectives a compiled program has, how large they are, and what a device sends for them."""

import math
import re
from typing import NamedTuple

WIDTH = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
"""Bytes of a number, by the name of its type in HLO."""


class Collective(NamedTuple):
    """A collective operation.

    Attributes:
      kind: as HLO names it: all-reduce, all-gather, all-to-all, reduce-scatter or collective-permute.
      size: bytes of its result on one device.
      group: devices that take part in one.
    """

    kind: str
    size: float
    group: int


_KINDS = "all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute"
_LINE = re.compile(rf"^\s*(?:ROOT )?%?[\w.-]+ = (?P<result>.*?) (?P<kind>{_KINDS})\((?P<rest>.*)$", re.MULTILINE)
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")
_LISTED, _COUNTED = re.compile(r"replica_groups=\{\{([\d,]*)\}"), re.compile(r"replica_groups=\[\d+,(\d+)\]")
_NAMED = re.compile(r"replica_groups=mesh\[(?P<axes>[^\]]*)\]\s*\{(?P<names>[^}]*)\}")


def collectives(hlo: str) -> list[Collective]:
    """Returns the collectives in the text of a program compiled for a CPU, without those of a device with itself.

    One inside a loop counts once, however often the loop turns. Programs for other devices may start a collective here
    and finish it there, which is not read.
    """
    found = (Collective(line["kind"], size_of(line["result"]), group_of(line["rest"])) for line in _LINE.finditer(hlo))
    return [one for one in found if one.group > 1]


def size_of(shapes: str) -> int:
    """Returns the bytes of all arrays in a type, as `(f32[8,2]{1,0}, s32[])`.

    Raises:
      ValueError: a type of number that is not known here.
    """
    arrays = _ARRAY.findall(shapes)
    if unknown := {kind for kind, _ in arrays} - set(WIDTH):
        raise ValueError(f"{shapes!r} has numbers of an unknown size, {sorted(unknown)}: add them to WIDTH.")
    return sum(WIDTH[kind] * math.prod(int(size) for size in sizes.split(",") if size) for kind, sizes in arrays)


def group_of(attributes: str) -> int:
    """Returns how many devices take part.

        replica_groups={{0,1},{2,3}}   or   [2,2]<=[4]   or   mesh['a'=2,'b'=2] {'b'}

    Raises:
      ValueError: it is written in none of these ways.
    """
    if listed := _LISTED.search(attributes):
        return len(listed[1].split(","))
    if counted := _COUNTED.search(attributes):
        return int(counted[1])
    if named := _NAMED.search(attributes):
        sizes = dict(axis.split("=") for axis in named["axes"].split(","))
        return math.prod(int(sizes[name.strip()]) for name in named["names"].split(","))
    raise ValueError(f"no replica groups in {attributes[:200]!r}: a form of HLO that is not known here.")


def sent(one: Collective) -> float:
    """Returns the bytes that each of m devices sends for a collective, by the ring algorithm.

    all-reduce 2 (m − 1)/m · size;  all-gather, all-to-all (m − 1)/m · size
    """
    return (2 if one.kind == "all-reduce" else 1) * (one.group - 1) / one.group * one.size


def by_kind(found: list[Collective]) -> list[Collective]:
    """Returns one collective for all of a kind and group, as large as they are together."""
    groups: dict[tuple[str, int], float] = {}
    for kind, size, group in found:
        groups[kind, group] = groups.get((kind, group), 0) + size
    return [Collective(kind, size, group) for (kind, group), size in sorted(groups.items())]
