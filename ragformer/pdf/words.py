"""The words of a page as the reading child sends them: six numbers each, a sixth of what objects
take. Of a book of 2,000 pages there are a million."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import overload

from ragformer.types import Word

BOX_UNIT = 100  # boxes travel as whole hundredths of a point


class Words(Sequence[Word]):
    """Made into Words each time they are looked at; equal to a tuple of them.

    rows: start, end, x0, y0, x1, y1 of each as int32, the sides in 1/BOX_UNIT points. Raises
    ValueError for another number of bytes.
    """

    __slots__ = ("_rows",)

    def __init__(self, rows: bytes) -> None:
        if len(rows) % 24:
            raise ValueError(f"{len(rows)} bytes of words of 24 bytes each")
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows) // 24

    def __iter__(self) -> Iterator[Word]:
        numbers = array("i")
        numbers.frombytes(self._rows)
        for start, end, *box in zip(*[iter(numbers)] * 6, strict=True):
            yield Word(start, end, *(side / BOX_UNIT for side in box))

    @overload
    def __getitem__(self, i: int) -> Word: ...
    @overload
    def __getitem__(self, i: slice) -> tuple[Word, ...]: ...
    def __getitem__(self, i: int | slice) -> Word | tuple[Word, ...]:
        return tuple(self)[i]

    def columns(self) -> list[array[int]]:
        """The starts, ends, x0, y0, x1 and y1 of all, the sides in 1/BOX_UNIT points."""
        numbers = array("i")
        numbers.frombytes(self._rows)
        return [numbers[i::6] for i in range(6)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))
