#!/usr/bin/env python3
"""Writes planted_golden.json: what SAELens' sae_lens.synthetic says of small dictionaries, and SciPy of matchings.

Values are multiples of 1/64, so that fp32 holds them and ties are ties. One learned feature and one true feature never
fire, one learned row is another one's negative, and one is a copy of a true one.
Usage: make_planted_golden.py  (needs the PyPI packages `sae-lens` and `scipy`; writes beside itself)
"""
import json
import pathlib
from importlib.metadata import version

import numpy as np
import torch
from sae_lens.synthetic import evals
from sae_lens.synthetic.firing_probabilities import zipfian_firing_probabilities
from scipy.optimize import linear_sum_assignment

ROWS, D = 60, 6


def matrix(rng, rows, columns):
    return np.round(rng.normal(size=(rows, columns)) * 64) / 64


def scores(seed, learned_features, true_features):
    rng = np.random.default_rng(seed)
    learned, truth = matrix(rng, learned_features, D), matrix(rng, true_features, D)
    learned[1], learned[2] = truth[3], -learned[0]
    best = np.abs(torch.nn.functional.cosine_similarity(
        torch.tensor(learned)[:, None], torch.tensor(truth)[None], dim=-1).numpy()).argmax(axis=1)
    true_fires = rng.random((ROWS, true_features)) < 0.3
    true_fires[:, 2] = False
    learned_fires = np.where(rng.random((ROWS, learned_features)) < 0.7, true_fires[:, best],
                             rng.random((ROWS, learned_features)) < 0.2)
    learned_fires[:, 4] = False
    decoder, directions = torch.tensor(learned).float(), torch.tensor(truth).float()
    found = evals.compute_classification_metrics(
        torch.tensor(learned_fires).float(), torch.tensor(true_fires).float(), decoder, directions)
    return {
        "learned": learned.tolist(), "truth": truth.tolist(), "best": best.tolist(),
        "learned_fires": [np.flatnonzero(row).tolist() for row in learned_fires],
        "true_fires": [np.flatnonzero(row).tolist() for row in true_fires],
        "precision": found.precision, "recall": found.recall, "f1": found.f1_score,
        "uniqueness": evals.feature_uniqueness(decoder, directions),
        "mcc": evals.mean_correlation_coefficient(decoder, directions)}


def matching(score, unique):
    rows, columns = linear_sum_assignment(score, maximize=True)
    made = {"score": score.tolist(), "sum": float(score[rows, columns].sum())}
    if unique:
        made["rows"], made["columns"] = rows.tolist(), columns.tolist()
    return made


def main():
    rng = np.random.default_rng(5)
    matchings = [matching(rng.integers(-999, 999, size=shape).astype(float) + rng.integers(0, 64, size=shape) / 64, True)
                 for shape in [(1, 1), (1, 5), (5, 1), (7, 7), (6, 11), (11, 6), (20, 20)]]
    matchings += [matching(rng.integers(0, 3, size=shape).astype(float), False) for shape in [(8, 8), (5, 9), (9, 5)]]
    matchings.append(matching(np.zeros((4, 4)), False))
    golden = {
        "sae-lens": version("sae-lens"), "scipy": version("scipy"),
        "scores": [scores(1, 10, 7), scores(2, 7, 10), scores(3, 9, 9)],
        "matchings": matchings,
        "rates": [{"features": n, "exponent": e, "most": m, "least": least,
                   "rates": zipfian_firing_probabilities(n, e, m, least).tolist()}
                  for n, e, m, least in [(12, 0.5, 0.4, 0.01), (5, 1.0, 0.3, 0.05)]]}
    path = pathlib.Path(__file__).with_name("planted_golden.json")
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
