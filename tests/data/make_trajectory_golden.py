#!/usr/bin/env python3
"""Writes trajectory_golden.safetensors: 200 training steps of every variant as torch's autograd and Adam take them.

Usage: make_trajectory_golden.py <source-dir>      needs numpy, torch, safetensors
Made with numpy 2.4.6 and torch 2.15.0. Nothing here comes from refract: the formulas stand below, and gradients are
autograd's, but where an estimator is asked for (Jump, Step). Tensors: batches [25, 64, 16], the start (W_enc, W_dec
[96, 16], b_enc [96], b_dec [16]) and per variant its losses [200], each before that step's update, l0 [200], the
entries per row of the same forward, and grad_norm [200], before the clip. Every step clips, and Adam forgets the scale of a
gradient: grad_norm alone tells a gradient that is wrong by a factor. The metadata tells per variant how far fp64 from the same start goes from fp32,
relative to the loss: over the first pass through the batches, and over all steps.
"""
import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import save_file

D, F, ROWS, BATCHES, STEPS = 16, 96, 64, 25, 200
K, DEAD_AFTER, CLIP, LR = 8, 320, 1.0, 2e-3
EPS = 0.3  # the width of the window of the estimators
PREFIXES = (12, 32, 96)


def activations(rng):
    """[25, 64, 16]: a mean, some of 40 directions, noise; a norm of about sqrt(16)."""
    directions = rng.normal(size=(40, D))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    n = BATCHES * ROWS
    amounts = rng.uniform(1, 3, size=(n, 40)) * (rng.uniform(size=(n, 40)) < 3 / 40)
    rows = amounts @ directions + 0.1 * rng.normal(size=(n, D)) + 0.3 * rng.normal(size=D)
    rows *= np.sqrt(D) / np.linalg.norm(rows, axis=1).mean()
    return rows.reshape(BATCHES, ROWS, D).astype(np.float32)


def start(rng, batches):
    """W_enc is a copy of W_dec, but every sixth row is so short that no selection takes it: there are dead features,
    more than AuxK takes for a row."""
    w_dec = rng.normal(size=(F, D))
    w_dec = (w_dec / np.linalg.norm(w_dec, axis=1, keepdims=True)).astype(np.float32)
    w_enc = w_dec.copy()
    w_enc[5::6] *= np.float32(0.05)
    return {"W_enc": w_enc, "b_enc": np.zeros(F, np.float32), "W_dec": w_dec,
            "b_dec": batches[0].mean(axis=0, dtype=np.float64).astype(np.float32)}


class Jump(torch.autograd.Function):
    """p where it exceeds theta; p gets the gradient of what passed, theta that of the window around it."""

    @staticmethod
    def forward(ctx, p, theta):
        ctx.save_for_backward(p, theta)
        return p * (p > theta)

    @staticmethod
    def backward(ctx, incoming):
        p, theta = ctx.saved_tensors
        window = ((p - theta).abs() < EPS / 2).to(p.dtype)
        return incoming * (p > theta), (-(theta / EPS) * window * incoming).sum(dim=0)


class Step(torch.autograd.Function):
    """1 where p exceeds theta; only theta gets a gradient."""

    @staticmethod
    def forward(ctx, p, theta):
        ctx.save_for_backward(p, theta)
        return (p > theta).to(p.dtype)

    @staticmethod
    def backward(ctx, incoming):
        p, theta = ctx.saved_tensors
        window = ((p - theta).abs() < EPS / 2).to(p.dtype)
        return None, (-(1 / EPS) * window * incoming).sum(dim=0)


def mean_square(e):
    return (e * e).sum(dim=1).mean()


def kept(p, order, k):
    """1 at the k largest entries of `order` in each row."""
    mask = torch.zeros_like(p)
    return mask.scatter(1, order.topk(k, dim=1).indices, 1)


def row_top(p):
    return torch.relu(p) * kept(p, p, K)


def row_abs_top(p):
    return p * kept(p, p.abs(), K)


def batch_top(p):
    flat = torch.relu(p).flatten()
    return (flat * torch.zeros_like(flat).scatter(0, flat.topk(K * ROWS).indices, 1)).view_as(p)


def aux_loss(p, e, dead, w_dec):
    """1/32 of what the dead features leave of the error, relative to its variance."""
    if not dead.any():
        return 0
    features = dead.nonzero().squeeze(1)
    p, w_dec = p[:, features], w_dec[features]
    acts = p * kept(p, p, min(D // 2, len(features)))
    variance = mean_square(e) - (e.mean(dim=0) ** 2).sum()
    return mean_square(acts @ w_dec - e.detach()) / variance.detach() / 32


class Selecting:
    """TopK, BatchTopK, AbsTopK: `select` keeps entries of p; the error, AuxK or L1, and prefixes if there are."""
    extra = {}

    def __init__(self, select, aux=True, l1=0.0, prefixes=(F,)):
        self.select, self.aux, self.l1, self.prefixes = select, aux, l1, prefixes

    def loss(self, w, x, dead):
        p = (x - w["b_dec"]) @ w["W_enc"].T + w["b_enc"]
        f = self.select(p)
        loss = 0
        for m in self.prefixes:  # the last one holds all features
            e = x - w["b_dec"] - f[:, :m] @ w["W_dec"][:m]
            loss = loss + mean_square(e)
        if self.aux:
            loss = loss + aux_loss(p, e, dead, w["W_dec"])
        return loss + self.l1 * f.sum(dim=1).mean(), f


def l1(f):
    return 0.3 * f.sum(dim=1).mean()


def tanh(f):
    return 0.5 * torch.tanh(4 * f).sum(dim=1).mean()


def kl(f):
    rho = 0.05
    rate = torch.tanh(4 * f).mean(dim=0).clamp(1e-6, 1 - 1e-6)
    return 0.05 * (rho * torch.log(rho / rate) + (1 - rho) * torch.log((1 - rho) / (1 - rate))).sum()


class Relu:
    extra = {}

    def __init__(self, penalty):
        self.penalty = penalty

    def loss(self, w, x, _dead):
        f = torch.relu((x - w["b_dec"]) @ w["W_enc"].T + w["b_enc"])
        return mean_square(x - f @ w["W_dec"] - w["b_dec"]) + self.penalty(f), f


def l0_penalty(_f, l0):
    return 0.05 * l0


def target_penalty(_f, l0):
    return (l0 / 6 - 1) ** 2


def tanh_penalty(f, _l0):
    return 0.3 * torch.tanh(4 * f).sum(dim=1).mean()


class JumpRelu:
    extra = {"theta": 0.1}

    def __init__(self, penalty):
        self.penalty = penalty

    def loss(self, w, x, _dead):
        p = (x - w["b_dec"]) @ w["W_enc"].T + w["b_enc"]
        f = Jump.apply(p, w["theta"])
        l0 = Step.apply(p, w["theta"]).sum(dim=1).mean()
        return mean_square(x - f @ w["W_dec"] - w["b_dec"]) + self.penalty(f, l0), f


class Gated:
    """b_enc is b_gate."""
    extra = {"r_mag": 0.0, "b_mag": 0.0}

    def loss(self, w, x, _dead):
        product = (x - w["b_dec"]) @ w["W_enc"].T
        gate = product + w["b_enc"]
        f = (gate > 0) * torch.relu(torch.exp(w["r_mag"]) * product + w["b_mag"])
        open_gate = torch.relu(gate)
        by_gate = open_gate @ w["W_dec"].detach() + w["b_dec"].detach()
        return (mean_square(x - f @ w["W_dec"] - w["b_dec"]) + 0.3 * open_gate.sum(dim=1).mean() +
                mean_square(x - by_gate)), f


VARIANTS = {
    "topk": Selecting(row_top),
    "batchtopk": Selecting(batch_top),
    "abstopk": Selecting(row_abs_top),
    "relu_l1": Relu(l1),
    "relu_tanh": Relu(tanh),
    "relu_kl": Relu(kl),
    "topk_l1": Selecting(row_top, aux=False, l1=0.05),
    "jumprelu_l0": JumpRelu(l0_penalty),
    "jumprelu_target": JumpRelu(target_penalty),
    "jumprelu_tanh": JumpRelu(tanh_penalty),
    "gated": Gated(),
    "matryoshka": Selecting(batch_top, prefixes=PREFIXES),
}


def finish_gradients(w):
    """Decoder rows may only turn; then the clip of the norm over all parameters. That norm."""
    rows, gradient = w["W_dec"].data, w["W_dec"].grad
    gradient -= (gradient * rows).sum(dim=1, keepdim=True) * rows
    norm = torch.sqrt(sum((p.grad ** 2).sum() for p in w.values()))
    if norm > CLIP:
        for p in w.values():
            p.grad *= CLIP / norm
    return norm.item()


def train(variant, begin, batches, dtype):
    """Losses [200], L0 [200], norms of gradients [200], and the features that were dead in each step."""
    values = {name: torch.tensor(value, dtype=dtype) for name, value in begin.items()}
    values.update({name: torch.full((F,), value, dtype=dtype) for name, value in variant.extra.items()})
    w = {name: torch.nn.Parameter(value) for name, value in values.items()}
    x = torch.tensor(batches, dtype=dtype)
    adam = torch.optim.Adam(w.values(), lr=LR, betas=(0.9, 0.999), eps=1e-8)
    ages = torch.zeros(F, dtype=torch.int64)
    losses, l0, norms, deaths = [], [], [], []
    for step in range(STEPS):
        dead = ages >= DEAD_AFTER
        deaths.append(int(dead.sum()))
        adam.zero_grad()
        loss, f = variant.loss(w, x[step % BATCHES], dead)
        loss.backward()
        norms.append(finish_gradients(w))
        adam.step()
        with torch.no_grad():
            w["W_dec"] /= w["W_dec"].norm(dim=1, keepdim=True)
            if "theta" in w:
                w["theta"].clamp_(min=0)
        ages = torch.where((f != 0).any(dim=0), 0, ages + ROWS)
        losses.append(loss.item())
        l0.append((f != 0).sum().item() / ROWS)
    return np.array(losses), np.array(l0), np.array(norms), deaths


def main(source: pathlib.Path) -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(11)
    batches = activations(rng)
    begin = start(rng, batches)
    tensors, metadata = {"batches": batches, **begin}, {"made_by": "tests/data/make_trajectory_golden.py"}
    for name, variant in VARIANTS.items():
        losses, l0, norms, deaths = train(variant, begin, batches, torch.float32)
        away = np.abs(train(variant, begin, batches, torch.float64)[0] / losses - 1)
        first, last = losses[:BATCHES].mean(), losses[-BATCHES:].mean()
        print(f"{name:16} loss {losses[0]:8.4f} -> {losses[-1]:8.4f}, mean of the first pass {first:8.4f}, of the last "
              f"{last:8.4f}; L0 {l0[0]:6.2f} -> {l0[-1]:6.2f}; dead {max(deaths):2} -> "
              f"{deaths[-1]:2}; clipped {(norms > CLIP).sum():3}; fp64 is away {away[:BATCHES].max():.1e}, {away.max():.1e}")
        if not last < 0.95 * first:
            raise SystemExit(f"{name} does not learn")
        for key, values in [("losses", losses), ("l0", l0), ("grad_norm", norms)]:
            tensors[f"{name}.{key}"] = values.astype(np.float32)
        metadata[f"{name}.fp64_away"] = f"{away[:BATCHES].max():.1e} {away.max():.1e}"
    save_file(tensors, source / "tests/data/trajectory_golden.safetensors", metadata=metadata)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
