#!/usr/bin/env python3
"""Writes baselines_golden.safetensors: what scikit-learn makes of small rows by PCA, FastICA and NMF, in fp64.

Usage: make_baselines_golden.py <source-dir>      needs numpy, scipy, scikit-learn, safetensors
Made with numpy 2.4.6 and scikit-learn 1.9.1. Inputs are rounded to fp32 first, so that both sides start from the
same numbers.
"""
import pathlib
import sys

import numpy as np
from safetensors.numpy import save_file
from scipy.optimize import nnls
from sklearn.decomposition import NMF, PCA, FastICA

ITERATIONS = 30


def f32(values):
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def ica(rng):
    """Six sources that are not gaussian, mixed."""
    n, d = 400, 6
    uniform = rng.uniform(-1, 1, (n, 2))
    laplace = rng.laplace(size=(n, 2))
    sparse = rng.normal(size=(n, 2)) * (rng.uniform(size=(n, 2)) < 0.2)
    sources = np.hstack([uniform, laplace, sparse])
    x = f32(sources @ rng.normal(size=(d, d)) + rng.normal(size=d))
    # Whitening as refract has it: eigenvectors of the covariance by falling eigenvalue, each with its largest
    # entry positive. FastICA is given the whitened rows and whitens no more.
    centred = x - x.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / n)
    values, vectors = values[::-1], vectors[:, ::-1]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), range(d)])
    whitened = centred @ (vectors / np.sqrt(values))
    w_init = f32(rng.normal(size=(d, d)))
    fitted = FastICA(algorithm="parallel", fun="logcosh", whiten=False, w_init=w_init, tol=1e-4, max_iter=200)
    fitted.fit(whitened)
    whole = FastICA(algorithm="parallel", fun="logcosh", whiten="unit-variance", tol=1e-7, max_iter=1000,
                    random_state=0).fit(x)
    pca = PCA().fit(x)
    r2 = []
    for r in range(1, d + 1):
        x_hat = centred @ pca.components_[:r].T @ pca.components_[:r]
        r2.append(1 - ((centred - x_hat) ** 2).sum() / (centred ** 2).sum())
    return {"ica.x": x, "ica.w_init": w_init, "ica.unmixing": fitted.components_,
            "ica.iterations": np.array([fitted.n_iter_]), "ica.mixing": whole.mixing_.T, "pca.r2": np.array(r2)}


def nmf(rng):
    """Rows of few parts, and a start that is the same on both sides."""
    n, d, r = 60, 8, 4
    x = f32(np.abs(rng.normal(size=(n, r)) * (rng.uniform(size=(n, r)) < 0.5)) @ np.abs(rng.normal(size=(r, d)))
            + 0.05 * rng.uniform(size=(n, d)))
    w_init = f32(rng.uniform(size=(r, d)))
    h_init = f32(rng.uniform(size=(n, r)))
    fitted = NMF(n_components=r, init="custom", solver="cd", shuffle=False, tol=0, max_iter=ITERATIONS)
    h = fitted.fit_transform(x, W=h_init.copy(), H=w_init.copy())
    return {"nmf.x": x, "nmf.w_init": w_init, "nmf.h_init": h_init, "nmf.h": h, "nmf.w": fitted.components_,
            "nmf.error": np.array([((x - h @ fitted.components_) ** 2).sum()]),
            "nmf.codes": codes_of(fitted, x)}


def codes_of(fitted, x):
    """Codes of rows for parts that stay: non-negative least squares, to the end."""
    return np.array([nnls(fitted.components_.T, row)[0] for row in x])


def main(source: pathlib.Path) -> None:
    rng = np.random.default_rng(7)
    tensors = {**ica(rng), **nmf(rng)}
    out = {}
    for name, values in tensors.items():
        kind = np.float32 if name in ("ica.x", "ica.w_init", "nmf.x", "nmf.w_init", "nmf.h_init") else np.float64
        out[name] = np.ascontiguousarray(values, dtype=kind)
    save_file(out, source / "tests/data/baselines_golden.safetensors",
              metadata={"made_by": "tests/data/make_baselines_golden.py", "iterations": str(ITERATIONS)})


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
