"""Random tokenizer.json files, each whole, against Hugging Face `tokenizers`: the same ids, or a refusal that is known.

  tokenizer_files_fuzz.py TOKENIZE_TEXTS [--count N] [--seed S] [--write FILE]
      The N files of the seeds S, S + 1, ...: normalizers, pre-tokenizers, flags, vocabularies with their merges, bytes to
      fall back to, added tokens; one in ten is damaged. --write: the last of them, to be looked at.

A difference is printed with the file's seed and the smallest text that still shows it, and exits 1.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import sys
import tempfile

os.environ["RUST_BACKTRACE"] = "0"  # the library panics at some texts
from common import oracle
oracle("tokenizers")
from tokenizer_fuzz import Comparison, Refract
from tokenizer_edits import BEHAVIORS, BYTES, GPT2, LLAMA3, NFC, QWEN2
from tokenizer_edits import metaspace, normalizers, prepend, sequence, split, string_replace, token
from tokenizer_oracle import Oracle
from tokenizers.pre_tokenizers import ByteLevel

# What refract says where it refuses a file that the library takes.
REFUSES = ["removes all text", "prepend_scheme is 'first' behind a normalizer", "is searched as 0 bytes",
           "are the same in normalized text"]
# And a damaged one. Of a normalizer whose type is damaged the library guesses which it is.
REFUSES_DAMAGED = ["the tokenizers library would give it", "only null is supported", "only an empty one is supported",
                   "type is missing", "expected a text", "known: Sequence, NFC"]
TAKES_DAMAGED = ("padding", "truncation", "post_processor")  # refract does not read these, the library refuses some
# What refract says of a text at which the library fails too.
REFUSES_TEXT = ["strips what stands before it", "the text holds"]

CHARACTERS = ["a", "b", "c", "s", "e", "S", " ", "\n", "\r", "1", ".", "'", "é", "e\u0301", "\u0301", "ê", "字", "孖", "👍", "👎",
              "▁", "\u00a0", "\u0085", "\u2028", "\u212a", "\ufffd", "\x00"]
BYTE_LEVEL = ByteLevel(add_prefix_space=False, use_regex=False)


def as_bytes(text):
    """As ByteLevel spells it."""
    return "".join(word for word, _ in BYTE_LEVEL.pre_tokenize_str(text))


class File:
    """A tokenizer.json and texts for it."""

    def __init__(self, seed):
        self.seed, self.rng = seed, random.Random(seed)
        self.characters = self.rng.sample(CHARACTERS, self.rng.randrange(3, 10)) + [" "] * self.likely(0.5)
        self.bytes = self.likely(0.5)
        model = self.model()
        tokens = self.added_tokens(model["vocab"])
        normal = [self.normalizer() for _ in range(self.rng.choice([0, 0, 1, 1, 2, 3]))]
        pre = [self.pre_tokenizer() for _ in range(self.rng.choice([0, 0, 1, 1, 2, 3]))]
        if self.bytes:
            pre.append(BYTES | {"add_prefix_space": self.likely(0.4), "use_regex": self.likely(0.5)})
        self.json = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens,
                     "normalizer": normal[0] if len(normal) == 1 else normalizers(*normal) if normal else None,
                     "pre_tokenizer": pre[0] if len(pre) == 1 else sequence(*pre) if pre else None,
                     "post_processor": None, "decoder": None, "model": model}
        self.texts = list(self.some_texts([one["content"] for one in tokens] + ["<x>"]))
        self.damaged = self.damage([self.json, model, *normal, *pre, *tokens]) if self.likely(0.1) else ""

    def likely(self, share):
        return self.rng.random() < share

    def some(self, longest):
        return "".join(self.rng.choice(self.characters) for _ in range(self.rng.randrange(1, longest + 1)))

    def normalizer(self):
        replace = string_replace(self.rng.choice([" ", self.some(1), self.some(2)]), self.rng.choice(["▁", "", self.some(1), self.some(3)]))
        return self.rng.choice([dict(NFC), prepend(self.rng.choice(["▁", " ", self.some(2)])), replace, replace])

    def pre_tokenizer(self):
        draw = self.rng.random()
        if draw < 0.6:
            pattern = {"String": self.rng.choice([" ", self.some(1), self.some(2)])}
            if draw < 0.35:
                pattern = {"Regex": self.rng.choice([GPT2, LLAMA3, QWEN2])}
            return split(pattern, self.rng.choice(BEHAVIORS), self.likely(0.4))
        if draw < 0.7:
            return {"type": "Digits", "individual_digits": self.likely(0.5)}
        return metaspace(replacement=self.rng.choice(["▁", "▁", self.characters[0][0]]), split=self.likely(0.6),
                         prepend_scheme=self.rng.choice(["first", "always", "never"]))

    def model(self):
        """Most characters or bytes of the texts; merges of these, of bytes to fall back to, of the unknown token."""
        share = self.rng.choice([0.6, 0.9, 1])
        units = sorted(set("".join(as_bytes(text) if self.bytes else text for text in [*self.characters, "▁", " "])))
        parts = [unit for unit in units if self.likely(share)]
        entries = sorted(ByteLevel.alphabet()) if self.bytes and self.likely(0.7) else parts[:]
        self.rng.shuffle(entries)
        falls_back, unknown = self.likely(0.5), self.rng.choice([None, None, "<unk>", "<unk>", "▁"])
        if falls_back:
            missing = self.rng.choice([0, 0, 0.05])
            entries += (fallback := [f"<0x{byte:02X}>" for byte in range(256) if not self.likely(missing)])
            parts += self.rng.sample(fallback, 5) * self.likely(0.5)
        if unknown:
            entries.append(unknown)
            parts += [unknown] * self.likely(0.4)
        merges, longest = [], self.rng.choice([6, 14, 60])
        for _ in range(self.rng.choice([0, 5, 20, 60, 200]) if parts else 0):
            left, right = self.rng.choice(parts), self.rng.choice(parts)
            if len(left + right) <= longest:
                merges.append([left, right])
                parts.append(left + right)
                entries.append(left + right)
        for text in [self.some(30) for _ in range(self.rng.randrange(4))]:  # no merges make these
            entries.append(as_bytes(text) if self.bytes else text)
        if merges and self.likely(0.3):
            self.rng.shuffle(merges)
            merges.append(merges[0])
        return {"type": "BPE", "dropout": None, "unk_token": unknown, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                "fuse_unk": self.likely(0.5), "byte_fallback": falls_back, "ignore_merges": self.likely(0.4),
                "vocab": {entry: id_ for id_, entry in enumerate(dict.fromkeys(entries))}, "merges": merges}

    def added_tokens(self, vocabulary):
        ids, found = dict(vocabulary), {}
        for _ in range(self.rng.choice([0, 0, 1, 2, 4])):
            content = self.rng.choice([self.some(2), self.some(4), "<x>", f"<{self.some(1)}>", self.rng.choice([*vocabulary, "<y>"])])
            content = content.replace("\x00", "\x01")  # a message that quotes \x00 would end there
            found[content] = token(content, ids.setdefault(content, len(ids)), normalized=self.likely(0.5),
                                   **{flag: self.likely(0.3) for flag in ("single_word", "lstrip", "rstrip", "special")})
        return list(found.values())

    def some_texts(self, tokens):
        words = [text for text in self.characters if text not in " \n"] or self.characters
        for _ in range(60):
            pool = self.rng.choice([self.characters, self.characters + tokens, words])
            if self.likely(0.1):
                pool = self.rng.sample(pool, min(len(pool), 2))
            yield "".join(self.rng.choice(pool) for _ in range(self.rng.choice([1, 2, 3, 5, 8, 20, 60, 200])))

    def damage(self, parts):
        """Takes a key away or gives it another value; says which."""
        part = self.rng.choice(parts)
        key = self.rng.choice(sorted(part))
        part[key] = self.rng.choice([None, True, 1, -1, "zzz", [], {}] + [""] * (key != "prepend"))  # at which the library fails
        value = json.dumps(part[key])
        if self.likely(0.3):
            value = "absent"
            del part[key]
        return f"{key} {value}"


def attempt(call, *arguments):
    """What it returns, and what it says when it fails."""
    try:
        return call(*arguments), ""
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic of the library is no Exception
        return None, str(error) or repr(error)


def kind_of(said, kinds):
    """Which of these refusals it is; a crash is none."""
    return next((kind for kind in kinds if "ended with 3: " in said and kind in said), None)


class FileComparison(Comparison):
    """Ids are compared; spans follow each other within the text; a text may be one at which both sides fail."""

    def differ(self, texts):
        (theirs, library_says), (ours, refract_says) = attempt(self.library.ids, texts), attempt(self.refract.encode, texts)
        if not library_says and not refract_says:
            return [(text, f"library {ids}, refract (id, begin, end) {spans.tolist()}") for text, ids, spans in zip(texts, theirs, ours)
                    if spans[0::3].tolist() != ids or not in_order(text, spans)]
        if len(texts) > 1:
            return [found for text in texts for found in self.differ([text])]
        known = library_says and kind_of(refract_says, REFUSES_TEXT)
        self.skipped += bool(known)
        return [] if known else [(texts[0], f"library {library_says or theirs}, refract {refract_says or ours[0].tolist()}")]

    def report(self, text, what):
        alone = self.differ([self.smallest(text)]) or [(text, f"only behind other texts: {what}")]
        print(f"{self.name}: {alone[0][0]!a}: {alone[0][1]}")


def in_order(text, spans):
    edges = [0, *(edge for span in zip(spans[1::3], spans[2::3]) for edge in span), len(text.encode())]
    return edges == sorted(edges)


def compare(file, path, program, counts):
    """How many differences; what was compared or refused is counted."""
    path.write_text(json.dumps(file.json), encoding="utf-8")
    library, library_says = attempt(Oracle, json.dumps(file.json))
    refract = Refract(program, path)
    _, refract_says = attempt(refract.encode, [])
    name = f"seed {file.seed}" + (f" ({file.damaged})" if file.damaged else "")
    if not library_says and not refract_says:
        compared = FileComparison(name, library, refract, spans=False)
        compared.add(file.texts)
        counts.update({"files compared": 1, "texts compared": compared.texts, "texts that both refuse": compared.skipped})
        return compared.failures
    if library_says and refract_says:
        kind = "files that both refuse" if kind_of(refract_says, [""]) is not None else None
    elif library_says:
        kind = "files damaged where refract does not read" if file.damaged.startswith(TAKES_DAMAGED) else None
    else:
        kind = kind_of(refract_says, REFUSES + REFUSES_DAMAGED * bool(file.damaged))
    if kind is None:
        print(f"{name}: the library {library_says or 'takes it'}, refract {refract_says or 'takes it'}")
        return 1
    counts[kind] += 1
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenize_texts")
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("REFRACT_TEST_SEED", "1")))
    parser.add_argument("--write")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed} (REFRACT_TEST_SEED or --seed)")
    counts, failures = collections.Counter(), 0
    with tempfile.TemporaryDirectory(prefix="refract-interop.") as folder:
        path = pathlib.Path(arguments.write or f"{folder}/tokenizer.json")
        for seed in range(arguments.seed, arguments.seed + arguments.count):
            failures += compare(File(seed), path, arguments.tokenize_texts, counts)
    print(f"{arguments.count} files, {failures} differences", *(f"{count:6} {name}" for name, count in counts.most_common()), sep="\n")
    assert counts["files compared"] >= arguments.count // 2, "most files were refused"
    sys.exit(1 if failures else 0)


main()
