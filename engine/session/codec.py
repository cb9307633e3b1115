"""Numpy arrays as compact blobs: dense or sparse, then deflated.

Pattern histograms are mostly zeros (a site uses some 8,000 of 65,536 bins), so integer arrays with few non-zeros
are stored as index gaps and counts. Decoding gives back the same array, bit for bit.

- `EncodedArray`   what goes into one row of the `arrays` table
- `encode`, `decode`
- `pack_int32`, `unpack_int32`   one-dimensional int32 arrays (token ids, sample lists)
"""

from __future__ import annotations

import json
import math
import sys
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.stored import UnsoundError, parse

SPARSE_BELOW = 0.25
_MOST_BYTES = 1 << 29  # of one array: none of ours comes near
_HEAD_BYTES = 24  # of a sparse array: how many indices there are, and how wide they and the values are
_LEVEL = 1  # the fastest level already takes what there is to take from counts


@dataclass(frozen=True, slots=True)
class EncodedArray:
    """An array ready for the file. `encoding` is `dense` or `sparse`; `shape` is a JSON list."""

    dtype: str
    shape: str
    encoding: str
    data: bytes


def encode(array: NDArray[Any]) -> EncodedArray:
    """Encode any array without object fields."""
    descriptor = json.dumps(array.dtype.descr if array.dtype.names else array.dtype.str)
    shape = json.dumps(list(array.shape))
    if array.dtype.kind == "i" and array.size > 64:
        flat = array.reshape(-1)
        filled = np.flatnonzero(flat)
        if filled.size < SPARSE_BELOW * flat.size:
            return EncodedArray(descriptor, shape, "sparse", _encode_sparse(filled, flat[filled]))
    return EncodedArray(descriptor, shape, "dense", zlib.compress(np.ascontiguousarray(array).tobytes(), _LEVEL))


def decode(encoded: EncodedArray, most: int | None = None) -> NDArray[Any]:
    """The array that was encoded; writable, C order.

    Args:
        encoded: a row of the file.
        most: elements that such an array has at most, None if that is not known; nothing larger is unpacked.

    Raises:
        UnsoundError: the blob does not hold what its row says, or more than such an array has.
    """
    dtype, shape = _dtype_of(parse(encoded.dtype)), _shape_of(parse(encoded.shape))
    size = math.prod(shape)
    if size * dtype.itemsize > _MOST_BYTES or (most is not None and size > most):
        raise UnsoundError("they are larger than those of a run")
    if encoded.encoding == "dense":
        raw = _inflated(encoded.data, size * dtype.itemsize)
        if len(raw) != size * dtype.itemsize:
            raise UnsoundError("cut short or changed")
        if dtype.kind == "U" and not _is_text(raw, dtype):
            raise UnsoundError("a name is no text")
        return np.frombuffer(raw, dtype).reshape(shape).copy()
    if encoded.encoding != "sparse" or dtype.kind != "i":
        raise UnsoundError("their encoding is not known")
    indices, values = _decode_sparse(_inflated(encoded.data, _HEAD_BYTES + 12 * size), size)
    flat = np.zeros(size, dtype)
    flat[indices] = values
    return flat.reshape(shape)


def pack_int32(values: NDArray[Any]) -> bytes:
    """A one-dimensional integer array as deflated little-endian int32."""
    return zlib.compress(np.asarray(values, "<i4").tobytes(), _LEVEL)


def unpack_int32(blob: bytes, most: int) -> NDArray[np.int32]:
    """What `pack_int32` packed, int32 [n] with n at most `most`.

    Raises:
        UnsoundError: the blob was not packed so, or holds more.
    """
    raw = _inflated(blob, 4 * most)
    if len(raw) % 4:
        raise UnsoundError("cut short or changed")
    return np.frombuffer(raw, "<i4").astype(np.int32)


def _dtype_of(described: object) -> np.dtype[Any]:
    if isinstance(described, list) and all(
        isinstance(one, list) and len(one) == 2 and all(isinstance(part, str) for part in one) for one in described
    ):
        described = [tuple(one) for one in described]
    elif not isinstance(described, str):
        raise UnsoundError("their kind is not known")
    try:
        dtype = np.dtype(described)
    except (TypeError, ValueError, SyntaxError) as error:  # numpy's words for a name that it does not know
        raise UnsoundError("their kind is not known") from error
    if dtype.hasobject:
        raise UnsoundError("their kind is not known")
    return dtype


def _is_text(raw: bytes, dtype: np.dtype[Any]) -> bool:
    """Whether these are code points of characters; numpy takes any number for one, and Python then fails on it."""
    points = np.frombuffer(raw, np.dtype("u4").newbyteorder(dtype.byteorder))
    return not (points > sys.maxunicode).any() and not ((points >= 0xD800) & (points < 0xE000)).any()


def _shape_of(described: object) -> tuple[int, ...]:
    if not isinstance(described, list) or not all(type(one) is int and 0 <= one < 2**62 for one in described):
        raise UnsoundError("their shape is not known")
    return tuple(described)


def _inflated(blob: object, most: int) -> bytes:
    """The bytes that were deflated, if they are no more than `most`, whatever the blob would grow to."""
    if not isinstance(blob, bytes):
        raise UnsoundError("changed")
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(blob, most + 1)
    except zlib.error as error:
        raise UnsoundError("cut short or changed") from error
    if not stream.eof or len(raw) > most:
        raise UnsoundError("cut short or changed")
    return raw


def _encode_sparse(indices: NDArray[np.intp], values: NDArray[Any]) -> bytes:
    gaps = np.diff(indices, prepend=0).astype("<u4")
    narrow = gaps.size == 0 or int(gaps.max()) < 2**16
    small = values.size == 0 or (int(values.min()) >= 0 and int(values.max()) < 2**32)
    head = np.array([indices.size, narrow, small], "<i8").tobytes()
    body = gaps.astype("<u2" if narrow else "<u4").tobytes() + values.astype("<u4" if small else "<i8").tobytes()
    return zlib.compress(head + body, _LEVEL)


def _decode_sparse(raw: bytes, size: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Places among `size` elements, and what is there."""
    if len(raw) < _HEAD_BYTES:
        raise UnsoundError("cut short or changed")
    count, narrow, small = (int(v) for v in np.frombuffer(raw, "<i8", 3))
    gap_type, value_type = np.dtype("<u2" if narrow else "<u4"), np.dtype("<u4" if small else "<i8")
    if count < 0 or len(raw) != _HEAD_BYTES + count * (gap_type.itemsize + value_type.itemsize):
        raise UnsoundError("cut short or changed")
    gaps = np.frombuffer(raw, gap_type, count, _HEAD_BYTES)
    values = np.frombuffer(raw, value_type, count, _HEAD_BYTES + count * gap_type.itemsize)
    indices = np.cumsum(gaps, dtype=np.int64)
    if count and indices[-1] >= size:
        raise UnsoundError("cut short or changed")
    return indices, values
