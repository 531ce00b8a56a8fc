#!/usr/bin/env python3
"""Writes tokenizer_families_golden.json: what Hugging Face `tokenizers` makes of tricky texts with the families'
tokenizers (tokenizer_files/*.json, make_family_tokenizers.py), of edits of these files, and of gpt2's as vocab.json and merges.txt.

Of each family: ids; where the library's spans cover the text, how many bytes each reaches beyond the one before (all of a
character of which it holds a part); the decoded text where it is another. Of each edit: "refused"; "fails" (it loads, but stops at a text); "accepted", where refract does otherwise; or a digest of the ids of
all short texts.
Usage: make_tokenizer_families_golden.py  (needs the PyPI package `tokenizers` 0.23.3; writes beside itself)
"""
import json
import os
import pathlib
import sys
import tempfile

import tokenizers

import tokenizer_edits
import tokenizer_texts
from tokenizer_oracle import Oracle, digest, edited, pair_as_text, tile, widths, write_pair

RANDOM = 60


def family_golden(name, text, texts):
    file = json.loads(text)
    oracle = Oracle(text)
    contents = [token["content"] for token in file["added_tokens"]]
    contents = [one for one in contents if len(set(one)) > 1 or len(one) in (1, 2, 3, 15, 16, 23, 24, 30, 31)]  # some of the runs
    own = [one for content in contents for one in tokenizer_texts.texts_of_token(content)]
    own += tokenizer_texts.random_texts(7, RANDOM, tokenizer_texts.fragments_of(file))
    golden = {"name": name, "texts": own, "ids": [], "widths": [], "decoded": {}}
    for i, (one, (ids, offsets)) in enumerate(zip(texts + own, oracle.encode(texts + own))):
        golden["ids"].append(ids)
        golden["widths"].append(widths(one, offsets) if tile(one, offsets) else None)
        decoded = oracle.decode(ids)
        if decoded != one:
            golden["decoded"][i] = decoded
    golden["long"] = [digest(oracle.ids([tokenizer_texts.text_of(recipe)])) for recipe in tokenizer_texts.RECIPES]
    return golden


def outcome(text_of, edit, texts):
    try:
        oracle = Oracle(text_of())
    except BaseException as error:  # a panic is no Exception
        expect_panic(error)
        return "refused"
    if edit.get("refract") == "ignores":
        return "accepted"
    try:
        if edit.get("refract") == "refuses":
            oracle.ids(texts)
            return "accepted"
        return digest([oracle.ids([one])[0] for one in texts])
    except BaseException as error:
        expect_panic(error)
        return "fails"


def text_of_pair(model, edit):
    with tempfile.TemporaryDirectory() as folder:
        return pair_as_text(write_pair(folder, ["vocab.json", "merges.txt"], model, edit["edits"]))


def expect_panic(error):
    """The library's errors; others are those of these scripts."""
    if isinstance(error, (KeyboardInterrupt, AssertionError, LookupError, TypeError, NameError)):
        raise error


def main():
    folder = pathlib.Path(__file__).parent
    files = {path.stem: path.read_text(encoding="utf-8") for path in sorted((folder / "tokenizer_files").glob("*.json"))}
    texts = tokenizer_texts.TEXTS
    families = [family_golden(name, text, texts) for name, text in files.items()]
    parsed = {name: json.loads(text) for name, text in files.items()}
    sizes = {name: Oracle(text).tokenizer.get_vocab_size() for name, text in files.items()}
    own = {golden["name"]: golden["texts"] for golden in families}
    edits = tokenizer_edits.Edits(sizes, parsed).list
    sys.stderr.flush()
    quiet, loud = os.open(os.devnull, os.O_WRONLY), os.dup(2)
    for edit in edits:
        os.dup2(quiet, 2)  # a panic writes its trace
        try:
            edit["outcome"] = outcome(lambda: edited(files[edit["of"]], edit), edit, tokenizer_edits.TEXTS + texts + own[edit["of"]])
        finally:
            os.dup2(loud, 2)
    model = parsed["gpt2"]["model"]
    pairs = tokenizer_edits.pairs(model)
    for pair in pairs:
        pair["outcome"] = outcome(lambda: text_of_pair(model, pair), pair, texts)
    golden = {"tokenizers": tokenizers.__version__, "texts": texts, "recipes": tokenizer_texts.RECIPES, "families": families,
              "edited_texts": tokenizer_edits.TEXTS, "edits": edits, "pairs": pairs}
    text = json.dumps(golden, ensure_ascii=False, separators=(",", ":")).replace('},{"name"', '},\n{"name"')
    target = folder / "tokenizer_families_golden.json"
    target.write_text(text + "\n", encoding="utf-8")
    counts = {word: sum(edit["outcome"] == word for edit in edits) for word in ("refused", "fails")}
    print(f"{len(files)} families, {len(texts)} texts, {len(edits)} edits ({counts}), {target.stat().st_size} bytes")


main()
