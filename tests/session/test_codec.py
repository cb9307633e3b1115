"""Arrays come back from the session file bit for bit."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine.base.stored import UnsoundError
from engine.session.codec import decode, encode, pack_int32, unpack_int32
from engine.statistics.totals import TOP_DTYPE

DTYPES = st.sampled_from(["<i8", "<i4", "<f4", "<f8"])


@given(hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=20)))
def test_any_array_round_trips(array: np.ndarray) -> None:
    back = decode(encode(array))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@given(
    st.dictionaries(st.integers(0, 99_999), st.integers(-(2**62), 2**62), max_size=200),
    st.sampled_from([65_536, 100_000]),
)
def test_sparse_counts_round_trip(filled: dict[int, int], size: int) -> None:
    array = np.zeros(size, np.int64)
    for index, value in filled.items():
        array[index % size] = value
    encoded = encode(array)
    assert encoded.encoding == "sparse"
    assert np.array_equal(decode(encoded), array)


def test_a_sparse_histogram_is_small() -> None:
    random = np.random.default_rng(0)
    array = np.zeros(65_536, np.int64)
    array[random.choice(65_536, 8_000, replace=False)] = random.integers(1, 1_000, 8_000)
    assert len(encode(array).data) < array.nbytes / 15


def test_structured_arrays_round_trip() -> None:
    top = np.array([(-1.5, 1, 2, 3), (1.0, 0, 0, 0)], TOP_DTYPE)
    back = decode(encode(top))
    assert back.dtype == TOP_DTYPE
    assert np.array_equal(back, top)


def test_a_decoded_array_can_be_changed() -> None:
    back = decode(encode(np.zeros(3)))
    back[0] = 1.0
    assert back[0] == 1.0


@given(st.lists(st.integers(-(2**31), 2**31 - 1)))
def test_int32_lists_round_trip(values: list[int]) -> None:
    assert unpack_int32(pack_int32(np.array(values, np.int64)), len(values)).tolist() == values


def test_a_damaged_blob_is_an_error() -> None:
    encoded = encode(np.arange(100))
    with pytest.raises(Exception, match="cut short or changed"):
        decode(type(encoded)(encoded.dtype, encoded.shape, encoded.encoding, encoded.data[:-5]))


@pytest.mark.parametrize("point", [0xD800, sys.maxunicode + 1, 2**32 - 1])
def test_a_name_of_what_is_no_character_is_refused(point: int) -> None:
    names = np.zeros(2, "<U4")
    names.view("<u4")[3] = point
    with pytest.raises(UnsoundError, match="no text"):
        decode(encode(names))
    names.view("<u4")[3] = sys.maxunicode
    assert np.array_equal(decode(encode(names)), names)
