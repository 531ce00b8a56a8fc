"""The tokenizer against Hugging Face `tokenizers`: ids, spans and decoded bytes of many texts.

  tokenizer_fuzz.py TOKENIZE_TEXTS SOURCE [--count N] [--seed S] [--long] [--edits] [--family NAME ...]
      The families' tokenizers (tests/data/tokenizer_files): tricky texts, every short string over representatives of the
      classes of characters, N random texts each, N/4 random sequences of ids to decode. --long: longer strings.
      --edits: also each edit of their files that both sides take (tests/data/tokenizer_edits.py).
  tokenizer_fuzz.py TOKENIZE_TEXTS SOURCE --tokenizer FILE ... [--count N] [--seed S] [--long]
      The same with these tokenizers.
  tokenizer_fuzz.py TOKENIZE_TEXTS SOURCE --tokenizer FILE ... --texts FILE ... [--record FILE | --check FILE]
      Files as they are: for each pair the count of tokens and the SHA-256 of their ids (u32, little-endian), of the
      library and of refract. --record writes those of the library, --check compares refract's with a record.
      A tokenizer is a tokenizer.json, or a folder of it or of encoder.json and vocab.bpe (vocab.json and merges.txt), which
      are known by the SHA-256 of both, one after the other.
      Texts are .jsonl (the record's "text", else what its sections say) or text as it is, in UTF-8 or (by its mark) UTF-16;
      .xz, .bz2 and .zst are opened.

A difference is printed with the smallest text that still shows it, and exits 1.
"""
import argparse
import bz2
import hashlib
import io
import itertools
import json
import lzma
import os
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile
import unicodedata

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "data"))
import tokenizer_texts
from common import oracle

PIECE = 20000         # characters: the library takes long texts slowly
CAP = 40_000_000      # bytes of one file
BATCH = 50_000        # texts
# One of each class that a pattern, a normalizer or an added token may ask for.
CLASSES = ["a", "S", "1", " ", "\n", "\r", "\t", "'", "s", ".", "<", "é", "\u0301", "字", "👍", "\u00a0", "½", "▁", "\x00", "ll", "_", "\ufffd"]
PAIRS = [["vocab.json", "merges.txt"], ["encoder.json", "vocab.bpe"]]
FEWER = ["a", "1", " ", "\n", "'", "s", ".", "\r"]


class Refract:
    """The tokenizer of one file, through pipes."""

    def __init__(self, program, path):
        self.command = [program, str(path)]

    def run(self, data, *options):
        done = subprocess.run([*self.command, *options], input=data, capture_output=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{os.path.basename(self.command[0])} ended with {done.returncode}: {done.stderr.decode().strip()}")
        return done.stdout

    def encode(self, texts):
        """For each text a view of its numbers: id, begin, end, id, ..."""
        data = b"".join(struct.pack("<I", len(one)) + one for one in (text.encode() for text in texts))
        numbers, at, found = memoryview(self.run(data)).cast("I"), 0, []
        for _ in texts:
            end = at + 1 + 3 * numbers[at]
            found.append(numbers[at + 1:end])
            at = end
        assert at == len(numbers), "more output than texts"
        return found

    def decode(self, lists):
        data = b"".join(struct.pack(f"<{len(ids) + 1}I", len(ids), *ids) for ids in lists)
        output, at, found = self.run(data, "--decode"), 0, []
        for _ in lists:
            size, = struct.unpack_from("<I", output, at)
            found.append(output[at + 4:at + 4 + size])
            at += 4 + size
        return found


def same_ends(text, begins, ends, expected):
    """Whether spans in bytes end where the library's do in characters: after the character of which a span holds a part. A
    token that stands for nothing in the text (a prepended blank) has the library's next character, refract's none."""
    if text.isascii():
        after = range(len(text) + 1)
    else:
        after = [0]
        for number, character in enumerate(text, 1):
            after += [number] * len(character.encode())
    return all(after[end] == whole or (begin == end and after[end] + 1 == whole)
               for begin, end, whole in zip(begins, ends, expected))


def difference(text, theirs, ours, tile):
    """What differs, in words, or None. Spans are compared where the library's cover the text; `tile` is None where text may
    vanish, which the library's spans do not show."""
    ids, offsets = theirs
    if ours[0::3].tolist() != ids:
        return "other ids"
    begins, ends = ours[1::3].tolist(), ours[2::3].tolist()
    if tile is None or not tile(text, offsets) or normal_form_grows(text):
        return None
    if ids and (begins != [0] + ends[:-1] or ends[-1] != len(text.encode())):
        return "spans that do not cover the text"
    if not same_ends(text, begins, ends, [end for _, end in offsets]):
        return "other spans"
    return None


def normal_form_grows(text):
    """Whether a character with its marks has more of them in NFC: then the library's spans follow the places of the
    characters, and refract's, whose tokens divide all of them, do not."""
    start = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or unicodedata.combining(text[at]) == 0:
            if len(unicodedata.normalize("NFC", text[start:at])) > at - start:
                return True
            start = at
    return False


class Comparison:
    """The library and refract reading one file."""

    def __init__(self, name, library, refract, spans):
        from tokenizer_oracle import tile
        self.name, self.library, self.refract, self.tile = name, library, refract, tile if spans else None
        self.texts = self.tokens = self.sequences = self.skipped = self.failures = 0

    def differ(self, texts):
        """(text, what) of those that differ."""
        return [(text, what) for text, theirs, ours in zip(texts, self.library.encode(texts), self.refract.encode(texts))
                if (what := difference(text, theirs, ours, self.tile))]

    def add(self, texts):
        texts = list(texts)
        for start in range(0, len(texts), BATCH):
            part = texts[start:start + BATCH]
            found = self.differ(part)
            self.texts += len(part)
            for text, what in found[:3]:
                self.report(text, what)
            self.failures += len(found)

    def smallest(self, text):
        """Cut out ever smaller stretches while what is left still differs."""
        width = max(1, len(text) // 2)
        while len(text) > 1:
            cuts = [text[:at] + text[at + width:] for at in range(0, len(text), width)]
            found = self.differ([cut for cut in cuts if cut != text])
            if found:
                text, width = found[0][0], max(1, min(width, len(found[0][0]) // 2))
            elif width == 1:
                break
            else:
                width //= 2
        return text

    def report(self, text, what):
        try:
            text = self.smallest(text)
        except BaseException as error:  # a panic of the library is no Exception
            print(f"{self.name}: not made smaller: {error}")
        theirs, ours = self.library.encode([text])[0], self.refract.encode([text])[0].tolist()
        spelled = self.library.tokenizer.id_to_token
        print(f"{self.name}: {what} for {text[:2000]!a}\n  library {[(spelled(i), i, *span) for i, span in zip(*theirs)][:60]}\n"
              f"  refract {[(spelled(i), i, begin, end) for i, begin, end in zip(ours[0::3], ours[1::3], ours[2::3])][:60]}")

    def decode(self, lists):
        """Of bytes that are not UTF-8 the library makes U+FFFD, for ByteFallback one for each byte of the whole run of
        bytes, well-formed ones too: such results are left out where the decoder falls back."""
        falls_back = "ByteFallback" in self.library.tokenizer.to_str()
        for ids, ours in zip(lists, self.refract.decode(lists)):
            theirs = self.library.decode(ids)
            if falls_back and "\ufffd" in theirs:
                self.skipped += 1
            elif ours.decode("utf-8", "replace") != theirs:
                self.failures += 1
                if self.failures < 5:
                    print(f"{self.name}: decodes {ids} otherwise\n  library {theirs!a}\n  refract {ours!a}")
            self.sequences += 1


def exhaustive(classes, longest):
    for length in range(1, longest + 1):
        for parts in itertools.product(classes, repeat=length):
            yield "".join(parts)


def random_sequences(seed, count, vocabulary):
    """Any ids; of the bytes to fall back to, mostly those of whole characters."""
    rng = random.Random(seed)
    fallback = {entry: id_ for entry, id_ in vocabulary.items() if re.fullmatch("<0x[0-9A-F]{2}>", entry)}
    others = sorted(set(vocabulary.values()) - set(fallback.values()))
    for _ in range(count):
        ids = []
        for _ in range(rng.randrange(1, 16)):
            draw = rng.random()
            if fallback and draw < 0.2:
                character = rng.choice(["a", " ", "\x00", "é", "\u0301", "字", "▁", chr(rng.randrange(0xE000, 0x10000))])
                ids += [fallback[f"<0x{byte:02X}>"] for byte in character.encode()]
            elif fallback and draw > 0.997:
                ids.append(rng.choice(list(fallback.values())))
            else:
                ids.append(rng.choice(others))
        yield ids


def compare_file(name, text, path, arguments, count, thorough):
    """`text`: what the library reads; `path`: what refract does."""
    from tokenizer_oracle import Oracle
    file = json.loads(text)
    library = Oracle(text)
    compared = Comparison(name, library, Refract(arguments.tokenize_texts, path), thorough)
    tokens = [token["content"] for token in file.get("added_tokens", [])]
    compared.add(tokenizer_texts.TEXTS + [one for token in tokens for one in tokenizer_texts.texts_of_token(token)])
    if thorough:
        compared.add([tokenizer_texts.text_of(recipe) for recipe in tokenizer_texts.RECIPES])
        compared.add(documents(pathlib.Path(arguments.source) / "configs/demo/shards/enwiki_namespace_0_0.jsonl.zst"))
        compared.add(exhaustive(CLASSES, 3))
        if arguments.long:
            compared.add(exhaustive(FEWER, 6))
    else:
        from tokenizer_edits import TEXTS
        compared.add(TEXTS)
    compared.add(tokenizer_texts.random_texts(f"{arguments.seed} {name}", count, tokenizer_texts.fragments_of(file)))
    if file.get("decoder") and thorough:
        compared.decode(list(random_sequences(arguments.seed, count // 4, library.tokenizer.get_vocab(with_added_tokens=True))))
    if thorough:
        print(f"{name}: {compared.texts} texts, {compared.sequences} sequences ({compared.skipped} left out), "
              f"{compared.failures} differences", flush=True)
    return compared.failures


def compare_tokenizers(arguments):
    failures = 0
    for path in map(pathlib.Path, arguments.tokenizer):
        name = path.name if path.is_dir() else path.parent.name
        failures += compare_file(name, text_of_tokenizer(files_of_tokenizer(path)), path, arguments, arguments.count, True)
    return failures


def compare_families(arguments):
    folder = pathlib.Path(arguments.source) / "tests/data/tokenizer_files"
    files = {path.stem: path for path in sorted(folder.glob("*.json")) if not arguments.family or path.stem in arguments.family}
    texts = {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    assert files, f"no such family: {arguments.family}"
    failures = 0
    for name, path in files.items():
        try:
            failures += compare_file(name, texts[name], path, arguments, arguments.count, True)
        except RuntimeError as error:
            failures += 1
            print(f"{name}: {error}")
    if "gpt2" in files:
        failures += compare_pairs(arguments, json.loads(texts["gpt2"])["model"])
    if arguments.edits:
        failures += compare_edits(arguments, texts)
    return failures


def compare_pairs(arguments, model):
    """The same vocabulary and merges in the two files of older folders, under both of their names."""
    from tokenizer_oracle import pair_as_text, write_pair
    failures = 0
    for names in PAIRS:
        with tempfile.TemporaryDirectory(prefix="refract-interop.") as folder:
            paths = write_pair(folder, names, model)
            try:
                failures += compare_file(" and ".join(names), pair_as_text(paths), folder, arguments, arguments.count // 20, True)
            except RuntimeError as error:
                failures += 1
                print(f"{names}: {error}")
    return failures


def compare_edits(arguments, texts):
    from tokenizer_oracle import edited
    golden = json.loads((pathlib.Path(arguments.source) / "tests/data/tokenizer_families_golden.json").read_text(encoding="utf-8"))
    failures = compared = 0
    for edit in golden["edits"]:
        if edit["of"] not in texts or edit["outcome"] in ("refused", "fails", "accepted"):
            continue
        with tempfile.TemporaryDirectory(prefix="refract-interop.") as folder:
            path = pathlib.Path(folder) / "tokenizer.json"
            path.write_text(edited(texts[edit["of"]], edit), encoding="utf-8")
            try:
                failures += compare_file(edit["name"], path.read_text(encoding="utf-8"), path, arguments, arguments.count // 20, False)
                compared += 1
            except RuntimeError as error:
                if edit.get("refract") != "may refuse":
                    failures += 1
                    print(f"{edit['name']}: {error}")
    print(f"{compared} edits compared")
    return failures


def opened(path):
    name = str(path)
    if name.endswith(".xz"):
        return lzma.open(name)
    if name.endswith(".bz2"):
        return bz2.open(name)
    if name.endswith(".zst"):
        return oracle("zstandard").ZstdDecompressor().stream_reader(open(name, "rb"), read_across_frames=True)
    return open(name, "rb")


def values(record):
    """What the sections of a record say."""
    if isinstance(record, dict):
        yield from (record[key] for key in ("abstract", "value") if isinstance(record.get(key), str))
        record = list(record.values())
    if isinstance(record, list):
        for part in record:
            yield from values(part)


def documents(path):
    with opened(path) as file:
        file = io.BufferedReader(file)
        encoding = "utf-16" if file.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
        text = io.TextIOWrapper(file, encoding, "replace", newline="")
        if ".jsonl" not in path.name:
            yield text.read()
            return
        for line in text:
            record = json.loads(line)
            found = record["text"] if isinstance(record.get("text"), str) else "\n\n".join(values(record))
            yield found.encode("utf-8", "replace").decode()


def pieces(path):
    """Documents, cut after a line where longer than PIECE characters; no more than CAP bytes."""
    total = 0
    for text in documents(path):
        at = 0
        while at < len(text):
            end = at + PIECE
            if end < len(text):
                end = text.rfind("\n", at, end) + 1 or end
            piece = text[at:end]
            at = end
            yield piece
            total += len(piece.encode())
            if total >= CAP:
                return


def sha256_of(*paths):
    sha = hashlib.sha256()
    for path in paths:
        sha.update(path.read_bytes())
    return sha.hexdigest()


def files_of_tokenizer(path):
    """tokenizer.json, or vocabulary and merges."""
    if path.is_file():
        return [path]
    for names in (["tokenizer.json"], *PAIRS):
        if all((path / name).is_file() for name in names):
            return [path / name for name in names]
    sys.exit(f"{path}: no tokenizer")


def text_of_tokenizer(files):
    from tokenizer_oracle import pair_as_text
    return files[0].read_text(encoding="utf-8") if len(files) == 1 else pair_as_text(files)


def library_of(files):
    from tokenizer_oracle import Oracle
    return Oracle(text_of_tokenizer(files))


def compare_corpora(arguments):
    check = json.loads(pathlib.Path(arguments.check).read_text(encoding="utf-8"))["digests"] if arguments.check else None
    recorded, failures, compared = [], 0, 0
    if arguments.record and os.path.exists(arguments.record):
        recorded = json.loads(pathlib.Path(arguments.record).read_text(encoding="utf-8"))["digests"]
    for tokenizer in map(pathlib.Path, arguments.tokenizer):
        files = files_of_tokenizer(tokenizer)
        name = tokenizer.name if tokenizer.is_dir() else tokenizer.parent.name
        library = None if check else library_of(files)
        refract = None if arguments.record else Refract(arguments.tokenize_texts, tokenizer)
        for path in map(pathlib.Path, arguments.texts):
            key = {"tokenizer": sha256_of(*files), "text": sha256_of(path)}
            known = next((one for one in check if one.items() >= key.items()), None) if check else None
            if check and not known:
                print(f"{name}, {path.name}: not recorded")
                continue
            texts = list(pieces(path))
            label = f"{name}, {path.name}"
            theirs = known or (digests(texts, ids_of_library(library, texts)) if library else None)
            ours = digests(texts, [one[0::3].tobytes() for one in refract.encode(texts)]) if refract else theirs
            print(f"{label}: library {theirs['tokens']} {theirs['ids']}, refract {ours['tokens']} {ours['ids']}"
                  if refract else f"{label}: library {theirs['tokens']} {theirs['ids']}", flush=True)
            compared += 1
            if any(ours[part] != theirs[part] for part in ours):
                failures += 1
                if library:
                    Comparison(label, library, refract, True).add(texts)
            if arguments.record:
                recorded = [one for one in recorded if not one.items() >= key.items()]
                recorded.append({"name": label, **key, **theirs})
                write_record(arguments.record, recorded)
    assert compared, "nothing was compared"
    return failures


def ids_of_library(library, texts):
    for start in range(0, len(texts), 200):
        for ids in library.ids(texts[start:start + 200]):
            yield struct.pack(f"<{len(ids)}I", *ids)


def digests(texts, lists):
    sha, tokens = hashlib.sha256(), 0
    for ids in lists:
        sha.update(ids)
        tokens += len(ids) // 4
    return {"pieces": len(texts), "bytes": sum(len(text.encode()) for text in texts), "tokens": tokens, "ids": sha.hexdigest()}


def write_record(path, recorded):
    import tokenizers
    lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in recorded)
    pathlib.Path(path).write_text(f'{{"tokenizers": "{tokenizers.__version__}", "digests": [\n{lines}\n]}}\n', encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenize_texts")
    parser.add_argument("source")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("REFRACT_TEST_SEED", "1")))
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--edits", action="store_true")
    parser.add_argument("--family", nargs="+")
    parser.add_argument("--tokenizer", nargs="+")
    parser.add_argument("--texts", nargs="+")
    parser.add_argument("--record")
    parser.add_argument("--check")
    arguments = parser.parse_args()
    if not arguments.check:
        oracle("tokenizers")
    if arguments.tokenizer:
        if arguments.texts:
            sys.exit(1 if compare_corpora(arguments) else 0)
        sys.exit(1 if compare_tokenizers(arguments) else 0)
    print(f"seed {arguments.seed} (REFRACT_TEST_SEED or --seed)")
    sys.exit(1 if compare_families(arguments) else 0)


if __name__ == "__main__":
    main()
