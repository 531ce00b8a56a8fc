#!/usr/bin/env python3
"""Writes decoder_geometry_golden.json: what NumPy finds among all pairs of rows of a small decoder.

The decoder is a formula in integers, which the test repeats: 700 rows (two tiles) of 16, some of them planted.
Usage: make_decoder_geometry_golden.py <source-dir>      needs numpy; made with 2.4.6
"""
import json
import pathlib
import sys

import numpy as np

ROWS, WIDTH = 700, 16


def decoder() -> np.ndarray:
    f, d = np.meshgrid(np.arange(ROWS, dtype=np.uint64), np.arange(WIDTH, dtype=np.uint64), indexing="ij")
    mixed = (f * 1000003 + d * 7919 + 12345) * 2654435761 % 2**32
    W = ((mixed >> np.uint64(16)) % np.uint64(2001)).astype(np.float64) - 1000
    W[3] = W[600] = 0
    W[650] = 2 * W[10]
    W[20] = -W[21]
    W[300] = 10 * W[100] + W[300]
    return W


def main(source: pathlib.Path) -> None:
    W = decoder()
    live = np.flatnonzero(np.any(W != 0, axis=1))
    U = W[live] / np.linalg.norm(W[live], axis=1, keepdims=True)
    C = U @ U.T
    i, j = np.triu_indices(len(live), 1)
    pairs = C[i, j]
    np.fill_diagonal(C, -2)
    order = np.argsort(-pairs, kind="stable")[:20]
    nearest = C.max(axis=1)
    golden = {
        "live": len(live), "pairs": len(pairs), "cosine_mean": pairs.mean(),
        "cosine_p95": np.quantile(pairs, 0.95), "absolute_cosine_p95": np.quantile(np.abs(pairs), 0.95),
        "cosine_max": pairs.max(), "near_duplicates": int((pairs > 0.9).sum()),
        "nearest_mean": nearest.mean(), "nearest_p50": np.quantile(nearest, 0.5), "nearest_p95": np.quantile(nearest, 0.95),
        "nearest_feature": [int(live[k]) for k in C.argmax(axis=1)], "nearest_cosine": [round(float(c), 9) for c in nearest],
        "strongest": [[int(live[i[k]]), int(live[j[k]]), round(float(pairs[k]), 9)] for k in order],
    }
    target = source / "tests/data/decoder_geometry_golden.json"
    target.write_text(json.dumps(golden) + "\n")
    print({key: value for key, value in golden.items() if not isinstance(value, list)})
    print(golden["strongest"][:6])


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
