#!/usr/bin/env python3
"""Writes statistics_golden.json: what numpy, scipy, scikit-learn and the authors' IsoScore package find in a few rows.

Rows of 6 dimensions around an offset, unevenly spread, skewed in one; every value is a multiple of 1/64, so that fp32
holds it. Usage: make_statistics_golden.py  (needs numpy, scipy, scikit-learn, IsoScore, torch; writes beside itself)
"""
import itertools
import json
import pathlib

import numpy as np
import scipy.stats
from IsoScore.IsoScore import IsoScore
from sklearn.decomposition import PCA

ROWS, D = 50, 6


def mean_cosine(x):
    """Over all pairs of different rows, one by one."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return float(np.mean([unit[i] @ unit[j] for i, j in itertools.combinations(range(len(x)), 2)]))


def spectrum(x):
    values = np.linalg.eigvalsh(np.cov(x, rowvar=False, bias=True))[::-1]
    p = values / values.sum()
    return {
        "eigenvalues": values.tolist(),
        "participation_ratio": float(values.sum() ** 2 / (values ** 2).sum()),
        "effective_rank": float(np.exp(-(p * np.log(p)).sum())),
        "condition_number": float(values[0] / values[-1]),
        "isoscore": float(IsoScore(x)),
    }


def main():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(ROWS, D)) @ rng.normal(size=(D, D)) + rng.normal(size=D) * 2
    x[:, 2] += rng.exponential(3, size=ROWS)
    x = np.round(x * 64) / 64
    half = ROWS // 2
    whitened = PCA(whiten=True).fit(x[:half]).transform(x) * np.sqrt(half / (half - 1))
    golden = {
        "numpy": np.__version__, "scipy": scipy.__version__,
        "x": x.tolist(),
        "mean": x.mean(0).tolist(), "std": x.std(0).tolist(),
        "skewness": scipy.stats.skew(x, axis=0).tolist(),
        "excess_kurtosis": scipy.stats.kurtosis(x, axis=0).tolist(),
        "smallest": x.min(0).tolist(), "largest": x.max(0).tolist(),
        "second_moment": (x ** 2).mean(0).tolist(),
        "mean_cosine": mean_cosine(x),
        "raw": spectrum(x),
        # By mean and covariance of the first half, of the population as ours are.
        "whitened_by_half": {"mean_cosine": mean_cosine(whitened), **spectrum(whitened)},
    }
    path = pathlib.Path(__file__).with_name("statistics_golden.json")
    path.write_text(json.dumps(golden, indent=1) + "\n")


main()
