"""Named edits of the families' files (tokenizer_files/*.json), each a question to the library: are these ids, or is it refused?"""

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
GPT2_BYTES = BYTES | {"use_regex": True}
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
NEITHER = object()  # the key is absent

# Texts with the tokens that edits add.
TEXTS = [
    "word<extra>word <extra> word", "<extra><extra-long> <extra-lon", "  <left>  x", "x  <right>  y", "  <both>  <both>  ",
    "<word> a<word> <word>b (<word>) é<word> _<word> 3<word> <word>", "\u3000<both>\u3000", " <right><left> ", "x\n<left>\n<right>\nx",
    "<norm> <no<norm>rm> a<norm>b<extra>", "the of and", " the", "the", "the the  theme the.", "a b a  b ab a b", "x<two words>y <two  words> <two\u00a0words>",
    "caf\u00e9 cafe\u0301 caf\u00e9s", " <word> <both><word>", "<word><word> a <word>", "<left><left>  <left>", "<right>  <left>  <both>", "zz zzz zzzz", "(left)(right)",
    "<S> <s> </s>x</s> </s>", "\t<left>\r\n<right>\t", "a_b_c __a _", "<new><new> x<new>", "ſpecial STRASSE", "x  <word>  y", "1<word>", "<word>\u0301", "x\u200b<word>",
    "AB ab Ab", "<a><b><a b>", "the<|endoftext|>the <|endoftext|>", "<one><one-two><one-two-three><one-t",
]


def put(path, value):
    return {"op": "add", "path": path, "value": value}


def replace(path, value):
    return {"op": "replace", "path": path, "value": value}


def drop(path):
    return {"op": "remove", "path": path}


def keep(key, value):
    return {} if value is NEITHER else {key: value}


def shown(value):
    return "absent" if value is NEITHER else repr(value)


def token(content, id_, **flags):
    return {"id": id_, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": False} | flags


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def normalizers(*parts):
    return {"type": "Sequence", "normalizers": list(parts)}


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def string_replace(before, after):
    return {"type": "Replace", "pattern": {"String": before}, "content": after}


def prepend(text):
    return {"type": "Prepend", "prepend": text}


def metaspace(**keys):
    return {"type": "Metaspace"} | {key: value for key, value in keys.items() if value is not NEITHER}


def names(key, value):
    """What a refusal must name, where the value is one that a flag cannot have."""
    return {} if isinstance(value, bool) else {"names": key}


NFC = {"type": "NFC"}
REFUSES = {"refract": "refuses"}    # the library goes on; refract says by name that it does not have it
MAY_REFUSE = {"refract": "may refuse"}  # the same ids or a refusal
IGNORES = {"refract": "ignores"}  # refract does not read what is wrong here, or takes it as it is meant


class Edits:
    """The list. `sizes`: family -> entries of its vocabulary, the id that a new added token gets."""

    def __init__(self, sizes, files):
        self.sizes, self.files, self.list = sizes, files, []
        self.of_pre_tokenizers()
        self.of_normalizers()
        self.of_models()
        self.of_vocabularies()
        self.of_added_tokens()
        self.of_the_rest()
        names = [edit["name"] for edit in self.list]
        assert len(set(names)) == len(names), [name for name in names if names.count(name) > 1]

    def add(self, family, name, *patch, **more):
        self.list.append({"name": f"{family}: {name}", "of": family, "patch": list(patch), **more})

    def add_text(self, family, name, before, after, **more):
        self.list.append({"name": f"{family}: {name}", "of": family, "text": [before, after], **more})

    def pre(self, family, name, part, **more):
        self.add(family, f"pre-tokenizer {name}", put("/pre_tokenizer", part), **more)

    def normal(self, family, name, part, **more):
        self.add(family, f"normalizer {name}", put("/normalizer", part), **more)

    def of_pre_tokenizers(self):
        for pattern, spelled in [({"String": " "}, "' '"), ({"Regex": GPT2}, "GPT-2"), ({"Regex": LLAMA3}, "Llama 3"), ({"Regex": QWEN2}, "Qwen2")]:
            for behavior in BEHAVIORS:
                for invert in (False, True):
                    self.pre("gpt2", f"Split {spelled} {behavior}{' invert' if invert else ''}, bytes",
                             sequence(split(pattern, behavior, invert), BYTES),
                             **(REFUSES if "Regex" in pattern and behavior == "Removed" and not invert else {}))
        for behavior in BEHAVIORS:
            for invert in (False, True):
                self.pre("tinystories", f"Split '▁' {behavior}{' invert' if invert else ''}",
                         split({"String": "▁"}, behavior, invert))
        self.pre("gpt2", "Split 'ab' Isolated, bytes", sequence(split({"String": "ab"}), BYTES))
        self.pre("gpt2", "Split '  ' MergedWithNext, bytes", sequence(split({"String": "  "}, "MergedWithNext"), BYTES))
        self.pre("gpt2", "Split '.' Isolated, bytes", sequence(split({"String": "."}), BYTES))
        self.pre("gpt2", "Split 'é' Isolated, bytes with GPT-2", sequence(split({"String": "é"}), GPT2_BYTES))
        self.pre("gpt2", "Split '' Isolated, bytes", sequence(split({"String": ""}), BYTES), **MAY_REFUSE)
        self.pre("gpt2", "Split Regex '' Isolated, bytes", sequence(split({"Regex": ""}), BYTES), **REFUSES)
        self.pre("gpt2", "Split Regex \\s+, bytes", sequence(split({"Regex": r"\s+"}), BYTES), names="Regex", **REFUSES)
        self.pre("gpt2", "Split Regex ( , bytes", sequence(split({"Regex": "("}), BYTES), **REFUSES)
        self.pre("gpt2", "Split GPT-2 with one more blank, bytes", sequence(split({"Regex": GPT2 + "| "}), BYTES), names="Regex", **REFUSES)
        self.pre("gpt2", "Split pattern a bare string, bytes", sequence(split(" "), BYTES), names="pattern")
        self.pre("gpt2", "Split pattern null, bytes", sequence(split(None), BYTES), names="pattern")
        self.pre("gpt2", "Split pattern of two kinds, bytes", sequence(split({"String": " ", "Regex": " "}), BYTES), names="pattern")
        self.pre("gpt2", "Split pattern in lower case, bytes", sequence(split({"string": " "}), BYTES), names="pattern")
        self.pre("gpt2", "Split behavior in lower case, bytes", sequence(split({"String": " "}, "isolated"), BYTES), names="behavior")
        self.pre("gpt2", "Split behavior unknown, bytes", sequence(split({"String": " "}, "Kept"), BYTES), names="behavior")
        self.pre("gpt2", "Split behavior null, bytes", sequence(split({"String": " "}, None), BYTES), names="behavior")
        for key in ("pattern", "behavior", "invert"):
            part = split({"String": " "})
            del part[key]
            self.pre("gpt2", f"Split {key} absent, bytes", sequence(part, BYTES), names=key)
        self.pre("gpt2", "Split invert null, bytes", sequence(split({"String": " "}, invert=None), BYTES), names="invert")
        self.pre("gpt2", "Split invert 1, bytes", sequence(split({"String": " "}, invert=1), BYTES), names="invert")
        self.pre("gpt2", "Split with one more key, bytes", sequence(split({"String": " "}) | {"zzz": 1}, BYTES))
        self.pre("gpt2", "two Splits, bytes", sequence(split({"String": " "}, "MergedWithNext"), split({"Regex": LLAMA3}), BYTES))
        self.pre("gpt2", "Split Llama 3, bytes with GPT-2", sequence(split({"Regex": LLAMA3}), GPT2_BYTES))
        self.pre("gpt2", "Split Llama 3 Removed invert, Split ' ', bytes",
                 sequence(split({"Regex": LLAMA3}, "Removed", True), split({"String": " "}), BYTES))
        self.pre("gpt2", "Split alone", split({"Regex": GPT2}))
        self.pre("gemma", "Split '▁' MergedWithNext", split({"String": "▁"}, "MergedWithNext"))
        self.pre("gemma", "Split '▁' MergedWithPrevious", split({"String": "▁"}, "MergedWithPrevious"))
        self.pre("gemma", "Split GPT-2", split({"Regex": GPT2}))
        self.pre("gemma", "null", None)
        self.add("gemma", "pre-tokenizer Split ' ' MergedWithNext without normalizer", put("/normalizer", None),
                 put("/pre_tokenizer", split({"String": " "}, "MergedWithNext")))

        for key in ("add_prefix_space", "trim_offsets", "use_regex"):
            for value in (True, False, None, NEITHER, 1, "true"):
                part = {k: v for k, v in (GPT2_BYTES | {key: value}).items() if v is not NEITHER}
                self.pre("gpt2", f"ByteLevel {key} {shown(value)}", part, **names(key, value))
        self.pre("gpt2", "ByteLevel with one more key", GPT2_BYTES | {"zzz": 1})
        self.pre("gpt2", "ByteLevel with a prefix, no regex", BYTES | {"add_prefix_space": True})
        self.pre("gpt2", "ByteLevel with a prefix after Split Llama 3", sequence(split({"Regex": LLAMA3}), BYTES | {"add_prefix_space": True}))
        self.pre("gpt2", "ByteLevel with a prefix after Split ' ' Removed", sequence(split({"String": " "}, "Removed"), BYTES | {"add_prefix_space": True}))
        self.pre("gpt2", "two ByteLevels", sequence(GPT2_BYTES, GPT2_BYTES), **MAY_REFUSE)
        self.pre("gpt2", "ByteLevel, Split 'Ġ'", sequence(GPT2_BYTES, split({"String": "Ġ"})), **MAY_REFUSE)
        self.pre("gpt2", "ByteLevel, Digits", sequence(GPT2_BYTES, {"type": "Digits", "individual_digits": True}), **MAY_REFUSE)
        self.pre("gpt2", "null", None)
        self.add("gpt2", "pre-tokenizer absent", drop("/pre_tokenizer"))
        self.pre("gpt2", "Sequence of one", sequence(GPT2_BYTES))
        self.pre("gpt2", "Sequence of none", sequence())
        self.pre("gpt2", "Sequence in a Sequence", sequence(sequence(), sequence(sequence(GPT2_BYTES))))
        self.pre("gpt2", "Sequence null", {"type": "Sequence", "pretokenizers": None})
        self.pre("gpt2", "Sequence of null", {"type": "Sequence", "pretokenizers": [None, GPT2_BYTES]})
        self.pre("gpt2", "Sequence without its list", {"type": "Sequence"})
        self.pre("gpt2", "Sequence with the normalizers' key", {"type": "Sequence", "normalizers": [GPT2_BYTES]})
        self.pre("gpt2", "Sequence of a string", {"type": "Sequence", "pretokenizers": ["ByteLevel"]})
        self.pre("gpt2", "without a type", {key: value for key, value in GPT2_BYTES.items() if key != "type"})
        self.pre("gpt2", "type null", GPT2_BYTES | {"type": None})
        self.pre("gpt2", "type in lower case", GPT2_BYTES | {"type": "bytelevel"})
        self.pre("gpt2", "type unknown", {"type": "Unknown"})
        self.pre("gpt2", "a list", [])
        self.pre("gpt2", "a string", "ByteLevel")
        self.pre("gpt2", "an empty object", {})
        for part in ({"type": "Whitespace"}, {"type": "WhitespaceSplit"}, {"type": "BertPreTokenizer"}, {"type": "UnicodeScripts"},
                     {"type": "Punctuation", "behavior": "Isolated"}, {"type": "CharDelimiterSplit", "delimiter": " "}, {"type": "FixedLength", "length": 5}):
            self.pre("gpt2", f"{part['type']}, ByteLevel", sequence(part, GPT2_BYTES), names=part["type"], **REFUSES)

        for value in (True, False, None, NEITHER, 1):
            digits = {"type": "Digits"} | keep("individual_digits", value)
            self.pre("gpt2", f"Digits individual_digits {shown(value)}, ByteLevel", sequence(digits, GPT2_BYTES), **names("individual_digits", value))
        self.pre("gpt2", "Digits false, no regex", sequence({"type": "Digits", "individual_digits": False}, BYTES))
        self.pre("gpt2", "Digits true after Split ' '", sequence(split({"String": " "}, "MergedWithNext"), {"type": "Digits", "individual_digits": True}, BYTES))
        self.pre("gpt2", "Digits true before a prefix", sequence({"type": "Digits", "individual_digits": True}, GPT2_BYTES | {"add_prefix_space": True}))
        self.pre("llama2", "Digits alone", {"type": "Digits", "individual_digits": True})
        self.pre("llama2", "Digits together alone", {"type": "Digits", "individual_digits": False})
        self.pre("gemma", "Digits, Metaspace", sequence({"type": "Digits", "individual_digits": True}, metaspace(replacement="▁", prepend_scheme="first", split=True)), **MAY_REFUSE)

        # Of a vocabulary whose entries reach over blanks, so that the cuts matter.
        def meta(name, part):
            self.add("tinystories", f"no normalizer, {name}", put("/normalizer", None), put("/pre_tokenizer", part))
        for scheme in ("first", "always", "never", NEITHER, None, "First"):
            for cut in (True, False, NEITHER):
                meta(f"Metaspace {shown(scheme)}, split {shown(cut)}", metaspace(replacement="▁", prepend_scheme=scheme, split=cut))
        meta("Metaspace split null", metaspace(replacement="▁", prepend_scheme="first", split=None))
        for prefix in (True, False, None, 0):
            for scheme in (NEITHER, "first", "always", "never"):
                meta(f"Metaspace add_prefix_space {prefix}, scheme {shown(scheme)}",
                         metaspace(replacement="▁", add_prefix_space=prefix, prepend_scheme=scheme))
        meta("Metaspace str_rep", metaspace(replacement="▁", str_rep="▁", prepend_scheme="always", split=True))
        meta("Metaspace str_rep another", metaspace(replacement="▁", str_rep="_", prepend_scheme="always", split=True))
        for other in ("_", " ", "▁▁", "", None, NEITHER, 3):
            meta(f"Metaspace replacement {shown(other)}", metaspace(replacement=other, prepend_scheme="first", split=True))
        meta("Metaspace with one more key", metaspace(replacement="▁", prepend_scheme="first", split=True, zzz=1))
        meta("two Metaspaces", sequence(metaspace(replacement="▁", prepend_scheme="first", split=True), metaspace(replacement="▁", prepend_scheme="always", split=True)))
        meta("Split ' ' Isolated, Metaspace first", sequence(split({"String": " "}), metaspace(replacement="▁", prepend_scheme="first", split=True)))
        meta("Split ' ' Isolated, Metaspace always", sequence(split({"String": " "}), metaspace(replacement="▁", prepend_scheme="always", split=False)))
        meta("Split ' ' Removed, Metaspace always", sequence(split({"String": " "}, "Removed"), metaspace(replacement="▁", prepend_scheme="always", split=False)))
        meta("Metaspace, Split '▁' Isolated", sequence(metaspace(replacement="▁", prepend_scheme="first", split=False), split({"String": "▁"})))
        meta("Metaspace, Digits", sequence(metaspace(replacement="▁", prepend_scheme="always", split=True), {"type": "Digits", "individual_digits": True}))
        of = "llama2_metaspace_first"
        self.add(of, "Prepend before Metaspace first", put("/normalizer", prepend("▁")), **MAY_REFUSE)
        self.add(of, "Prepend of a blank before Metaspace first", put("/normalizer", prepend(" ")), **MAY_REFUSE)
        self.add(of, "Prepend of a letter before Metaspace first", put("/normalizer", prepend("x")), **MAY_REFUSE)
        self.add(of, "NFC before Metaspace first", put("/normalizer", NFC))
        self.add(of, "Replace of the first character before Metaspace first", put("/normalizer", string_replace("H", "th")), **MAY_REFUSE)
        self.add(of, "normalizer that drops blanks before Metaspace first", put("/normalizer", string_replace(" ", "")), **MAY_REFUSE)
        self.add("gpt2", "Metaspace, ByteLevel", put("/pre_tokenizer", sequence(metaspace(replacement="▁", prepend_scheme="always", split=True), GPT2_BYTES)))

    def of_normalizers(self):
        self.normal("gpt2", "NFC", NFC)
        self.normal("gpt2", "absent key of NFC's", {"type": "NFC", "zzz": 1})
        self.normal("neox", "null", None)
        self.normal("qwen3", "Sequence of NFC", normalizers(NFC))
        self.normal("qwen3", "NFC twice in a Sequence in a Sequence", normalizers(NFC, normalizers(normalizers(), NFC)))
        self.normal("qwen3", "Sequence of none", normalizers())
        self.add("qwen3", "normalizer absent", drop("/normalizer"))
        self.normal("qwen3", "Sequence null", {"type": "Sequence", "normalizers": None})
        self.normal("qwen3", "Sequence without its list", {"type": "Sequence"})
        self.normal("qwen3", "Sequence of null", normalizers(None))
        self.normal("qwen3", "type null", {"type": None})
        self.normal("qwen3", "type in lower case", {"type": "nfc"})
        self.normal("qwen3", "an empty object", {})
        self.normal("qwen3", "a string", "NFC")
        self.normal("qwen3", "a list", [NFC])
        for part in ({"type": "NFD"}, {"type": "NFKC"}, {"type": "NFKD"}, {"type": "Lowercase"}, {"type": "StripAccents"}, {"type": "Nmt"}, {"type": "ByteLevel"},
                     {"type": "Strip", "strip_left": True, "strip_right": True},
                     {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}):
            self.normal("gpt2", part["type"], part, names=part["type"], **REFUSES)
            self.normal("qwen3", f"Sequence of NFC and {part['type']}", normalizers(NFC, part), names=part["type"], **REFUSES)
        self.normal("gpt2", "Prepend 'x'", prepend("x"))
        self.normal("gpt2", "Prepend ' '", prepend(" "))
        self.normal("gpt2", "Prepend 'ab é'", prepend("ab é"))
        self.normal("gpt2", "Prepend ''", prepend(""), **IGNORES)
        self.normal("gpt2", "Prepend null", prepend(None))
        self.normal("gpt2", "Prepend absent", {"type": "Prepend"})
        self.normal("gpt2", "Prepend, NFC of a mark", normalizers(prepend("e"), NFC))
        self.normal("gpt2", "NFC, Prepend", normalizers(NFC, prepend("e")))
        self.normal("gpt2", "Prepend twice", normalizers(prepend("a"), prepend("b")))
        self.normal("gpt2", "Replace ' ' by ' '", string_replace(" ", " "))
        self.normal("gpt2", "Replace 'e' by ''", string_replace("e", ""))
        self.normal("gpt2", "Replace 'e' by 'the'", string_replace("e", "the"))
        self.normal("gpt2", "Replace 'the' by 'e'", string_replace("the", "e"))
        self.normal("gpt2", "Replace 'xx' by 'x'", string_replace("xx", "x"))
        self.normal("gpt2", "Replace 'xx' by 'xxx'", string_replace("xx", "xxx"))
        self.normal("gpt2", "Replace '.' by '!'", string_replace(".", "!"))
        self.normal("gpt2", "Replace '\\n' by ' '", string_replace("\n", " "))
        self.normal("gpt2", "Replace 'é' by 'e\\u0301'", string_replace("é", "e\u0301"))
        self.normal("gpt2", "Replace '\\u0301' by ''", string_replace("\u0301", ""))
        self.normal("gpt2", "Replace of what is nowhere", string_replace("qqqqq", "y"))
        self.normal("gpt2", "Replace ''", string_replace("", "x"), **MAY_REFUSE)
        self.normal("gpt2", "Replace '' by ''", string_replace("", ""), **MAY_REFUSE)
        self.normal("gpt2", "Replace '\\r\\n' by '\\n', then '\\n\\n' by '\\n'", normalizers(string_replace("\r\n", "\n"), string_replace("\n\n", "\n")))
        self.normal("gpt2", "NFC, Replace 'é' by 'E'", normalizers(NFC, string_replace("é", "E")))
        self.normal("gpt2", "Replace 'x' by 'e', NFC", normalizers(string_replace("x", "e"), NFC))
        self.normal("gpt2", "Replace Regex", {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}, names="Replace", **REFUSES)
        self.normal("gpt2", "Replace content null", {"type": "Replace", "pattern": {"String": " "}, "content": None})
        self.normal("gpt2", "Replace content absent", {"type": "Replace", "pattern": {"String": " "}})
        self.normal("gpt2", "Replace pattern absent", {"type": "Replace", "content": " "})
        self.normal("gpt2", "Replace pattern a bare string", {"type": "Replace", "pattern": " ", "content": "_"})
        self.normal("gpt2", "Replace with one more key", string_replace(" ", "_") | {"zzz": 1})
        self.normal("llama2", "Replace only", string_replace(" ", "▁"))
        self.normal("llama2", "Replace, Prepend", normalizers(string_replace(" ", "▁"), prepend("▁")))
        self.normal("llama2", "Prepend ' ', Replace", normalizers(prepend(" "), string_replace(" ", "▁")))
        self.normal("llama2", "null", None)
        self.normal("llama2", "Prepend '▁▁', Replace", normalizers(prepend("▁▁"), string_replace(" ", "▁")))
        self.normal("gemma", "NFC, Replace", normalizers(NFC, string_replace(" ", "▁")))
        self.normal("gemma", "Prepend, Replace", normalizers(prepend("▁"), string_replace(" ", "▁")))
        self.normal("gemma", "null", None)

    def of_models(self):
        for key in ("fuse_unk", "byte_fallback", "ignore_merges"):
            for value in (True, False, None, NEITHER, 0, "x"):
                # In each family that says true or false otherwise.
                for family in ("gpt2", "llama3", "tinystories"):
                    model = self.files[family]["model"]
                    if value is NEITHER and key not in model:
                        continue
                    change = drop(f"/model/{key}") if value is NEITHER else put(f"/model/{key}", value)
                    self.add(family, f"model {key} {shown(value)}", change, **({"names": key} if value in (0, "x") and value is not False else {}))
        missing = [drop(f"/model/vocab/{entry}") for entry in ("<0xE6>", "<0xF0>", "<0x0A>", "<0xCC>")]
        for fallback in (True, False):
            for fuse in (True, False):
                for unk in ("<unk>", None, NEITHER, "nowhere", "", "é", "<0x20>", "</s>"):
                    self.add("llama2", f"fallback {fallback}, fuse_unk {fuse}, unk_token {shown(unk)}, bytes missing", *missing,
                             put("/model/byte_fallback", fallback), put("/model/fuse_unk", fuse),
                             drop("/model/unk_token") if unk is NEITHER else put("/model/unk_token", unk),
                             **(IGNORES if unk == "" else {}))
        self.add("llama2", "unk_token 3", put("/model/unk_token", 3))
        self.add("gemma", "bytes missing, no fusing", drop("/model/vocab/<0xE6>"), drop("/model/vocab/<0xF0>"), put("/model/fuse_unk", False), **MAY_REFUSE)
        self.add("gemma", "bytes missing", drop("/model/vocab/<0xE6>"), drop("/model/vocab/<0xF0>"), **MAY_REFUSE)
        self.add("gemma", "ignore_merges with bytes missing", drop("/model/vocab/<0xE6>"), put("/model/ignore_merges", True), **MAY_REFUSE)
        self.add("gpt2", "an entry of bytes beyond U+10FFFF", put("/model/vocab/aôĲĢĢ", self.sizes["gpt2"]), put("/added_tokens/0/id", self.sizes["gpt2"] - 1))
        self.add("gpt2", "an entry of bytes that no character has", put("/model/vocab/aøģ", self.sizes["gpt2"]))
        self.add("gpt2", "byte_fallback and an unk_token", put("/model/byte_fallback", True), put("/model/unk_token", "<|endoftext|>"))
        gone = [entry for entry in ("x", "Ã", "ģ", "ß") if entry in self.files["gpt2"]["model"]["vocab"]]
        merges = [i for i, merge in enumerate(self.files["gpt2"]["model"]["merges"]) if set("".join(merge)) & set(gone)]
        dropped = [drop(f"/model/merges/{i}") for i in reversed(merges)] + [drop(f"/model/vocab/{entry}") for entry in gone]
        self.add("gpt2", "bytes missing", *dropped)
        self.add("gpt2", "bytes missing, an unk_token", *dropped, put("/model/unk_token", "!"))
        self.add("gpt2", "bytes missing, an unk_token, fused", *dropped, put("/model/unk_token", "!"), put("/model/fuse_unk", True))
        self.add("gpt2", "bytes missing, ignore_merges, an unk_token", *dropped, put("/model/unk_token", "!"), put("/model/ignore_merges", True))
        self.add("gpt2", "bytes missing, an unk_token, byte_fallback to what UTF-8 has", *dropped, put("/model/unk_token", "!"), put("/model/byte_fallback", True),
                 *[put(f"/model/vocab/<0x{byte}>", self.sizes["gpt2"] + i) for i, byte in enumerate(("C3", "83", "78"))], **MAY_REFUSE)
        for key in ("continuing_subword_prefix", "end_of_word_suffix"):
            for value in (None, "", False, NEITHER):
                self.add("gpt2", f"model {key} {shown(value)}", drop(f"/model/{key}") if value is NEITHER else put(f"/model/{key}", value))
            self.add("gpt2", f"model {key} '##'", put(f"/model/{key}", "##"), names=key, **REFUSES)
        for value in (None, NEITHER, 0, 0.0, "0", -1, 2):
            self.add("llama3", f"model dropout {shown(value)}", drop("/model/dropout") if value is NEITHER else put("/model/dropout", value))
        for value in (0.1, 1, 1e-9):
            self.add("llama3", f"model dropout {value}", put("/model/dropout", value), names="dropout", **REFUSES)
        self.add("llama3", "model cache_capacity", put("/model/cache_capacity", 10))
        self.add("llama3", "model with one more key", put("/model/zzz", 10))
        self.add("llama3", "model without a type", drop("/model/type"))
        self.add("llama3", "model type null", put("/model/type", None))
        self.add("llama3", "model type in lower case", put("/model/type", "bpe"))
        self.add("llama3", "model type WordPiece", put("/model/type", "WordPiece"))
        self.add("llama3", "model type unknown", put("/model/type", "Unknown"))
        self.add("llama3", "model null", put("/model", None))
        self.add("llama3", "model absent", drop("/model"))
        self.add("llama3", "model an empty object", put("/model", {}))
        self.add("gpt2", "model WordLevel", put("/model", {"type": "WordLevel", "vocab": {"a": 0, "<unk>": 1}, "unk_token": "<unk>"}), names="WordLevel", **REFUSES)
        self.add("gpt2", "model Unigram", put("/model", {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]], "byte_fallback": False}), names="Unigram", **REFUSES)
        self.add("gpt2", "model WordPiece", put("/model", {"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": {"a": 0, "<unk>": 1}}), names="WordPiece", **REFUSES)

    def of_vocabularies(self):
        size = self.sizes["gpt2"]
        for value in (-1, 5.0, 1 << 32, None, "5", True, [5]):
            self.add("gpt2", f"an id {shown(value)}", put("/model/vocab/Ġthe", value))
        self.add("gpt2", "an id twice", put("/model/vocab/Ġthe", 100), names="100", **REFUSES)
        self.add("gpt2", "a hole", put("/model/vocab/Ġof", size + 500))
        self.add("gpt2", "the largest id", put("/model/vocab/Ġof", (1 << 32) - 1), **MAY_REFUSE)
        self.add("gpt2", "an empty entry", put("/model/vocab/", size))
        self.add("gpt2", "an entry that is no byte's", put("/model/vocab/日 本", size))
        self.add("gpt2", "an entry with a literal blank", put("/model/vocab/ the", size))
        self.add("gpt2", "no vocabulary", drop("/model/vocab"))
        self.add("gpt2", "vocabulary null", put("/model/vocab", None))
        self.add("gpt2", "vocabulary a list", put("/model/vocab", ["a", "b"]))
        self.add("gpt2", "vocabulary empty", put("/model/vocab", {}), put("/model/merges", []), put("/added_tokens", []))
        self.add("gpt2", "vocabulary empty, an added token", put("/model/vocab", {}), put("/model/merges", []), replace("/added_tokens/0/id", 0))
        self.add("gpt2", "merges null", put("/model/merges", None))
        self.add("gpt2", "no merges", drop("/model/merges"))
        self.add("gpt2", "merges empty", put("/model/merges", []))
        self.add("gpt2", "merges an object", put("/model/merges", {}))
        self.add("llama3", "merges empty, ignore_merges", put("/model/merges", []))
        self.add("llama2", "merges empty", put("/model/merges", []))
        for merge in ("qqq zzz", "! ~", "abc", "a b c", "", " ", "a ", " a", " a b", "a  b", None, 3, ["t", "h"], "#version: 0.2", "#version", "# version", "t h"):
            self.add("gpt2", f"first merge {merge!r}", {"op": "add", "path": "/model/merges/0", "value": merge},
                     **(IGNORES if merge == ["t", "h"] else {}))
        self.add("gpt2", "#version within the merges", {"op": "add", "path": "/model/merges/50", "value": "#version: 0.2"})
        self.add("gpt2", "last merge one of the first", put("/model/merges/-", self.files["gpt2"]["model"]["merges"][0]))
        self.add("gpt2", "last merge one of the first, twice", put("/model/merges/-", self.files["gpt2"]["model"]["merges"][3]), put("/model/merges/-", self.files["gpt2"]["model"]["merges"][3]))
        for merge in (["t", "h", "e"], ["t"], [], ["qqq", "zzz"], ["!", "~"], "t h", None, ["", "t"], ["t", ""], [1, 2]):
            self.add("qwen3", f"first merge {merge!r}", {"op": "add", "path": "/model/merges/0", "value": merge},
                     **(IGNORES if merge == "t h" else {}))
        self.add("qwen3", "a pair with a blank", put("/model/vocab/t h", self.sizes["qwen3"] + 100), put("/model/vocab/ h", self.sizes["qwen3"] + 101),
                 {"op": "add", "path": "/model/merges/0", "value": ["t", " h"]}, **MAY_REFUSE)
        self.add("qwen3", "#version as a pair", {"op": "add", "path": "/model/merges/0", "value": ["#version:", "0.2"]})
        self.add("gpt2", "merges that make one entry in two ways", put("/model/merges/-", "t he"), put("/model/merges/-", "th e"), put("/model/vocab/the", size), **MAY_REFUSE)
        first = next(iter(self.files["gpt2"]["model"]["vocab"]))
        self.add_text("gpt2", "an entry twice", '"vocab":{', f'"vocab":{{"{first}":7,', **MAY_REFUSE)
        self.add_text("gpt2", "the vocabulary twice", '"vocab":{', '"vocab":{},"vocab":{', **MAY_REFUSE)
        self.add_text("gpt2", "added_tokens twice", '"added_tokens":[', '"added_tokens":[],"added_tokens":[', **MAY_REFUSE)
        self.add_text("gpt2", "a comma too many", '"merges":[', '"merges":[,')
        self.add_text("gpt2", "something after the end", "]}}\n", "]}} x\n")

    def of_added_tokens(self):
        for key in ("single_word", "lstrip", "rstrip", "normalized", "special", "id", "content"):
            self.add("gpt2", f"added token's {key} null", put(f"/added_tokens/0/{key}", None), names=key)
            self.add("gpt2", f"added token's {key} absent", drop(f"/added_tokens/0/{key}"), names=key)
        self.add("gpt2", "added token's single_word 1", put("/added_tokens/0/single_word", 1))
        self.add("gpt2", "added token with one more key", put("/added_tokens/0/zzz", 1))
        self.add("gpt2", "added_tokens absent", drop("/added_tokens"))
        self.add("gpt2", "added_tokens null", put("/added_tokens", None))
        self.add("gpt2", "added_tokens empty", put("/added_tokens", []))
        self.add("gpt2", "added_tokens an object", put("/added_tokens", {}))
        self.add("neox", "added_tokens empty", put("/added_tokens", []))
        size = self.sizes["gpt2"]
        for id_ in (size + 500, 0):
            self.add("gpt2", f"added token's id {'0' if id_ == 0 else 'another'}", put("/added_tokens/0/id", id_), names=str(id_), **REFUSES)
        self.add("gpt2", "added token's id -1", put("/added_tokens/0/id", -1))
        self.add("gpt2", "added token's id 2^32", put("/added_tokens/0/id", 1 << 32))
        self.add("gpt2", "added token's id 1.0", put("/added_tokens/0/id", 1.0))
        self.add("gpt2", "added token's id a string", put("/added_tokens/0/id", str(size - 1)))
        self.add("gpt2", "added token not special", put("/added_tokens/0/special", False))
        self.add("gpt2", "added token not normalized", put("/added_tokens/0/normalized", False))
        self.add("gpt2", "an added token twice", put("/added_tokens/-", self.files["gpt2"]["added_tokens"][0]))
        self.add("gpt2", "an added token twice with other flags", put("/added_tokens/-", self.files["gpt2"]["added_tokens"][0] | {"lstrip": True, "special": False}), **MAY_REFUSE)

        def new(family, name, *tokens, **more):
            self.add(family, f"new {name}", *[put("/added_tokens/-", one) for one in tokens], **more)
        n = size
        new("gpt2", "token", token("<new>", n))
        new("gpt2", "token, id one too high", token("<new>", n + 1), names=str(n + 1), **REFUSES)
        new("gpt2", "token, id of another", token("<new>", 5), names="5", **REFUSES)
        new("gpt2", "token without content", token("", n))
        new("gpt2", "token without content, another after it", token("", n), token("<new>", n))
        new("gpt2", "tokens, second first", token("<b>", n + 1), token("<a>", n), **REFUSES)
        new("gpt2", "tokens", token("<a>", n), token("<b>", n + 1), token("<a b>", n + 2))
        new("gpt2", "token of the vocabulary", token("the", self.files["gpt2"]["model"]["vocab"].get("the", n)))
        new("gpt2", "token of the vocabulary as spelled", token("Ġthe", self.files["gpt2"]["model"]["vocab"]["Ġthe"]))
        new("gpt2", "tokens, one the beginning of another", token("<one>", n), token("<one-two>", n + 1), token("<one-two-three>", n + 2))
        for flag in ("single_word", "lstrip", "rstrip"):
            for normalized in (False, True):
                tokens = [token(content, n + i, normalized=normalized, **{flag: True}) for i, content in enumerate(("<word>", "<left>", "<right>", "<both>", "the"))]
                if "the" in self.files["gpt2"]["model"]["vocab"]:
                    tokens.pop()
                new("gpt2", f"{flag} tokens{' normalized' if normalized else ''}", *tokens)
        everything = [token("<extra>", 0), token("<extra-long>", 0), token("<left>", 0, lstrip=True), token("<right>", 0, rstrip=True),
                      token("<both>", 0, lstrip=True, rstrip=True), token("<word>", 0, single_word=True), token("<norm>", 0, normalized=True),
                      token("<no", 0), token("two words", 0, normalized=True), token("<two words>", 0, normalized=True), token("zz", 0, normalized=True, single_word=True),
                      token("caf\u00e9", 0, normalized=True), token("cafe\u0301", 0), token("(left)", 0, normalized=True, lstrip=True, single_word=True),
                      token("(right)", 0, normalized=True, rstrip=True, special=True)]
        for family in ("gpt2", "neox", "llama3", "qwen3", "gemma", "llama2", "llama2_metaspace_first"):
            vocab = self.files[family]["model"]["vocab"]
            base = self.sizes[family]
            fresh = [one for one in everything if one["content"] not in vocab]
            new(family, "tokens of every kind", *[one | {"id": base + i} for i, one in enumerate(fresh)])
            if family not in ("gpt2", "gemma", "llama2"):
                continue
            new(family, "tokens normalized", *[one | {"id": base + i, "normalized": True} for i, one in enumerate(fresh)])
        for family in ("neox", "qwen3"):
            base = self.sizes[family]
            new(family, "normalized token, composed", token("caf\u00e9", base, normalized=True))
            new(family, "normalized token, decomposed", token("cafe\u0301", base, normalized=True))
            new(family, "raw token, decomposed", token("cafe\u0301", base))
            new(family, "raw token, a mark", token("\u0301", base))
            new(family, "normalized token, a mark", token("\u0301", base, normalized=True))
            # The library takes either, by chance, another one in another process.
            new(family, "two tokens of one normal form", token("caf\u00e9", base, normalized=True), token("cafe\u0301", base + 1, normalized=True), names="caf", **REFUSES)
        new("gpt2", "tokens that strip on both sides", token("<r>", n, rstrip=True), token("\n\n", n + 1, lstrip=True), **MAY_REFUSE)
        base = self.sizes["llama2"]
        new("llama2", "normalized token '▁the'", token("▁the", self.files["llama2"]["model"]["vocab"]["▁the"], normalized=True))
        new("llama2", "normalized token ' the'", token(" the", base, normalized=True))
        new("llama2", "normalized token ''", token("", base, normalized=True), token("<new>", base))
        new("llama2", "normalized and raw token", token("<norm>", base, normalized=True), token("<extra>", base + 1))
        base = self.sizes["gemma"]
        new("gemma", "normalized token with a blank", token("two words", base, normalized=True))
        new("gemma", "normalized token ' '", token(" ", base, normalized=True))
        new("gemma", "raw token ' '", token(" ", base))
        self.add("llama2", "specials raw", *[replace(f"/added_tokens/{i}/normalized", False) for i in range(3)])
        self.add("llama2_metaspace_first", "specials normalized", *[replace(f"/added_tokens/{i}/normalized", True) for i in range(3)])
        self.add("llama2_metaspace_always", "specials strip", *[replace(f"/added_tokens/{i}/lstrip", True) for i in range(3)])
        self.add("llama2_metaspace_first", "specials strip on the right", *[replace(f"/added_tokens/{i}/rstrip", True) for i in range(3)])
        self.add("neox", "space runs raw", *[replace(f"/added_tokens/{i}/normalized", False) for i in range(2, 25)])
        self.add("neox", "space runs that strip", *[replace(f"/added_tokens/{i}/lstrip", True) for i in range(2, 25)])
        self.add("neox", "space runs single words", *[replace(f"/added_tokens/{i}/single_word", True) for i in range(2, 25)])
        self.add("gpt2", "added token kept when its normal form is empty", put("/normalizer", string_replace("<new>", "")), put("/added_tokens/-", token("<new>", n, normalized=True)))
        self.add("gpt2", "added token whose normal form another text has", put("/normalizer", string_replace("H", "h")), put("/added_tokens/-", token("AH", n, normalized=True)),
                 put("/added_tokens/-", token("Hello", n + 1, normalized=True)))

    def of_the_rest(self):
        for key in ("truncation", "padding", "post_processor", "decoder", "version"):
            self.add("gpt2", f"{key} absent", drop(f"/{key}"))
            self.add("gpt2", f"{key} null", put(f"/{key}", None), **({"names": key} if key == "version" else {}))
        self.add("gpt2", "version 2.0", put("/version", "2.0"), names="version")
        self.add("gpt2", "version 1.1", put("/version", "1.1"), names="version")
        self.add("gpt2", "version a number", put("/version", 1.0), names="version")
        self.add("gpt2", "one more key", put("/zzz", {"a": 1}))
        self.add("gpt2", "truncation on", put("/truncation", {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}))
        self.add("gpt2", "truncation damaged", put("/truncation", {"max_length": "x"}), **IGNORES)
        self.add("gpt2", "padding on", put("/padding", {"strategy": {"Fixed": 50}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "!"}))
        self.add("gpt2", "padding damaged", put("/padding", {"strategy": 3}), **IGNORES)
        self.add("gemma", "post_processor without its bos", drop("/post_processor/special_tokens/<bos>"))
        self.add("gemma", "post_processor unknown", put("/post_processor", {"type": "Unknown"}), **IGNORES)
        self.add("gemma", "decoder unknown", put("/decoder", {"type": "Unknown"}))
        self.add("gemma", "decoder without a type", put("/decoder", {}))
        self.add("gemma", "decoder null", put("/decoder", None))
        self.add("gemma", "decoder ByteFallback", put("/decoder", {"type": "ByteFallback"}))
        self.add("gemma", "decoder WordPiece", put("/decoder", {"type": "WordPiece", "prefix": "##", "cleanup": True}), **MAY_REFUSE)
        self.add("gemma", "decoder Strip without its start", put("/decoder", {"type": "Strip", "content": " ", "stop": 0}))
        self.add("llama2", "decoder Metaspace", put("/decoder", {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}))


def pairs(model):
    """The files of gpt2 as vocab.json and merges.txt, and edits of them: (part, before, after), first place only."""
    first, last = model["merges"][0] + "\n", model["merges"][-1] + "\n"
    header = "#version: 0.2\n"
    found = [
        {"name": "as they are"}, {"name": "without #version", "edits": [["merges", header, ""]]},
        {"name": "#version of any kind", "edits": [["merges", header, "#versionxyz\n"]]},
        {"name": "#version again", "edits": [["merges", first, first + header]]},
        {"name": "CR LF", "edits": [["merges", header, "#version: 0.2\r\n"], ["merges", first, first[:-1] + "\r\n"]]},
        {"name": "no end of the last line", "edits": [["merges", last, last[:-1]]]},
        {"name": "an empty last line", "edits": [["merges", last, last + "\n"]], **IGNORES},
        {"name": "an empty line", "edits": [["merges", header, header + "\n"]], **IGNORES},
        {"name": "a comment", "edits": [["merges", header, header + "# comment\n"]]},
        {"name": "a mark of byte order", "edits": [["merges", header, "\ufeff" + header]]},
        {"name": "a blank after a merge", "edits": [["merges", first, first[:-1] + " \n"]]},
        {"name": "a blank before a merge", "edits": [["merges", first, " " + first]]},
        {"name": "a tab in a merge", "edits": [["merges", first, first.replace(" ", "\t")]]},
        {"name": "three parts", "edits": [["merges", last, last + "a b c\n"]]},
        {"name": "one part", "edits": [["merges", last, last + "a\n"]]},
        {"name": "an unknown part", "edits": [["merges", last, last + "qqq zzz\n"]]},
        {"name": "an unknown result", "edits": [["merges", last, last + "! ~\n"]]},
        {"name": "a merge twice", "edits": [["merges", last, last + first]]},
        {"name": "the first merge missing", "edits": [["merges", first, ""]]},
        {"name": "an id as a number with a point", "edits": [["vocab", '"!":0', '"!":0.0']]},
        {"name": "an id below 0", "edits": [["vocab", '"!":0', '"!":-1']]},
        {"name": "an id null", "edits": [["vocab", '"!":0', '"!":null']], **MAY_REFUSE},   # the library drops the entry
        {"name": "an id a string", "edits": [["vocab", '"!":0', '"!":"0"']], **MAY_REFUSE},
        {"name": "an id above 2^32", "edits": [["vocab", '"!":0', '"!":4294967296']], **REFUSES},  # it cuts the number
        {"name": "an id twice", "edits": [["vocab", '"!":0', '"!":5']], **REFUSES},
        {"name": "an entry twice", "edits": [["vocab", "{", '{"!":7,']], **MAY_REFUSE},
        {"name": "a list", "edits": [["vocab", "{", "["], ["vocab", "}", "]"]]},
        {"name": "something after the vocabulary", "edits": [["vocab", "{", "{} {"]]},
        {"name": "without <|endoftext|>", "edits": [["vocab", ',"<|endoftext|>":%d' % model["vocab"]["<|endoftext|>"], ""]]},
    ]
    return [{"edits": []} | pair for pair in found]
