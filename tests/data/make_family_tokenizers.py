#!/usr/bin/env python3
"""Writes tokenizer_files/<family>.json: small tokenizers with the pipelines of public families.

The pipeline (normalizer, pre-tokenizer with the exact patterns, flags of the model, kinds of added tokens,
post-processor, decoder) is that of the family's own file; the vocabulary is trained here on the demo's text
(configs/demo/README.md states its licence) and on the texts of tokenizer_texts.py, so none of theirs is shipped.
Usage: make_family_tokenizers.py <source-dir>  (needs the PyPI packages `tokenizers` 0.23.3 and `zstandard`)
"""
import collections
import glob
import io
import json
import os
import pathlib
import re
import sys

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the order of counting decides ties
import zstandard
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

import tokenizer_texts

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
HTML = ("table caption thead tbody tr th td /table /caption /thead /tbody /tr /th /td h1 h2 /h1 /h2 blockquote "
        "/blockquote strong em b i u s sub sup code /strong /em /b /i /u /s /sub /sup /code a /a div /div").split()
SPACE = "▁"


def values(record):
    """Every "value" of a record and of what it holds."""
    if isinstance(record, dict):
        if isinstance(record.get("value"), str):
            yield record["value"]
        record = list(record.values())
    if isinstance(record, list):
        for part in record:
            yield from values(part)


def training_texts(source):
    texts = []
    for path in sorted(glob.glob(str(source / "configs/demo/shards/*.zst")))[:2]:
        with open(path, "rb") as file:
            for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8"):
                texts.append("\n\n".join(values(json.loads(line)["sections"])))
    return texts + tokenizer_texts.TEXTS * 3


def train(texts, size, normalizer, pre_tokenizer, alphabet, limit=None):
    """Vocabulary in the order of training and its merges."""
    tokenizer = Tokenizer(models.BPE())
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    limits = {"limit_alphabet": limit} if limit else {}
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=alphabet, max_token_length=24,
                                  **limits)
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    order = sorted(model["vocab"], key=model["vocab"].get)
    return order, [tuple(pair) for pair in model["merges"]]


def byte_level(texts, size, normalizer=None, pre_tokenizer=None):
    return train(texts, size, normalizer, pre_tokenizer, sorted(pre_tokenizers.ByteLevel.alphabet()))


def every_split(entries):
    """Merges as converters write them: for each entry, in its order, each way to split it into two entries."""
    rank = {entry: i for i, entry in enumerate(entries)}
    merges = []
    for entry in entries:
        cuts = [(entry[:i], entry[i:]) for i in range(1, len(entry)) if entry[:i] in rank and entry[i:] in rank]
        merges += sorted(cuts, key=lambda cut: (rank[cut[0]], rank[cut[1]]))
    return merges


def token(id_, content, normalized=False, special=True):
    return {"id": id_, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": normalized, "special": special}


def byte_level_part(**flags):
    return {"type": "ByteLevel", **flags}


def model_part(order, merges, pairs, **flags):
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, **flags,
            "vocab": {entry: i for i, entry in enumerate(order)},
            "merges": [list(pair) if pairs else " ".join(pair) for pair in merges]}


def file_of(added, normalizer, pre_tokenizer, post_processor, decoder, model):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer, "post_processor": post_processor, "decoder": decoder, "model": model}


def template(bos):
    return {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                     {"SpecialToken": {"id": bos, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {bos: {"id": bos, "ids": [1], "tokens": [bos]}}}


def gpt2(texts):
    order, merges = byte_level(texts, 1500, None, pre_tokenizers.ByteLevel(add_prefix_space=False))
    order.append("<|endoftext|>")
    model = model_part(order, merges, False, continuing_subword_prefix="", end_of_word_suffix="")
    for key in ("type", "byte_fallback"):  # the file is older than both
        del model[key]
    return file_of([token(len(order) - 1, "<|endoftext|>", normalized=True)], None,
                   byte_level_part(add_prefix_space=False, trim_offsets=True),
                   byte_level_part(add_prefix_space=True, trim_offsets=False),
                   byte_level_part(add_prefix_space=True, trim_offsets=True), model)


def neox(texts):
    order, merges = byte_level(texts, 1500, normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=False))
    order = ["<|endoftext|>", "<|padding|>"] + order
    part = byte_level_part(add_prefix_space=False, trim_offsets=True)
    model = model_part(order, merges, False)
    del model["byte_fallback"]
    runs = [token(len(order) + i, " " * (24 - i), normalized=True, special=False) for i in range(23)]
    return file_of([token(0, "<|endoftext|>"), token(1, "<|padding|>"), *runs], {"type": "NFC"}, part, part, part, model)


def split_then_bytes(pattern, trim):
    return {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
        byte_level_part(add_prefix_space=False, trim_offsets=trim, use_regex=False)]}


def trainer_split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def llama3(texts):
    order, _ = byte_level(texts, 1300, None, trainer_split(LLAMA3))
    merges = every_split(order)
    whole, _ = byte_level(texts, 1400, None, trainer_split(GPT2))
    order += [entry for entry in whole if entry not in order][:60]  # only ignore_merges reaches these
    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>",
             "<|finetune_right_pad_id|>", "<|reserved_special_token_2|>", "<|start_header_id|>", "<|end_header_id|>",
             "<|eom_id|>", "<|eot_id|>", "<|python_tag|>"]
    names += [f"<|reserved_special_token_{i}|>" for i in range(3, 24)]
    return file_of([token(len(order) + i, name) for i, name in enumerate(names)], None, split_then_bytes(LLAMA3, True),
                   byte_level_part(add_prefix_space=True, trim_offsets=False, use_regex=True),
                   byte_level_part(add_prefix_space=True, trim_offsets=True, use_regex=True),
                   model_part(order, merges, False, ignore_merges=True))


def qwen3(texts):
    order, merges = byte_level(texts, 1500, normalizers.NFC(), trainer_split(QWEN2))
    special = ("<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> "
               "<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>")
    plain = ("<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> "
             "<|file_sep|> <tool_response> </tool_response> <think> </think>")
    added = [(name, True) for name in special.split()] + [(name, False) for name in plain.split()]
    part = byte_level_part(add_prefix_space=False, trim_offsets=False, use_regex=False)
    return file_of([token(len(order) + i, name, special=is_special) for i, (name, is_special) in enumerate(added)],
                   {"type": "NFC"}, split_then_bytes(QWEN2, False), part, part,
                   model_part(order, merges, True, continuing_subword_prefix="", end_of_word_suffix="",
                              ignore_merges=False))


def smollm2(texts):
    order, merges = byte_level(texts, 1500, None, pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]))
    names = ("<|endoftext|> <|im_start|> <|im_end|> <repo_name> <reponame> <file_sep> <filename> <gh_stars> "
             "<issue_start> <issue_comment> <issue_closed> <jupyter_start> <jupyter_text> <jupyter_code> "
             "<jupyter_output> <jupyter_script> <empty_output>").split()
    bytes_part = byte_level_part(add_prefix_space=False, trim_offsets=True, use_regex=True)
    return file_of([token(i, name) for i, name in enumerate(names)], None,
                   {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, bytes_part]},
                   None, byte_level_part(add_prefix_space=True, trim_offsets=True, use_regex=True),
                   model_part(names + order, merges, False, ignore_merges=False))


def replaced(texts):
    return [text.replace(" ", SPACE) for text in texts]


def sentence_pieces(texts, size, pre_tokenizer, limit=110):
    """Pieces and characters in the order of a converted SentencePiece model: pieces by rank, then characters."""
    counts = collections.Counter("".join(texts))
    common = sorted(counts, key=lambda character: (-counts[character], character))
    alphabet = list(dict.fromkeys([*"éäß日本字かжλ", "\u0301", SPACE, *common]))[:limit]  # ties by number, not by luck
    order, _ = train(texts, size, None, pre_tokenizer, alphabet, limit)
    control = re.compile("<.*>")  # no merge makes a byte's or an added token
    return ([entry for entry in order if len(entry) > 1 and not control.fullmatch(entry)],
            [entry for entry in order if len(entry) == 1])


def words():
    return pre_tokenizers.Split(SPACE, "merged_with_next")


def fallback_bytes():
    return [f"<0x{byte:02X}>" for byte in range(256)]


def pieces_decoder(*last):
    return {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        *last]}


def gemma(texts):
    pieces, characters = sentence_pieces(replaced(texts), 1000, words())
    pieces = [piece for piece in pieces if not re.search(f"^{SPACE}+$|[\n\t]", piece)] + ["</", SPACE + "<", SPACE + "</", ">" + SPACE + "</"]
    characters = [character for character in characters if character not in "\n\t"]
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "[multimodal]", *(f"<unused{i}>" for i in range(4)),
             "<start_of_turn>", "<end_of_turn>"]
    runs = ["\n" * n for n in range(1, 32)] + [SPACE * n for n in range(2, 17)]
    tags = [f"<{tag}>" for tag in HTML]
    tail = ["\t" * n for n in range(1, 32)] + ["<start_of_image>", "<end_of_image>", "<unused4>"]
    order = names + runs + tags + fallback_bytes() + pieces + characters + tail
    rank = set(order)
    merges = [(SPACE * i, SPACE * (n - i)) for n in range(16, 1, -1) for i in range(n - 1, 0, -1)]
    merges += [("\n" * i, "\n" * (n - i)) for n in range(3, 1, -1) for i in range(n - 1, 0, -1)]
    merges += [pair for pair in every_split(characters + pieces) if pair[0] in rank]
    special = {"<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>"}
    ids = {entry: i for i, entry in enumerate(order)}
    added = [token(ids[name], name, special=name in special) for name in names + runs + tags + tail]
    added.append(token(len(order), "<image_soft_token>"))
    post = template("<bos>")
    post["special_tokens"]["<bos>"]["ids"] = [2]
    return file_of(added, {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
                   {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
                   post, pieces_decoder(),
                   model_part(order, merges, True, unk_token="<unk>", fuse_unk=True, byte_fallback=True,
                              ignore_merges=False))


def llama2_model(texts, size, pre_tokenizer, without_bytes=()):
    pieces, characters = sentence_pieces([SPACE + text for text in replaced(texts)], size, pre_tokenizer)
    pieces = [piece for piece in pieces if "\n" not in piece]
    characters = [character for character in characters if character not in "\n\r\t"]  # left to their bytes
    order = ["<unk>", "<s>", "</s>"] + [byte for byte in fallback_bytes() if byte not in without_bytes] + pieces + characters
    model = model_part(order, every_split(characters + pieces), False, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    return [token(i, name, normalized=True) for i, name in enumerate(order[:3])], model


def llama2(texts, training=None):
    """Trained on words, or, with `training` "whole", as TinyStories' tokenizer: with spaces inside and after words."""
    added, model = llama2_model(texts, 1000, None if training == "whole" else words())
    normalizer = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": SPACE}, {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}]}
    return file_of(added, normalizer, None, template("<s>"),
                   pieces_decoder({"type": "Strip", "content": " ", "start": 1, "stop": 0}), model)


def llama2_metaspace(texts, scheme, split, **rest):
    """As newer conversions write it; four-byte characters have no bytes to fall back to, so they are unknown."""
    added, model = llama2_model(texts, 700, words(), [f"<0x{byte:02X}>" for byte in range(0xF0, 0xF5)])
    for part in added:
        part["normalized"] = False
    part = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": split}
    return file_of(added, None, part, template("<s>"),
                   pieces_decoder({"type": "Strip", "content": " ", "start": 1, "stop": 0}), model | rest)


def main():
    source = pathlib.Path(sys.argv[1])
    texts = training_texts(source)
    families = {
        "gpt2": gpt2(texts), "neox": neox(texts), "llama3": llama3(texts), "qwen3": qwen3(texts), "smollm2": smollm2(texts),
        "gemma": gemma(texts), "llama2": llama2(texts), "tinystories": llama2(texts, "whole"),
        "llama2_metaspace_first": llama2_metaspace(texts, "first", False),
        "llama2_metaspace_always": llama2_metaspace(texts, "always", True, fuse_unk=False)}
    folder = pathlib.Path(__file__).with_name("tokenizer_files")
    folder.mkdir(exist_ok=True)
    for name, file in families.items():
        order = Tokenizer.from_str(json.dumps(file)).get_vocab(with_added_tokens=False)
        assert sorted(order.values()) == list(range(len(order))), f"{name}: an entry stands twice"
        target = folder / f"{name}.json"
        target.write_text(json.dumps(file, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
        print(f"{name}: {len(file['model']['vocab'])} entries, {len(file['model']['merges'])} merges, "
              f"{target.stat().st_size} bytes")


main()
