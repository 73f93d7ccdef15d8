"""Arrays of .npy files: the header is checked against the length of the file before anything is allocated."""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def decode_npy(data: bytes) -> NDArray[Any]:
    """The array in the bytes of a .npy file; it shares their memory.

    Raises
    ------
    ValueError
        The bytes are no .npy file of format 1 or 2, hold Python objects, or fewer values than the header says.
    Exception
        Whatever NumPy raises at a header that is damaged.

    Examples
    --------
    >>> stream = BytesIO()
    >>> np.save(stream, np.eye(2))
    >>> decode_npy(stream.getvalue()).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if data[:2] == b"PK":
        raise ValueError("it is a .npz archive, not a .npy file")
    stream = BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"its format {version[0]}.{version[1]} is not 1.0 or 2.0")
    shape, column_order, dtype = HEADERS[version](stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    count, start = math.prod(shape), stream.tell()
    if min(shape, default=0) < 0 or count * max(dtype.itemsize, 1) > len(data) - start:
        size = " x ".join(map(str, shape))
        raise ValueError(f"its header says {size} values of {dtype}, more than the file holds")
    values = np.frombuffer(data, dtype, count, start)
    return values.reshape(shape, order="F" if column_order else "C")
