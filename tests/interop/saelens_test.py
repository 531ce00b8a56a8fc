#!/usr/bin/env python3
"""refract's SAELens folders against the real SAELens: `script <refract-binary> <source-dir> [<unit_sae-binary>]`.

1. Golden folders, written by the unit test program next to the rows and activations refract computed.
2. saes/<name>/latest of small runs of every variant, on the run's own held-out rows, against activations written out in
   fp64.

Bound (DESIGN section 6): 1e-5 x the row's largest activation; a row is left out only when its k-th gap (the distance to
the threshold, where there is one) is under 1e-5 relative, at most 0.1 % of rows, the number printed. bf16 folders are loaded and compared in bf16's own bound.
With "-" as the refract binary only the golden folders are checked.
"""
import glob
import inspect
import json
import os
import subprocess
import sys
import tempfile
import warnings

from common import Run, agree, heldout_rows, load_sae, oracle

np, torch, h5py, _, safetensors_numpy = oracle("numpy", "torch", "h5py", "sae_lens", "safetensors.numpy")
load_file = safetensors_numpy.load_file
HookedTransformer = oracle("transformer_lens").HookedTransformer

compared_rows = 0


def gaps(sae, pre):
    """Of each row: how far the nearest value is from being selected otherwise."""
    architecture = sae.cfg.architecture()
    if architecture in ("topk", "abstopk"):
        ordered = np.sort(np.abs(pre) if architecture == "abstopk" else pre, axis=1)[:, ::-1]
        return ordered[:, sae.cfg.k - 1] - ordered[:, sae.cfg.k]
    if architecture == "jumprelu":
        return np.abs(pre - sae.threshold.detach().numpy()).min(axis=1)
    if architecture == "gated":
        return np.abs(pre).min(axis=1)
    return np.full(len(pre), np.inf)  # standard, transcoder: ReLU is continuous


def centred(sae, x, b_dec):
    """What the encoder multiplies: a transcoder's b_dec is of its output."""
    if sae.cfg.normalize_activations == "layer_norm":
        mean, std = x.mean(axis=1, keepdims=True), x.std(axis=1, ddof=1, keepdims=True)
        x = (x - mean) / (std + 1e-5)
    return x - b_dec if sae.cfg.apply_b_dec_to_input else x


def bias_of(sae):
    return sae.b_gate if sae.cfg.architecture() == "gated" else sae.b_enc


def compare(name, sae, ours, theirs, pre, bound):
    """ours, theirs [n, F] activations; pre [n, F] pre-activations, for the gaps."""
    global compared_rows
    compared_rows += agree(f"{name} ({sae.cfg.architecture()})", ours, theirs, gaps(sae, pre), bound)


def golden(unit_program, scratch):
    env = dict(os.environ, REFRACT_GOLDEN_OUT=scratch)
    subprocess.run([unit_program, "--gtest_filter=SaeLens.folders*"], env=env, check=True, stdout=subprocess.DEVNULL)
    folders = sorted(glob.glob(os.path.join(scratch, "*")))
    assert folders, "no golden folder was written"
    for folder in folders:
        expected = load_file(os.path.join(folder, "expected.safetensors"))
        sae = load_sae(folder)
        assert sae.cfg.metadata.hook_name == "blocks.0.hook_resid_post", sae.cfg.metadata
        transcoder = os.path.basename(folder).startswith("transcoder")
        assert (sae.cfg.architecture() == "transcoder") == transcoder, sae.cfg
        if transcoder:
            assert sae.cfg.metadata.hook_name_out == "blocks.0.hook_mlp_out", sae.cfg.metadata
            assert sae.cfg.d_out == expected["x_hat"].shape[1] != sae.cfg.d_in, sae.cfg
        x = torch.from_numpy(expected["x"].copy())
        if folder.endswith("bf16"):
            # The folder rounds the weights; SAELens computes in its dtype. Compare against those weights in fp32.
            sae = sae.to(torch.float32)
            with torch.no_grad():
                theirs = sae.encode(x).numpy()
            share = (np.sign(theirs) == np.sign(expected["feature_acts"])).mean()
            assert share > 0.98, share
            print(f"{os.path.basename(folder)}: loads; {share:.4f} of activations agree in being active")
            continue
        with torch.no_grad():
            theirs = sae.encode(x).numpy()
            decoded = sae(x).numpy()
            pre = centred(sae, x.numpy(), sae.b_dec.numpy()) @ sae.W_enc.numpy() + bias_of(sae).numpy()
        compare(os.path.basename(folder), sae, expected["feature_acts"], theirs, pre, 1e-5)
        error = np.abs(decoded - expected["x_hat"]).max() / np.abs(decoded).max()
        print(f"{os.path.basename(folder)}: reconstruction differs by {error:.2e} of the largest value")
        assert error < 1e-5


def activations(sae, pre, weights):
    """What refract says the features are, from the exported weights, in fp64."""
    if sae.cfg.architecture() == "jumprelu":
        return np.where(pre > weights["threshold"], np.maximum(pre, 0), 0)
    if sae.cfg.architecture() in ("standard", "transcoder"):
        return np.maximum(pre, 0)
    if sae.cfg.architecture() == "gated":
        magnitude = np.exp(weights["r_mag"]) * (pre - weights["b_gate"]) + weights["b_mag"]
        return np.where(pre > 0, np.maximum(magnitude, 0), 0)
    signed = sae.cfg.architecture() == "abstopk"
    ours = np.zeros_like(pre)
    top = np.argsort(-np.abs(pre) if signed else -pre, axis=1, kind="stable")[:, :sae.cfg.k]
    kept = np.take_along_axis(pre, top, axis=1)
    np.put_along_axis(ours, top, kept if signed else np.maximum(kept, 0), axis=1)
    return ours


def expect_metadata(sae, name, settings, metrics):
    """What a correct use needs, as the run had it."""
    metadata = sae.cfg.metadata
    said = dict(setting.split("=", 1) for setting in settings)
    packing, bos = said.get("tokens.packing", "packed"), said.get("tokens.bos", "document_start")
    modules = {"hook_resid_post": "", "hook_mlp_out": ".mlp", "ln2.hook_normalized": ".ln_2"}

    def module(hook):
        _, layer, site = hook.split(".", 2)
        return f"transformer.h.{layer}{modules[site]}"

    expected = {
        "model_name": "model", "model_class_name": "HookedTransformer", "context_size": 256,
        "model_from_pretrained_kwargs": {"fold_ln": False, "center_writing_weights": False,
                                         "center_unembed": False, "fold_value_biases": False},
        "hf_hook_name": module(metadata.hook_name), "hook_head_index": None,
        "prepend_bos": bos == "each_context", "exclude_special_tokens": True, "seqpos_slice": [None],
        "sequence_separator_token": None if packing == "document" or bos == "none" else "bos",
        "disable_concat_sequences": packing == "document", "refract_packing": packing, "refract_bos": bos,
        "dataset_path": "enwiki_namespace_0_0.jsonl.zst", "sae_lens_training_version": None,
        "l0": metrics["l0"], "num_dead_features": metrics["train"]["dead"]}
    for key, value in expected.items():
        assert key in metadata and metadata[key] == value, f"metadata.{key} is {metadata[key]}, expected {value}"
    assert metadata.sae_lens_version and metadata.refract_version, metadata
    if metadata.hook_name_out:
        assert metadata.hf_hook_name_out == module(metadata.hook_name_out), metadata
    variant = said.get(f"saes.{('small', 'big').index(name)}.variant", "topk")
    trained = {"relu": "standard", "matryoshka": "matryoshka_batchtopk"}.get(variant, variant)
    assert metadata.training_architecture == ("transcoder" if metadata.hook_name_out else trained), metadata
    inspect.signature(HookedTransformer.from_pretrained_no_processing).bind(
        metadata.model_name, **metadata.model_from_pretrained_kwargs)


def small_run(*settings, bound=1e-5):
    """Returns normalize_activations of each folder."""
    left = []
    finished = Run(*settings)
    heldout = finished.one("run/*_activations/heldout.h5")
    run = finished.run
    folders = sorted(glob.glob(os.path.join(run, "saes", "*", "latest")))
    assert folders, "the run left no saes/<name>/latest"
    with h5py.File(heldout) as store:
        for folder in folders:
            with warnings.catch_warnings():
                # The only one: that the model must be loaded as the metadata says.
                warnings.simplefilter("error")
                warnings.filterwarnings("ignore", message="\nThis SAE has non-empty model_from_pretrained_kwargs")
                sae = load_sae(folder)
            with open(os.path.join(os.path.dirname(folder), "metrics.jsonl")) as file:
                expect_metadata(sae, os.path.basename(os.path.dirname(folder)), settings, json.loads(file.readlines()[-1]))
            x, y = heldout_rows(store, sae.cfg.metadata.hook_name, sae.cfg.metadata.hook_name_out)
            with torch.no_grad():
                theirs = sae.encode(torch.from_numpy(x.copy())).numpy()
                error = sae(torch.from_numpy(x.copy())).numpy() - y
            squared = float((error.astype(np.float64)**2).sum(axis=1).mean())
            with open(os.path.join(run, "saes", os.path.basename(os.path.dirname(folder)), "evaluation.json")) as file:
                inference = json.load(file)["inference"]
            assert inference["rows"] == len(x), (inference["rows"], len(x))
            assert abs(inference["squared_error"] - squared) <= 1e-4 * squared, (inference["squared_error"], squared)
            fired = float((theirs != 0).sum(axis=1).mean())
            assert abs(inference["l0"] - fired) <= 1e-3 * fired, (inference["l0"], fired)
            print(f"run {os.path.basename(os.path.dirname(folder))}: squared error {squared:.6g}, refract says "
                  f"{inference['squared_error']:.6g}; R2 {inference['r2']:.4f}")
            left.append(sae.cfg.normalize_activations)
            weights = {key: value.astype(np.float64)
                       for key, value in load_file(os.path.join(folder, "sae_weights.safetensors")).items()}
            pre = centred(sae, x.astype(np.float64), weights["b_dec"]) @ weights["W_enc"] + \
                weights.get("b_enc", weights.get("b_gate"))
            compare(f"run {os.path.basename(os.path.dirname(folder))}", sae, activations(sae, pre, weights), theirs, pre, bound)
    return left


if len(sys.argv) > 3:
    with tempfile.TemporaryDirectory(prefix="refract-interop.") as scratch:
        golden(sys.argv[3], scratch)
if sys.argv[1] != "-":
    assert small_run() == ["none", "none"]
    # Only what all rows have in common can be folded; the other is left to the reader of the folder.
    assert small_run("saes.0.normalize=layer_norm", "saes.1.normalize=whiten", "saes.1.variant=batchtopk") == \
        ["none", "layer_norm"]  # by name: big, small
    assert small_run("saes.0.normalize=whiten", "saes.1.normalize=whiten", "saes.1.variant=relu", "saes.1.k=0",
                     "saes.1.penalty.coefficient=2") == ["none", "none"]
    small_run("saes.0.variant=relu", "saes.0.k=0", "saes.1.variant=batchtopk", "saes.1.non_negative_decoder=true",
              "tokens.packing=document", "tokens.bos=each_context")
    small_run("saes.0.variant=abstopk", "saes.0.normalize=whiten", "saes.1.variant=matryoshka",
              "saes.1.decoder_norm=free")
    small_run("saes.0.variant=jumprelu", "saes.0.k=0", "saes.0.penalty={kind: l0, coefficient: 20, target: 16}",
              "saes.1.variant=gated", "saes.1.k=0", "saes.1.penalty={kind: l1, coefficient: 2}")
    small_run("saes.0.variant=jumprelu", "saes.0.k=0", "saes.0.penalty={kind: l0, coefficient: 20, target: 16}",
              "saes.0.normalize=whiten", "saes.1.variant=gated", "saes.1.k=0", "saes.1.decoder_norm=free",
              "saes.1.penalty={kind: l1, coefficient: 2}", "saes.1.normalize=whiten")
    small_run("hooks=[blocks.2.ln2.hook_normalized, blocks.2.hook_mlp_out]", "saes.*.hook=blocks.2.ln2.hook_normalized",
              "saes.0.variant=relu", "saes.0.k=0", "saes.0.target_hook=blocks.2.hook_mlp_out",
              # Or in most rows nothing fires, and in some a trace that is a thousandth of what is added up for it.
              "saes.0.penalty.coefficient=0.1")
    small_run("hooks=[blocks.2.ln2.hook_normalized, blocks.2.hook_mlp_out]", "saes.*.hook=blocks.2.ln2.hook_normalized",
              "saes.*.normalize=whiten", "saes.0.variant=relu", "saes.0.k=0",
              "saes.0.target_hook=blocks.2.hook_mlp_out", "saes.0.penalty.coefficient=0.1",
              # Its b_dec is not subtracted, so the mean of what it reads cancels in SAELens' fp32 sums.
              bound=1e-4)
assert compared_rows > 0, "nothing was compared"
print(f"{compared_rows} rows agree with SAELens")
