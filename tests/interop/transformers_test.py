"""Hugging Face transformers, in fp32, gives the residual stream that is in the store."""
import math

from common import Run, oracle, segment_ids, segments_of

h5py, np, torch, transformers = oracle("h5py", "numpy", "torch", "transformers")

LAYER = 2  # blocks.2.hook_resid_post, the hook of configs/demo.yaml
CONTEXTS = 12


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
        for number in np.unique(context)[:CONTEXTS]:
            segments = segments_of(contexts, int(number) & 0xFFFFFFFF)
            pieces = [(s[0], segment_ids(contexts, ids, starts, s)) for s in segments]
            if packing == "concat":  # one causal run over the whole context
                pieces = [(pieces[0][0], sum((tokens for _, tokens in pieces), []))]
            for slot, tokens in pieces:
                with torch.no_grad():
                    states = model(torch.tensor([tokens]), output_hidden_states=True).hidden_states[LAYER + 1][0]
                mine = np.flatnonzero((context == number) & (position >= slot) & (position < slot + len(tokens)))
                expected = states.numpy()[position[mine] - slot].astype(np.float64)
                difference = np.linalg.norm(stored[mine] - expected, axis=1) / np.linalg.norm(expected, axis=1)
                assert np.isfinite(difference).all(), f"context {number} slot {slot}: not finite"
                worst = max(worst, float(difference.max(initial=0)))
                rows += len(mine)
    return worst, rows


def main():
    bound = 2 * min(3e-6 * math.sqrt((LAYER + 1) / 2), 1e-5)
    for packing in ("packed", "concat"):
        run = Run("store.dtype=fp32", "train.tokens=8192", f"tokens.packing={packing}")
        model = transformers.AutoModelForCausalLM.from_pretrained(
            run.model(), dtype=torch.float32, attn_implementation="eager").eval()
        worst, rows = worst_row(run, model)
        print(f"{packing}: worst of {rows} rows {worst:.2e}, bound {bound:.2e}")
        assert rows > 500 and worst <= bound


main()
