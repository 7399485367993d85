"""What goes in at one end of the pipe comes out at the other, or the end says why not."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.pdf.frames import read_frame, write_frame

heads = st.dictionaries(st.text(), st.text() | st.integers() | st.booleans())
messages = st.lists(st.tuples(heads, st.binary()))


@given(messages)
def test_frames_come_out_as_they_went_in(frames: list[tuple[dict[str, object], bytes]]) -> None:
    pipe = io.BytesIO()
    for head, body in frames:
        write_frame(pipe, head, body)
    pipe.seek(0)
    assert [read_frame(pipe) for _ in frames] == frames
    with pytest.raises(EOFError):
        read_frame(pipe)


@given(heads, st.binary(), st.data())
def test_a_cut_frame_is_the_end(head: dict[str, object], body: bytes, data: st.DataObject) -> None:
    pipe = io.BytesIO()
    write_frame(pipe, head, body)
    whole = pipe.getvalue()
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(EOFError):
        read_frame(io.BytesIO(cut))


@pytest.mark.parametrize(
    "data", [struct.pack(">II", 1 << 30, 1), struct.pack(">II", 2, 0) + b"[]", b"\0\0\0\1\0\0\0\0x"]
)
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"message|Expecting"):
        read_frame(io.BytesIO(data))
