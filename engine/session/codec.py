"""Numpy arrays as compact blobs: dense or sparse, then deflated.

Pattern histograms are mostly zeros (a site uses some 8,000 of 65,536 bins), so integer arrays with few non-zeros
are stored as index gaps and counts. Decoding gives back the same array, bit for bit.

- `EncodedArray`   what goes into one row of the `arrays` table
- `UnsoundError`   what is stored cannot be what was written
- `encode`, `decode`
- `pack_int32`, `unpack_int32`   one-dimensional int32 arrays (token ids, sample lists)
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPARSE_BELOW = 0.25
_LEVEL = 1  # the fastest level already takes what there is to take from counts


class UnsoundError(ValueError):
    """What is stored cannot be what was written; the message says why, in words."""


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


def decode(encoded: EncodedArray) -> NDArray[Any]:
    """The array that was encoded; writable, C order.

    Raises:
        ValueError: the blob does not hold what its row says; `UnsoundError` where it is cut short.
    """
    described = json.loads(encoded.dtype)
    try:
        dtype = np.dtype(described if isinstance(described, str) else [tuple(field) for field in described])
    except TypeError as error:
        raise UnsoundError("their kind is not known") from error
    shape = tuple(json.loads(encoded.shape))
    raw = _inflated(encoded.data)
    if encoded.encoding == "dense":
        return np.frombuffer(raw, dtype).reshape(shape).copy()
    flat = np.zeros(int(np.prod(shape)), dtype)
    indices, values = _decode_sparse(raw)
    flat[indices] = values
    return flat.reshape(shape)


def pack_int32(values: NDArray[Any]) -> bytes:
    """A one-dimensional integer array as deflated little-endian int32."""
    return zlib.compress(np.asarray(values, "<i4").tobytes(), _LEVEL)


def unpack_int32(blob: bytes) -> NDArray[np.int32]:
    """What `pack_int32` packed, int32 [n].

    Raises:
        ValueError: the blob was not packed so; `UnsoundError` where it is cut short.
    """
    return np.frombuffer(_inflated(blob), "<i4").astype(np.int32)


def _inflated(blob: bytes) -> bytes:
    try:
        return zlib.decompress(blob)
    except zlib.error as error:
        raise UnsoundError("cut short or changed") from error


def _encode_sparse(indices: NDArray[np.intp], values: NDArray[Any]) -> bytes:
    gaps = np.diff(indices, prepend=0).astype("<u4")
    narrow = gaps.size == 0 or int(gaps.max()) < 2**16
    small = values.size == 0 or (int(values.min()) >= 0 and int(values.max()) < 2**32)
    head = np.array([indices.size, narrow, small], "<i8").tobytes()
    body = gaps.astype("<u2" if narrow else "<u4").tobytes() + values.astype("<u4" if small else "<i8").tobytes()
    return zlib.compress(head + body, _LEVEL)


def _decode_sparse(raw: bytes) -> tuple[NDArray[np.int64], NDArray[Any]]:
    count, narrow, small = (int(v) for v in np.frombuffer(raw, "<i8", 3))
    gap_type = np.dtype("<u2" if narrow else "<u4")
    gaps = np.frombuffer(raw, gap_type, count, 24)
    values = np.frombuffer(raw, "<u4" if small else "<i8", count, 24 + count * gap_type.itemsize)
    return np.cumsum(gaps, dtype=np.int64), values
