"""The library's side of a comparison of tokenizers: edits of files, ids, spans, decoded text."""
import copy
import hashlib
import json
import pathlib
import struct

from tokenizers import Tokenizer, decoders, models, pre_tokenizers


def edited(text, edit):
    """A tokenizer.json after an edit: "text" replaces one stretch of the file, "patch" is RFC 6902's add, remove, replace."""
    if "text" in edit:
        before, after = edit["text"]
        assert text.count(before) == 1, (edit["name"], text.count(before))
        return text.replace(before, after)
    file = json.loads(text)
    for operation in edit["patch"]:
        apply(file, copy.deepcopy(operation))
    return json.dumps(file)


def apply(file, operation):
    *folder, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    for part in folder:
        file = file[int(part)] if isinstance(file, list) else file[part]
    if isinstance(file, list):
        place = len(file) if last == "-" else int(last)
        if operation["op"] == "add":
            file.insert(place, operation["value"])
        elif operation["op"] == "replace":
            file[place] = operation["value"]
        else:
            del file[place]
    elif operation["op"] == "remove":
        del file[last]
    else:
        assert operation["op"] == "add" or last in file, operation
        file[last] = operation["value"]


class Oracle:
    """A tokenizer of the library, without truncation, padding and template."""

    def __init__(self, text):
        self.tokenizer = Tokenizer.from_str(text)
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.tokenizer.post_processor = None  # ByteLevel's would trim the spans

    def encode(self, texts):
        """For each text its ids and their spans in characters."""
        return [(one.ids, one.offsets) for one in self.tokenizer.encode_batch(texts, add_special_tokens=False)]

    def ids(self, texts):
        return [one.ids for one in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=False)


def digest(lists):
    """Sixteen hex characters of SHA-256 over the ids of each text as u32, little-endian, their count before them."""
    sha = hashlib.sha256()
    for ids in lists:
        sha.update(struct.pack(f"<{len(ids) + 1}I", len(ids), *ids))
    return sha.hexdigest()[:16]


def tile(text, offsets):
    """Whether the spans cover the whole text in order, two of them sharing at most one character."""
    at = 0
    for begin, end in offsets:
        if not (at - 1 <= begin <= at <= end):
            return False
        at = end
    return at == len(text)


def widths(text, offsets):
    """How many bytes each span of a tiling reaches beyond the one before."""
    starts = [0]
    for character in text:
        starts.append(starts[-1] + len(character.encode()))
    ends = [starts[end] for _, end in offsets]
    return [end - before for before, end in zip([0] + ends, ends)]


def write_pair(folder, names, model, edits=()):
    """Vocabulary and merges of a tokenizer.json as the two files of older folders; "vocab" or "merges" of an edit replaces
    the first place of one text by another."""
    texts = {"vocab": json.dumps(model["vocab"], ensure_ascii=False, separators=(",", ":")),
             "merges": "#version: 0.2\n" + "".join(merge + "\n" for merge in model["merges"])}
    for part, before, after in edits:
        assert before in texts[part], before
        texts[part] = texts[part].replace(before, after, 1)
    paths = [pathlib.Path(folder) / name for name in names]
    for path, text in zip(paths, texts.values()):
        path.write_bytes(text.encode())
    return paths


def pair_as_text(paths):
    """The tokenizer.json that such a pair stands for."""
    tokenizer = Tokenizer(models.BPE.from_file(*map(str, paths)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer.to_str()
