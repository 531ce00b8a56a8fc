"""Tricky texts for tokenizers: what the scripts which write and compare golden ids share."""
import random

ZWJ, VS16 = "\u200d", "\ufe0f"

SPACES = [
    "", " ", *(" " * n for n in (2, 3, 4, 7, 15, 16, 17, 22, 23, 24, 25, 26, 31, 32, 40, 48, 49)),
    *("a" + " " * n + "b" for n in (2, 3, 8, 23, 24, 25, 48, 49)), "  leading and trailing  ", "a  1", "1  a", "x  ", "  x",
    "\t", "\t\t", "\t\ttabs\tand\t \tspaces ", " \t \n \t\n ", "\t" * 31, "\t" * 32, "\t" * 63, "a\t\t\tb\t",
    "\n", "\n\n", "\r", "\r\n", "\n\r", "\r\n\r\n", "\r\r\n\n", "a\nb", "a\n\nb", "a\r\nb\rc\n\rd", "  \n  x", "x \n", "x\n ",
    "x\n\n  y", "x.\n\ny", "x.\r\n  y", "!\n!\r\n!!\n\n ", *("\n" * n for n in (3, 15, 16, 17, 30, 31, 32, 62, 63)), "text\n", "text\n\n\n",
    "\n text", " \n\n text", "\x0b\x0c \x0bx\x0c",
    "\u00a0", "a\u00a0b", " \u00a0 x\u00a0\u00a0y", "\u3000全\u3000", "a\u2028b\u2029c", "a\u0085b\u0085 ", "a\u180eb", "a\u200bb \u200b ", "\ufeffbom",
    "x\ufeff", "\u2003em \u2009thin\u202f5\u205f6\u1680", "a \u2003 b", "\u2028\n\u2028", " \u3000\n\u3000 x",
]
CONTRACTIONS = [
    "it's we're I've I'm you'll he'd don't", "IT'S WE'RE I'VE I'M YOU'LL HE'D DON'T", "It'S We'Re I'vE i'M You'lL He'D Don'T",
    "it\u2019s don\u2019t I\u2019m", "it'\u017f 'ſ 'ſx it'ſx", "'tis", "o'clock", "'S", "'s", "''s", "'s's't're'll", "' s", "'", "''", "'''", "'l", "'v", "'r", "'re",
    "can't've", "1's '1 '1s", " 's 'd", "\n's\n't", "日's", "'日", "'é", "a'b", "'\u0301s", "x'll've y'all'd", "'LL 'Ll 'lL", "don't.'", "'m-'m",
    "\u212a'\u212a 'ﬆ 'ﬅ 'ß",
]
NUMBERS = [
    *("12345678"[:n] for n in range(1, 9)), "a1b22c333d4444", " 1 12 123 1234 12345", "1,000,000.50", "3.14159", "1e10", "٠١٢٣٤٥٦٧٨٩", "٣٤ ٣", "１２３４５",
    "½", "1½", "Ⅷ ⅷⅧ", "x²y³", "①②⑳", "\U00011de0\U00011de1", "1\U00011de0", "\U00016ff4\U00016ff5", "一二三", "१२३", "𝟘𝟙𝟚𝟛", "௧௨௰", "0x1F 007 3rd 2nd",
    "1 2  3   4", "2024-11-30T12:34:56Z", "99%", "-5 +5", "٫٬",
]
MARKS = [
    "e\u0301", "cafe\u0301 re\u0301sume\u0301", "a\u0308o\u0308u\u0308", "\u0301", "\u0301a", " \u0301", "a\u0301\u0301", "q\u0307\u0323 q\u0323\u0307", "d\u0307\u0323 ḍ\u0307 ḋ\u0323",
    "\u1112\u1161\u11ab\u1100\u1173\u11af", "한국어", "\u1100\u1161", "\uac00\u11a8", "\u11a8", "\u2126 \u212b \u212a", "\u0344 \u0958 \u2adc \ufb1d \u0f43", "ﬁ ﬂ ﬀ",
    "\U00011935\U00011930", "\U000105d2\u0307", "\U00016121\U0001611e", "\U000110a5\U000110ba", "\U0001d157\U0001d165", "\u0cc6\u0cc2\u0cd5", "\u09c7\u09be", "\u0b92\u0bd7",
    "Vie\u0302\u0323t Vi\u1ec7t", "s\u0323\u0307 \u1e69 ṩ", "a\u0327\u0301\u0323\u0308\u0304", "\u0f71\u0f72\u0f74", "a\u1dce\u0301", "\u0061\u05ae\u0300\u0315\u0062", "\u03b1\u0345\u0301", "ᾴ",
]
EMOJI = [
    f"👨{ZWJ}👩{ZWJ}👧{ZWJ}👦", "🇩🇪🇫🇷🇯", "👍🏽👍🏿", f"1{VS16}\u20e3#{VS16}\u20e3", f"❤{VS16}❤", f"🏳{VS16}{ZWJ}🌈", f"🧑🏿{ZWJ}🚀 !", " 👍 👍", "a👍b", "😀😁😂" * 3, "\U0001fae8\U0001fada",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
]
SCRIPTS = [
    "Hello world", "Hello, World! How are you?", "The quick brown fox jumps over the lazy dog.", "naïve café Ærøskøbing Straße ßẞ", "Привет, мир! Ёжик", "Ελληνικά γλώσσα",
    "你好世界", "我喜欢Python和C++编程", "中文abc中文 abc", "こんにちは世界カタカナ", "ｶﾀｶﾅ ＡＢＣ", "日本語のテキスト。次の文", "𠮷野家", "𠮷𠮷 \U0002a6d6\U0002ebf0\U00031350\U0002ebe0", "สวัสดีชาวโลก", "नमस्ते दुनिया क्षत्रिय",
    "שלום עולם", "مرحبا بالعالم", "\u202bمرحبا\u202c abc \u200eשלום\u200f", "שָׁלוֹם", "مُحَمَّد", "தமிழ்", "ไทย๑๒๓", "ქართული", "አማርኛ", "ᏣᎳᎩ ꭰꮃ", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝐁𝐨𝐥𝐝",
    "\u1c89\u1c8a \ua7cb\ua7cc \ua7da", "\U00010d40\U00010d4a\U00010d70", "\U0001e030\U0001e6c0", "\ue000\uf8ff\U000f0000\U0010fffd", "\ufdd0\uffff\ufffe\U0001ffff", "\ufffd a\ufffdb", "\u0378\u0379", "\u00ad soft\u00adhyphen",
    "İstanbul ıI", "ǅ ǆ Ǆ", "ªº", "ʰʷ ˈ", "_under_score __init__", "_1 a_1 _",
]
CONTROLS = ["\x00", "a\x00b\x00\x00", "".join(map(chr, range(32))), "\x7f\x80\x81\x9f", "\x1c\x1d\x1e\x1f", "a\x1bb", " \x00 "]
PUNCTUATION = [
    "!!!???...", " !", "! !", "#$%^&*()_+{}|:\"<>?-=[]\\;',./`~", "-" * 80, "=" * 40 + " h " + "=" * 40, "“quoted” — dash … ellipsis", "(a)[b]{c}", "a.b,c;d:e", "...\n...\n\n", "@user #tag $1 €5 £6 ¥7", "«» ¡¿ †‡ ∑∫√",
    "https://en.wikipedia.org/wiki/Hua_Mulan?x=1#y", "user@example.com", "C:\\dir\\file.txt", "a/b//c", "x=1;y=2;", "def f(x):\n    return x + 1\n", "if (a && b) {\n\t\tc();\n}\r\n", "<div class=\"x\">text</div>", "{{cite|url=x}} [[Link|text]] ''it'' '''b'''", "| a || b\n|-\n| 1 || 2",
    "$\\alpha^{2}$", "\\u0041 &amp; &#65;",
]
LITERALS = [
    "▁", "▁▁", "▁▁▁▁▁", "a▁b", "▁a", " ▁ a", "▁ a", "a ▁", "▁" * 31, "▁" * 32, "x▁▁ ▁y", "<0x41>", "a<0x41>b", "<0x0A><0xE4>", "Ġ", "ĠĊ Ä", "Ġthe", "Ċ", "\u0120the \u010a", "<unk>", "a<unk>b", "##ing", "</w>", "@@",
    "<|endoftext|>", "a<|endoftext|>b", " <|endoftext|> ", "<|endoftext|><|endoftext|>", "<|ENDOFTEXT|>", "<|endoftext|", "<|endo<|endoftext|>", "|endoftext|>", "<s> </s><s>a</s>", "<bos>a<eos>", "<|im_start|>user\nhi<|im_end|>\n", "<table><tr><td>1</td></tr></table>", "x<sub>2</sub> <b>b</b>", "</ <", ">▁</ > </a>",
    "<|begin_of_text|>hi<|eot_id|>", "<think>\nx\n</think>\n\n", "<mask> [multimodal] <pad>", "<unused0><unused1> <start_of_turn>user\n", "<image_soft_token>",
]
LONG = [
    "x" * 31, "x" * 32, "x" * 33, "x" * 255, "x" * 256, "ab" * 150, "the" * 100, " " * 100 + "x", "\n" * 65 + " y", "é" * 100, "日" * 70, "👍" * 30, "a b" * 60, "1" * 70, "aA" * 40, " a" * 60,
    "antidisestablishmentarianism", "Donaudampfschifffahrtsgesellschaft", "pneumonoultramicroscopicsilicovolcanoconiosis", "Lopadotemachoselachogaleokranioleipsanodrimhypotrimmatosilphioparaomelitokatakechymenokichlepikossyphophattoperisteralektryonoptekephalliokigklopeleiolagoiosiraiobaphetraganopterygon",
]
TEXTS = list(dict.fromkeys(
    SPACES + CONTRACTIONS + NUMBERS + MARKS + EMOJI + SCRIPTS + CONTROLS + PUNCTUATION + LITERALS + LONG))

# A megabyte of each, as recipes which a test in any language can follow.
RECIPES = [
    {"repeat": "a", "count": 1000000}, {"repeat": "ab", "count": 500000}, {"repeat": "字", "count": 333334},
    {"repeat": " ", "count": 1000000}, {"repeat": "\n", "count": 1000000}, {"repeat": " \n", "count": 500000},
    {"repeat": "1", "count": 1000000}, {"repeat": "👍", "count": 250000}, {"repeat": "e\u0301", "count": 333334},
    {"base64": 1000000},
]
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def text_of(recipe):
    """The text of a recipe: a string, {"repeat": s, "count": n}, or {"base64": n}: characters by the high six bits of a
    linear congruence modulo 2^32."""
    if isinstance(recipe, str):
        return recipe
    if "repeat" in recipe:
        return recipe["repeat"] * recipe["count"]
    state, characters = 1, []
    for _ in range(recipe["base64"]):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        characters.append(BASE64[state >> 26])
    return "".join(characters)


def texts_of_token(token):
    """An added token alone, and in the company that may hide it."""
    other = token.upper() if token.upper() != token else token.lower()
    return [token, f"{token}{token} a{token}b {token} c  {token}  {other} {token[:-1]} é{token}1 \n{token}\n _{token}_"]


def random_texts(seed, count, fragments, longest=40):
    """Random strings over representatives of what patterns, normalizers and added tokens look for."""
    rng = random.Random(seed)
    classes = [
        "aeinorstdlmv", "ABSTREVLMDZ", " ", " ", " \n\t\r", "'\u2019", ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'RE", "'ſ", "'Ll"],
        "0123456789", "٣५Ⅷ½²①𝟘\U00011de0\U00016ff4", ".,;:!?-_()[]{}<>|/\\@#$%^&*+=~`\"", "éÀßıŁœ", "\u0300\u0301\u0308\u0323\u0327\u0345\u093c\u0f71\u1161\u11ab\u20e3\u0307",
        "\u1100\u1112가한", "\u212a\u212b\u2126\u0958\ufb1d", "жЯщЁ", "λΩ", "字日本語𠮷", "かカｶ", "אם", "مح\u064e", "กำ", "हिक्", "👍🏽\u200d\ufe0f🇩🇪", "\u00a0\u2003\u3000\u2028\u0085\u200b\ufeff\u180e",
        "\x00\x01\x1c\x7f\x80", "▁", "▁Ġ", "\ue000\ufffd\uffff\U0010ffff\u0378", "\u1c89\ua7cb\U00010d4a\U000105d2\U00011935\U00011930",
    ]
    def letters(low, high):
        return chr(rng.randrange(low, high))
    for _ in range(count):
        kind = rng.random()
        pieces = []
        some = [rng.choice(classes) for _ in range(rng.randrange(1, 6))] if kind < 0.4 else classes
        for _ in range(rng.randrange(1, longest)):
            draw = rng.random()
            if draw < 0.75:
                pieces.append(rng.choice(rng.choice(some)))
            elif draw < 0.85:
                pieces.append(rng.choice(rng.choice(classes)) * rng.choice([1, 1, 2, 3, 4, 8, 17, 33]))
            elif draw < 0.93:
                pieces.append(rng.choice(fragments))
            else:
                pieces.append(rng.choice([letters(0x20, 0x250), letters(0x250, 0x3000), letters(0x3000, 0xD800), letters(0xE000, 0x11000),
                                          letters(0x10000, 0x20000), letters(0x10000, 0x110000)]))
        yield "".join(pieces)


def fragments_of(file):
    """Added tokens, whole and cut, and entries of the vocabulary."""
    found = []
    for token in file.get("added_tokens") or []:
        content = token["content"]
        found += [content, content, content[:-1], content[1:], content.upper(), content.lower()]
    vocabulary = sorted((file["model"].get("vocab") or {}).items(), key=lambda entry: entry[1])
    found += [entry.replace("Ġ", " ").replace("Ċ", "\n").replace("▁", " ") for entry, _ in vocabulary[-400:]]
    return [text for text in found if text] or ["the"]
