#!/usr/bin/env python3
"""Writes gpt2_golden.safetensors: what Hugging Face transformers computes for the demo model, in fp64.

Usage: make_gpt2_golden.py <source-dir>      needs torch, transformers, tokenizers, safetensors
Made with torch 2.15.0 and transformers 5.24.0. Only LayerNorm models may be compared in fp64: transformers
keeps other norms in fp32 even in a double model.
"""
import pathlib
import sys

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import GPT2LMHeadModel

TEXT = ("Hydrogen is the chemical element with atomic number 1. It is the lightest element and, at standard "
        "conditions, a gas of diatomic molecules. Stars are mainly composed of hydrogen in the plasma state.")
LAYERS = (0, 2, 5)
ERASED = 3  # the layer whose output is set to zero, behind the first token, for the divergence


def main(source: pathlib.Path) -> None:
    folder = source / "configs/demo/model"
    torch.set_num_threads(1)
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model = model.double().eval()
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXT, add_special_tokens=False).ids
    ids = torch.tensor([[model.config.bos_token_id] + ids[:39]])

    # hidden_states[-1] has passed the final norm; hooks see the raw residual of every block. What ln_2 puts
    # out is what the MLP reads: behind gain and bias.
    seen = {}

    def keep(name):
        def hook(_module, _inputs, output):
            seen[name] = output[0] if isinstance(output, tuple) else output
        return hook

    keepers = []
    for layer in LAYERS:
        block = model.transformer.h[layer]
        keepers.append(block.register_forward_hook(keep(f"blocks.{layer}.hook_resid_post")))
        keepers.append(block.ln_2.register_forward_hook(keep(f"blocks.{layer}.ln2.hook_normalized")))
    with torch.no_grad():
        logits = model(ids).logits[0]
    for keeper in keepers:
        keeper.remove()
    nll = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="none")

    def erase(_module, _inputs, output):
        values = (output[0] if isinstance(output, tuple) else output).clone()
        values[:, 1:] = 0
        return (values,) + output[1:] if isinstance(output, tuple) else values

    model.transformer.h[ERASED].register_forward_hook(erase)
    with torch.no_grad():
        erased = model(ids).logits[0]
    kl = torch.nn.functional.kl_div(erased.log_softmax(-1), logits.log_softmax(-1), log_target=True,
                                    reduction="none").sum(-1)

    width = model.config.n_embd
    tensors = {name: values.reshape(-1, width).float().contiguous() for name, values in seen.items()}
    tensors["nll"] = nll.float()
    tensors[f"kl.blocks.{ERASED}.erased"] = kl.float()
    tensors["ids"] = ids[0].to(torch.uint64)
    save_file(tensors, source / "tests/data/gpt2_golden.safetensors", metadata={"text": TEXT})
    print(f"{ids.shape[1]} tokens, mean nll {nll.mean():.3f}, mean kl {kl.mean():.3f}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
