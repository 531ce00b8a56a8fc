"""Hugging Face transformers, in fp32, gives the residual stream that is in the store: of the demo's model, and of a seeded
model of each other kind, with the tokenizer of its family, through the whole pipeline."""
import json
import math
import os
import shutil
import sys
import tempfile

from common import Run, oracle, segment_ids, segments_of

h5py, np, torch, transformers = oracle("h5py", "numpy", "torch", "transformers")

LAYER = 2  # blocks.2.hook_resid_post, the hook of configs/demo.yaml
CONTEXTS = 12
WIDTH = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 512}
GROUPED = WIDTH | {"num_key_value_heads": 2, "head_dim": 24, "intermediate_size": 96}
# Of each family what its tokenizer is called in tests/data/tokenizer_files, and a configuration of which every part bites.
FAMILIES = {
    "llama": ("llama3", transformers.LlamaConfig, GROUPED | {
        "head_dim": 16, "rope_parameters": {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
                                            "high_freq_factor": 4.0, "original_max_position_embeddings": 64}}),
    "qwen3": ("qwen3", transformers.Qwen3Config, GROUPED),
    "gemma2": ("gemma", transformers.Gemma2Config, GROUPED | {"sliding_window": 32, "query_pre_attn_scalar": 20}),
    "gemma3": ("gemma", transformers.Gemma3TextConfig, GROUPED | {
        "sliding_window": 32, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}),
    "gpt_neox": ("neox", transformers.GPTNeoXConfig, WIDTH | {"intermediate_size": 256}),
}


def write_model(source, folder, family):
    """A seeded model of the family, as transformers saves it, with its tokenizer."""
    tokenizer, config, settings = FAMILIES[family]
    file = os.path.join(source, "tests/data/tokenizer_files", tokenizer + ".json")
    transformers.set_seed(1)
    with open(file) as tokens:  # not 0: that is padding for some, whose embedding is 0
        bos = [token["id"] for token in json.load(tokens)["added_tokens"] if token["special"] and token["id"] > 0][0]
    settings = dict(settings, vocab_size=2048, bos_token_id=bos, eos_token_id=bos)
    model = transformers.AutoModelForCausalLM.from_config(config(**settings), dtype=torch.float32)
    with torch.no_grad():
        for name, values in model.named_parameters():
            values.add_(0.1 * torch.randn_like(values)) if "norm" in name else values.mul_(4 if values.dim() == 2 else 1)
    model.save_pretrained(folder)
    shutil.copy(file, os.path.join(folder, "tokenizer.json"))


def worst_row(run, model):
    """Largest relative L2 difference of a row over some contexts, and the number of rows."""
    worst, rows = 0.0, 0
    with h5py.File(run.one("data/tokens/*/contexts-*/enwiki*.h5")) as contexts, \
            h5py.File(run.one("data/tokens/*/*.h5")) as shard, h5py.File(run.chunks()[0]) as chunk:
        packing = contexts.attrs["packing"]
        packing = packing.decode() if isinstance(packing, bytes) else packing
        ids, starts = shard["ids"][:], shard["documents/token_starts"][:]
        stored, context, position = (chunk[f"hooks/blocks.{LAYER}.hook_resid_post/activations"][:],
                                     chunk["context"][:], chunk["position"][:])
        seen = {}  # hidden_states[-1] has passed the final norm: the block itself is asked
        block = [module for name, module in model.named_modules() if name.endswith((f".h.{LAYER}", f".layers.{LAYER}"))][0]
        keeper = block.register_forward_hook(
            lambda _module, _inputs, output: seen.update(x=output[0] if isinstance(output, tuple) else output))
        for number in np.unique(context)[:CONTEXTS]:
            segments = segments_of(contexts, int(number) & 0xFFFFFFFF)
            pieces = [(s[0], segment_ids(contexts, ids, starts, s)) for s in segments]
            if packing == "concat":  # one causal run over the whole context
                pieces = [(pieces[0][0], sum((tokens for _, tokens in pieces), []))]
            for slot, tokens in pieces:
                with torch.no_grad():
                    model(torch.tensor([tokens]))
                states = seen["x"].reshape(len(tokens), -1)
                mine = np.flatnonzero((context == number) & (position >= slot) & (position < slot + len(tokens)))
                expected = states.numpy()[position[mine] - slot].astype(np.float64)
                difference = np.linalg.norm(stored[mine] - expected, axis=1) / np.linalg.norm(expected, axis=1)
                assert np.isfinite(difference).all(), f"context {number} slot {slot}: not finite"
                worst = max(worst, float(difference.max(initial=0)))
                rows += len(mine)
        keeper.remove()
    return worst, rows


def compare(what, bound, *settings, folder=None):
    run = Run("store.dtype=fp32", "train.tokens=8192", *settings)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder or run.model(), dtype=torch.float32, attn_implementation="eager").eval()
    worst, rows = worst_row(run, model)
    print(f"{what}: worst of {rows} rows {worst:.2e}, bound {bound:.2e}", flush=True)
    assert rows > 500 and worst <= bound


def main():
    bound = 2 * min(3e-6 * math.sqrt((LAYER + 1) / 2), 1e-5)
    for packing in ("packed", "concat"):
        compare(packing, bound, f"tokens.packing={packing}")
    # transformers rounds rotary angles to fp32 before it takes their cosine.
    for family in FAMILIES:
        with tempfile.TemporaryDirectory(prefix="refract-interop.") as folder:
            write_model(sys.argv[2], folder, family)
            compare(family, 1e-5, f"model=file:{folder}", f"hooks=[blocks.{LAYER}.hook_resid_post]",
                    f"saes.*.hook=blocks.{LAYER}.hook_resid_post", folder=folder)


main()
