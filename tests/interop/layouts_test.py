#!/usr/bin/env python3
"""`refract export` against the programs that its layouts are of: `script <refract-binary> <source-dir>`.

Each SAE of small runs is exported, loaded by sparsify and by dictionary_learning themselves, and compared on the run's
own held-out rows with what SAELens makes of the run's folder. SAEs that no variant of these runs trains are SAELens' own,
of random weights, put in the place of a run's. Bound: 1e-5 x the row's largest activation (common.agree).
"""
import contextlib
import glob
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile

from common import Run, agree, heldout_rows, load_sae, oracle

os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # its decoder then runs on a CPU
np, torch, h5py, sae_lens, _, sparsify, dictionary_learning = oracle(
    "numpy", "torch", "h5py", "sae_lens", "transformer_lens", "sparsify", "dictionary_learning")
load_dictionary = oracle("dictionary_learning.utils").load_dictionary

compared_rows = 0
REFRACT = sys.argv[1]


def export(run, sae, form, out, *options, refused=None):
    """The folder that was made."""
    done = subprocess.run([REFRACT, "export", run, "--sae", sae, "--format", form, "--out", out, *options],
                          capture_output=True, text=True, check=False)
    if refused is not None:
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and refused in done.stderr, done
        return None
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def gaps(sae, x):
    """Of each row, in fp64: how far the nearest value is from being selected otherwise."""
    weights = {name: value.detach().double() for name, value in sae.named_parameters()}
    pre = (x.double() - weights["b_dec"]) @ weights["W_enc"]
    architecture = sae.cfg.architecture()
    if architecture in ("topk", "abstopk"):
        pre = pre + weights["b_enc"]
        best = (pre.abs() if architecture == "abstopk" else pre).topk(sae.cfg.k + 1, dim=1).values
        return (best[:, -2] - best[:, -1]).numpy()
    if architecture == "jumprelu":
        return (pre + weights["b_enc"] - sae.threshold.detach().double()).abs().min(dim=1).values.numpy()
    if architecture == "gated":
        return (pre + weights["b_gate"]).abs().min(dim=1).values.numpy()
    return np.full(len(x), np.inf)


def by_sparsify(folder, x):
    hook = os.path.basename(folder)
    loaded = sparsify.SparseCoder.load_many(os.path.dirname(folder), local=True)
    assert list(loaded) == [hook], loaded
    coder = loaded[hook]
    found = coder.encode(x)
    acts = torch.zeros(len(x), coder.num_latents).scatter_(1, found.top_indices, found.top_acts)
    return acts, coder.decode(found.top_acts, found.top_indices)


def by_dictionary_learning(folder, x):
    dictionary, config = load_dictionary(folder, "cpu")
    assert type(dictionary).__name__ == config["trainer"]["dict_class"], config
    acts = dictionary.encode(x)
    return acts, dictionary.decode(acts)


def by_saelens(folder, x):
    sae = load_sae(folder)
    acts = sae.encode(x)
    return acts, sae.decode(acts)


READERS = {"saelens": by_saelens, "sparsify": by_sparsify, "dictionary_learning": by_dictionary_learning}


def compare(name, run, sae_name, forms, out, dict_class):
    """Each layout of one SAE of the run with what SAELens makes of its own."""
    global compared_rows
    latest = os.path.join(run, "saes", sae_name, "latest")
    sae = load_sae(latest)
    with h5py.File(glob.glob(os.path.join(run, "*_activations", "heldout.h5"))[0]) as store:
        x, _ = heldout_rows(store, sae.cfg.metadata.hook_name, None)
    x = torch.from_numpy(x)
    with torch.no_grad():
        theirs = sae.encode(x)
        x_hat = sae.decode(theirs)
        gap = gaps(sae, x)
        for form in READERS:
            folder = os.path.join(out, name, form)
            if form not in forms:
                export(run, sae_name, form, folder, refused=f"--format {form} holds")
                assert not os.path.exists(folder), folder
                continue
            said = io.StringIO()
            made = export(run, sae_name, form, folder)
            with contextlib.redirect_stdout(said):
                ours, decoded = READERS[form](made, x)
            assert not said.getvalue(), f"{form} says: {said.getvalue()}"
            compared_rows += agree(f"{name} by {form}", ours.numpy(), theirs.numpy(), gap, 1e-5)
            same = (torch.abs(ours - theirs).amax(dim=1) <= 1e-5 * theirs.abs().amax(dim=1)).numpy()
            error = float((decoded - x_hat)[same].abs().max() / x_hat.abs().max())
            assert error < 1e-5, f"{name} by {form}: reconstructions differ by {error:.2e}"
            export(run, sae_name, form, folder, refused="exists already")
            if form == "dictionary_learning":
                expect_torch_file(os.path.join(made, "ae.pt"))
                with open(os.path.join(made, "config.json")) as file:
                    trainer = json.load(file)["trainer"]
                assert trainer["dict_class"] == dict_class and trainer["layer"] == 2, trainer
            if form == "sparsify":
                assert os.path.basename(made) == "h.2", made
                narrow = export(run, sae_name, form, folder + "-bf16", "--dtype", "bf16")
                assert sparsify.SparseCoder.load_from_disk(narrow).dtype == torch.bfloat16


def expect_torch_file(path):
    """Whole by its checksums, and what torch.save would write of the same values."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None, path
    state = torch.load(path, weights_only=True)
    mapped = torch.load(path, weights_only=True, mmap=True)
    again = io.BytesIO()
    torch.save(state, again)
    again.seek(0)
    saved = torch.load(again, weights_only=True)
    assert type(state) is type(saved) and list(state) == list(saved), (type(state), list(state))
    for name, value in saved.items():
        for other in (state[name], mapped[name]):
            assert torch.equal(other, value) and other.dtype == value.dtype and other.is_contiguous(), name


def put_in_place(run, sae_name, architecture, change, metadata):
    """SAELens' own SAE of random weights instead of the run's; `change` works on its parameters."""
    latest = os.path.join(run, "saes", sae_name, "latest")
    old = load_sae(latest)
    sae_class, config_class = sae_lens.registry.get_sae_class(architecture)
    d_in, d_sae = old.cfg.d_in, old.cfg.d_sae
    sae = sae_class(config_class(d_in=d_in, d_sae=d_sae, dtype="float32", device="cpu"))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        rows = torch.randn(d_sae, d_in, generator=generator)
        sae.W_dec.copy_(rows / rows.norm(dim=1, keepdim=True))
        sae.W_enc.copy_(sae.W_dec.T)
        sae.b_dec.copy_(old.b_dec)
        change(sae, generator)
    sae.cfg.metadata = old.cfg.metadata
    for key, value in metadata.items():
        sae.cfg.metadata[key] = value
    for file in os.listdir(latest):
        os.remove(os.path.join(latest, file))
    sae.save_model(latest)
    with open(os.path.join(latest, "SHA256SUMS"), "w") as sums:
        for file in ("cfg.json", "sae_weights.safetensors"):
            with open(os.path.join(latest, file), "rb") as content:
                sums.write(f"{hashlib.sha256(content.read()).hexdigest()}  {file}\n")
    assert sorted(os.listdir(latest)) == ["SHA256SUMS", "cfg.json", "sae_weights.safetensors"], os.listdir(latest)


def jump(own_thresholds):
    def change(sae, generator):
        sae.b_enc.normal_(generator=generator)
        sae.threshold.fill_(15.0)
        if own_thresholds:
            sae.threshold.add_(torch.rand(sae.threshold.shape, generator=generator))
    return change


def gates(sae, generator):
    sae.b_gate.normal_(-15, 1, generator=generator)
    sae.b_mag.normal_(-5, 1, generator=generator)
    sae.r_mag.normal_(0, 0.3, generator=generator)


every = ("saelens", "sparsify", "dictionary_learning")
no_sparsify = ("saelens", "dictionary_learning")
finished = Run("saes.1.variant=batchtopk")
out = os.path.join(os.path.dirname(finished.run), "exported")
compare("topk", finished.run, "small", every, out, "AutoEncoderTopK")
compare("batchtopk", finished.run, "big", no_sparsify, out, "BatchTopKSAE")
kept = export(finished.run, "small", "sparsify", os.path.join(out, "kept"), "--checkpoint", "chunk-000000")
assert sparsify.SparseCoder.load_from_disk(kept).dtype == torch.float32
export(finished.run, "nobody", "saelens", os.path.join(out, "nobody"), refused="has small, big")

put_in_place(finished.run, "big", "jumprelu", jump(True), {"training_architecture": "jumprelu"})
compare("jumprelu", finished.run, "big", no_sparsify, out, "JumpReluAutoEncoder")
put_in_place(finished.run, "big", "jumprelu", jump(False), {
    "training_architecture": "matryoshka_batchtopk",
    "training_architecture_details": {"k": 16, "matryoshka_widths": [32, 128, 512]}})
compare("matryoshka", finished.run, "big", no_sparsify, out, "MatryoshkaBatchTopKSAE")
put_in_place(finished.run, "big", "gated", gates, {"training_architecture": "gated"})
compare("gated", finished.run, "big", no_sparsify, out, "GatedAutoEncoder")

trained = Run("saes.0.variant=matryoshka", "saes.1.variant=jumprelu", "saes.1.k=0",
              "saes.1.penalty={kind: l0, coefficient: 20, target: 16}")
compare("trained matryoshka", trained.run, "small", no_sparsify, out, "MatryoshkaBatchTopKSAE")
compare("trained jumprelu", trained.run, "big", no_sparsify, out, "JumpReluAutoEncoder")
trained = Run("saes.0.variant=abstopk", "saes.1.variant=gated", "saes.1.k=0", "saes.1.decoder_norm=free",
              "saes.1.penalty={kind: l1, coefficient: 2}")
compare("trained gated", trained.run, "big", no_sparsify, out, "GatedAutoEncoder")
compare("trained abstopk", trained.run, "small", ("saelens",), out, "")

with open(os.path.join(finished.run, "saes", "small", "latest", "cfg.json"), "a") as file:
    file.write(" ")
damaged = subprocess.run([REFRACT, "export", finished.run, "--format", "saelens", "--out", os.path.join(out, "damaged")],
                         capture_output=True, text=True, check=False)
assert damaged.returncode == 3 and "is not what was written" in damaged.stderr, damaged

relu = Run("saes.0.variant=relu", "saes.0.k=0")
compare("relu", relu.run, "small", no_sparsify, os.path.join(os.path.dirname(relu.run), "exported"), "AutoEncoder")
assert compared_rows > 0, "nothing was compared"
print(f"{compared_rows} rows agree with SAELens")
