#!/usr/bin/env python3
"""Times a training step of JumpReLU, and inference, in SAELens and dictionary_learning, beside `step/jumprelu`.

Usage: jumprelu_step.py D F ROWS [--steps N]     in the environment of tests/interop/setup.sh
Rows are those of a sparse code, on two threads; a step is forward, backward, clip and Adam, as each program's own trainer
does it. Prints the fastest and the median in ms. Dense: both multiply every feature in both directions.
"""
import argparse
import os
import statistics
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "2")
warnings.filterwarnings("ignore")
import torch  # noqa: E402

parser = argparse.ArgumentParser()
for name in ("d", "features", "rows"):
    parser.add_argument(name, type=int)
parser.add_argument("--steps", type=int, default=7)
args = parser.parse_args()
torch.set_num_threads(2)
torch.manual_seed(1)
directions = torch.nn.functional.normalize(torch.randn(512, args.d), dim=1)


def batch():
    return torch.relu(torch.randn(args.rows, 512) - 1.5) @ directions


def report(name, step):
    times = []
    for i in range(args.steps + 2):
        x = batch()
        begin = time.perf_counter()
        step(x, i)
        times.append(1e3 * (time.perf_counter() - begin))
    times = times[2:]
    print(f"{name:40} fastest {min(times):8.1f} ms, median {statistics.median(times):8.1f} ms")


def dictionary_learning():
    from dictionary_learning.trainers.jumprelu import JumpReluTrainer
    trainer = JumpReluTrainer(steps=1000, activation_dim=args.d, dict_size=args.features, layer=0, lm_name="none", device="cpu",
                              target_l0=32, warmup_steps=0, sparsity_warmup_steps=1)
    report("dictionary_learning jumprelu step", lambda x, i: trainer.update(i + 1, x))
    dictionary = trainer.ae
    with torch.no_grad():
        report("dictionary_learning jumprelu encode", lambda x, i: dictionary.encode(x))


def saelens():
    from sae_lens import JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig
    from sae_lens.saes.sae import TrainStepInput
    sae = JumpReLUTrainingSAE(JumpReLUTrainingSAEConfig(d_in=args.d, d_sae=args.features, l0_coefficient=1.0))
    adam = torch.optim.Adam(sae.parameters(), lr=3e-4)

    def step(x, i):
        out = sae.training_forward_pass(TrainStepInput(sae_in=x, coefficients={"l0": 1.0}, dead_neuron_mask=None,
                                                       n_training_steps=i, is_logging_step=False))
        adam.zero_grad()
        out.loss.backward()
        torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
        adam.step()
    report("SAELens jumprelu step", step)
    with torch.no_grad():
        report("SAELens jumprelu encode", lambda x, i: sae.encode(x))


dictionary_learning()
saelens()
