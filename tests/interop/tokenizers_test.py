"""Hugging Face tokenizers gives the ids that are in the token shards: for every document of the demo's text, and
for tricky texts which go through refract as a shard of their own."""
import glob
import json
import os
import random
import subprocess
import sys
import tempfile

from common import oracle, strings

h5py, np, tokenizers, zstd = oracle("h5py", "numpy", "tokenizers", "zstandard")

TRICKY = [
    "it's we're I've I'm you'll he'd 'tis IT'S WE'RE 's't're ' 'x", "12345 67 8a9b 3.14159 1,000,000 ½ ² ٣٤ Ⅻ 一二",
    "naïve café Ærøskøbing Straße e\u0301 a\u0308", "Привет мир 你好世界 こんにちは 안녕하세요 שלום مرحبا",
    "👍🏽 👩\u200d👩\u200d👧 🇩🇪", "zero\u200bwidth \u180emongolian", "\U000105d2\U00011de0\U00016ff4 \U0001e030\U00010d6f",
    "<|endoftext|>", "a<|endoftext|>b <|endoftext|><|endoftext|> <|endoftext|", "<|endo<|endoftext|>",
    "!!!???... #$%^&*()_+{}|:\"<>?-=[]\\;',./`~", "x" * 5000, "the" * 700, "é" * 400, "Ġ Ċ Ä \u0120 \u010a",
]


def random_texts(count):
    """Any assigned or unassigned character but surrogates and controls, mixed with what the pattern looks for."""
    rng = random.Random(3)
    for _ in range(count):
        yield "".join(rng.choice(" 's're1é.") if rng.random() < 0.5 else
                      chr(rng.choice([rng.randrange(0x100, 0xD800), rng.randrange(0xE000, 0x110000)]))
                      for _ in range(rng.randrange(20, 80)))


def texts_of(shard):
    """The cleaned text of every document, as bytes."""
    frames, starts = shard["text_frames"][:], shard["text_starts"][:]
    text = b"".join(zstd.ZstdDecompressor().decompress(shard["text"][a:b].tobytes())
                    for a, b in zip(frames[:-1], frames[1:]))
    return [text[a:b] for a, b in zip(starts[:-1], starts[1:])]


def compare(path, tokenizer):
    """Documents and tokens of one token shard, after comparing them all."""
    with h5py.File(path) as shard:
        ids, starts = shard["ids"][:], shard["documents/token_starts"][:]
        begin, end = shard["token_begin"][:], shard["token_end"][:]
        titles, texts = strings(shard["documents"], "title"), texts_of(shard)
    for d, text in enumerate(texts):
        expected = tokenizer.encode(text.decode(), add_special_tokens=False).ids
        first, last = starts[d:d + 2]
        assert list(ids[first:last]) == expected, f"{path}: document {d} ({titles[d]}): other ids"
        # The spans tile the text: nothing between tokens is lost.
        assert begin[first] == 0 and end[last - 1] == len(text), titles[d]
        np.testing.assert_array_equal(begin[first + 1:last], end[first:last - 1])
    return len(texts), len(ids)


def tokenize(refract, source, folder, *settings):
    """Runs the stage and returns its token shards."""
    command = [refract, "tokenize", "configs/demo.yaml", "--quiet"]
    for setting in (f"run={folder}/run", f"data_root={folder}/data", *settings):
        command += ["--set", setting]
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    subprocess.run(command, cwd=source, env=environment, check=True)
    return sorted(glob.glob(os.path.join(folder, "data/tokens/*/*.h5")))


def main():
    refract, source = sys.argv[1:3]
    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(source, "configs/demo/model/tokenizer.json"))
    with tempfile.TemporaryDirectory(prefix="refract-interop.") as folder:
        shards = tokenize(refract, source, folder)
        assert len(shards) == 8, shards
        counts = np.sum([compare(path, tokenizer) for path in shards], axis=0)
        assert counts[0] == 760, counts
        print(f"demo: {counts[1]} tokens of {counts[0]} documents: the same ids")
    with tempfile.TemporaryDirectory(prefix="refract-interop.") as folder:
        texts = TRICKY + list(random_texts(500))
        tricky = os.path.join(folder, "tricky_0.jsonl")
        with open(tricky, "w") as lines:
            for i, text in enumerate(texts):
                lines.write(json.dumps({"id": i + 1, "title": f"Text {i}", "text": text}) + "\n")
        shards = tokenize(refract, source, folder, f"source.from=file:{tricky}", "source.min_chars=0")
        documents, tokens = compare(shards[0], tokenizer)
        assert documents == len(texts), documents
        print(f"tricky: {tokens} tokens of {documents} texts: the same ids")


main()
