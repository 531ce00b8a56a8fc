#!/usr/bin/env python3
"""Writes tokenizer_golden.json: ids that Hugging Face `tokenizers` gives for tricky texts.

Each case is the demo tokenizer with a JSON merge patch, so that every setting a file may carry is seen once.
Usage: make_tokenizer_golden.py <source-dir>  (needs the PyPI package `tokenizers`; writes beside itself)
"""
import json
import pathlib
import random
import sys

from tokenizers import Tokenizer

TEXTS = [
    "", " ", "  ", "a", "Hello world", "Hello  world", "Hello   world  ", "\n", "\n\n", " \n x", "\t\ttabs\tand spaces ",
    "it's we're I've I'm you'll he'd 'tis IT'S WE'RE 's't're ' 'x ''s can't've", "'", "''", "' s", "'s", "'l", "'ll", "'v",
    "12345 67 8a9b 3.14159 1,000,000", " 42", "  42", "½ ² ٣٤ Ⅻ 一二 ௧", "don\u2019t \u201cquote\u201d \u2014 dash \u2026",
    "naïve café Ærøskøbing Straße", "Привет мир", "你好世界 こんにちは 안녕하세요", "שלום עולם مرحبا بالعالم",
    "e\u0301 a\u0308 \u0301x", "👍🏽 👩\u200d👩\u200d👧 🇩🇪", "\u00a0nbsp\u00a0 \u2003em\u3000ideographic \u2028line",
    "zero\u200bwidth \ufeffbom \u180emongolian", "\x00nul\x1fcontrol\x1c\x85next", "\U000105d2\U00011de0\U00016ff4",
    "\U0001e030\U00010d6f \U00010d40 \u1c89\u1c8a\ua7cb", "<|endoftext|>", "a<|endoftext|>b", " <|endoftext|> ",
    "<|endoftext|><|endoftext|>", "<|endoftext|", "<|endoftext|>\n\n<|endoftext|> x", "<|endo<|endoftext|>", "Ġ Ċ Ä",
    "!!!???...", " !", "#$%^&*()_+{}|:\"<>?-=[]\\;',./`~", "https://en.wikipedia.org/wiki/Hua_Mulan?x=1#y",
    "x" * 31, "x" * 32, "x" * 33, "x" * 1000, "ab" * 500, "the" * 300, " " * 100 + "x", "\n" * 65 + " y", "é" * 200,
    "antidisestablishmentarianism", "pneumonoultramicroscopicsilicovolcanoconiosis", "-" * 80, "=" * 40 + " h " + "=" * 40,
    "word<extra>word <extra> word", "<extra><extra-long> <extra-lon", "  <left>  x", "x  <right>  y", "  <both>  <both>  ",
    "<word> a<word> <word>b (<word>) é<word> _<word> 3<word>", "\u3000<both>\u3000", " <right><left> ", "x\n<left>\n<right>\nx",
    "<norm> <no<norm>rm> a<norm>b<extra>", "the of and", " the", "the",
]

ADDED = [
    {"content": "<|endoftext|>", "special": True, "normalized": False},
    {"content": "<extra>"}, {"content": "<extra-long>"}, {"content": "<left>", "lstrip": True},
    {"content": "<right>", "rstrip": True}, {"content": "<both>", "lstrip": True, "rstrip": True},
    {"content": "<word>", "single_word": True}, {"content": "<norm>", "normalized": True},
    {"content": "<no", "normalized": False}, {"content": "the", "normalized": True, "single_word": True},
]


def added(demo):
    vocab = demo["model"]["vocab"]
    result, fresh = [], len(vocab)
    for token in ADDED:
        full = {"id": vocab.get(token["content"], fresh), "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": False} | token
        fresh = max(fresh, full["id"] + 1)
        result.append(full)
    return result


def random_texts(count):
    rng = random.Random(1)
    pools = [[chr(c) for c in range(32, 127)], list(" \n\t'"), list("'srtveml d"), [chr(c) for c in range(0xA0, 0x250)],
             [chr(c) for c in range(0x300, 0x700)], [chr(c) for c in range(0x2000, 0x2100)], list("0123456789٣½Ⅻ"),
             ["<|endoftext|>", " the", "ing", "<extra>", "<left>", "<both>", "<word>"]]
    for _ in range(count):
        yield "".join(rng.choice(rng.choice(pools)) for _ in range(rng.randrange(1, 40)))


def main():
    source = pathlib.Path(sys.argv[1])
    demo = json.loads((source / "configs/demo/model/tokenizer.json").read_text())
    vocab = demo["model"]["vocab"]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    without = ["e", "Ã", "Ģ"]  # bytes that then have no token: they vanish
    patches = {
        "demo": {},
        "add_prefix_space": {"pre_tokenizer": byte_level | {"add_prefix_space": True}},
        "no_regex": {"pre_tokenizer": byte_level | {"use_regex": False}},
        "use_regex_absent": {"pre_tokenizer": {"use_regex": None}},
        "added_tokens": {"added_tokens": added(demo)},
        "added_tokens_and_prefix": {"added_tokens": added(demo),
                                    "pre_tokenizer": byte_level | {"add_prefix_space": True}},
        "merges_as_pairs": {"model": {"merges": [m.split(" ") for m in demo["model"]["merges"][:4000]]}},
        "ignore_merges": {"model": {"ignore_merges": True, "merges": demo["model"]["merges"][:300]}},
        "repeated_merges": {"model": {"merges": demo["model"]["merges"][:2000] + demo["model"]["merges"][100:150]}},
        "missing_bytes": {"model": {"vocab": {entry: None for entry in without},
                                    "merges": [m for m in demo["model"]["merges"][:1500]
                                               if not set(m.split(" ")) & set(without)]}},
    }
    texts = TEXTS + list(random_texts(120))
    cases = []
    for name, patch in patches.items():
        tokenizer = Tokenizer.from_str(json.dumps(merged(demo, patch)))
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        cases.append({"name": name, "patch": compact(demo, patch), "ids": ids})
    golden = {"tokenizers": __import__("tokenizers").__version__, "texts": texts, "cases": cases}
    target = pathlib.Path(__file__).with_name("tokenizer_golden.json")
    target.write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")).replace('},{', '},\n{') + "\n")
    assert vocab == demo["model"]["vocab"]


def merged(value, patch):
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for key, change in patch.items():
        if change is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), change)
    return result


def compact(demo, patch):
    """Merges that are a selection of the demo's become their indices (-1 - i: as a pair)."""
    patch = json.loads(json.dumps(patch))
    if "merges" in patch.get("model", {}):
        index = {merge: i for i, merge in enumerate(demo["model"]["merges"])}
        merges = patch["model"].pop("merges")
        patch["merges"] = [index[m] if isinstance(m, str) else -1 - index[" ".join(m)] for m in merges]
    return patch


main()
