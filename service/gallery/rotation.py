"""Unlinkability: stored vectors are turned by a secret rotation of their collection (ISO/IEC 24745).

Two collections hold the same person as vectors that have nothing to do with each other, yet all similarities within a
collection stay what they are. The rotation is exact (an orthogonal matrix), made from a key of the collection: whoever
has stored vectors without that key can neither match them with another collection nor with a photo. It protects what
is stored and what lies in the index in memory; the API and exported files speak the model's own space.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import cast

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher as StreamCipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

from service.gallery import Vector

_making = threading.Lock()


class Rotation:
    """The rotation of vectors [..., D] that a key of 32 bytes stands for."""

    def __init__(self, key: bytes, dimension: int) -> None:
        self._key = key
        self._dimension = dimension

    def apply(self, vectors: Vector) -> Vector:
        """Return vectors [..., D] in the collection's own space, as they are stored."""
        return self._times(vectors, _matrix(self._key, self._dimension))

    def undo(self, vectors: Vector) -> Vector:
        """Return stored vectors [..., D] in the model's space again."""
        return self._times(vectors, _matrix(self._key, self._dimension).T)

    @staticmethod
    def _times(vectors: Vector, matrix: NDArray[np.float64]) -> Vector:
        return np.asarray(vectors @ matrix, np.float32)


def _matrix(key: bytes, dimension: int) -> NDArray[np.float64]:
    """Return the orthogonal matrix [D, D] of a key, made by one thread at a time.

    Threads that search a collection at once when it is new to this process would each make it, in each other's way:
    on a busy machine seven took 14 s, one 3 s.
    """
    with _making:
        return _made_matrix(key, dimension)


@lru_cache(64)
def _made_matrix(key: bytes, dimension: int) -> NDArray[np.float64]:
    """Return an orthogonal matrix [D, D], uniformly distributed: the Q of a Gaussian matrix whose R has a positive
    diagonal, which makes Q unique, so that every machine computes the same one.
    """
    count = dimension * dimension
    uniform = _uniform(key, count + count % 2)
    radius = np.sqrt(-2 * np.log(uniform[0::2]))
    angle = 2 * np.pi * uniform[1::2]
    normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
    q, r = np.linalg.qr(normal.reshape(dimension, dimension))
    return cast("NDArray[np.float64]", q * np.sign(np.diag(r)))


def _uniform(key: bytes, count: int) -> NDArray[np.float64]:
    """Return numbers above 0 and at most 1: the keystream of AES-CTR, 53 bits each."""
    stream = StreamCipher(AES(key), CTR(bytes(16))).encryptor().update(bytes(8 * count))
    return np.asarray(np.frombuffer(stream, ">u8") >> np.uint64(11), np.float64) * 2.0**-53 + 2.0**-53
