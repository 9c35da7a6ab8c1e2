"""Random prompts for the tokenizer goldens: kinds of text, and a generator for each kind."""

import random

PUNCTUATION = list('!"#$%&()*+,-./:;<=>?@[]^_{|}~\\`') + [
    "...",
    "!!!",
    "?!",
    "--",
    ":)",
    "((",
    "))",
    "++",
]
SUFFIXES = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "'Re", "'x", "''", "'"]
ACCENTED = """café naïve Ærøskøbing señor über straße façade jalapeño Dvořák Łódź smörgåsbord Žižek
résumé crème brûlée São Tomé piñata coöperate Győr Đorđe Ísland þorn ŒUVRE""".split()
MARKS = [
    "e\u0301",
    "n\u0303",
    "a\u0308",
    "o\u0302",
    "u\u0328",
    "q\u0323\u0307",
    "x\u0300",
    "s\u030c",
]
SCRIPTS = """кошка МОСКВА снег ёлка Привет γάτα Ελλάδα φιλοσοφία שלום ירושלים قطة جميلة مرحبا
नमस्ते हिन्दी แมว ภาษาไทย გამარჯობა բարեւ ಕನ್ನಡ தமிழ் ትግርኛ""".split()
HANGUL = "고양이 안녕하세요 서울 그림 한국어".split()
KANA = "ねこ カタカナ ひらがな アニメ さくら".split()
CJK = "猫 日本語 漢字 中文提示词 山水画 東京タワー 書道 高清 \U00020021字".split()
EMOJI = """🎨 🔥 😀 ❤️ 👍🏽 👩‍🚀 🏳️‍🌈 🇰🇷 🇫🇷 1️⃣ ☀ ✨ 🧑🏿‍🦰 ⭐ ♥ 🤖🤖 🐱🐶""".split()
SPACES = [
    "  ",
    "\t",
    "\n",
    "\r\n",
    " \t ",
    "\u00a0",
    "\u3000",
    "\u2003",
    "\u2009",
    "\u205f",
    "\u1680",
]
LINES = ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\x1f"]
NUMBERS = [
    "½",
    "Ⅷ",
    "①",
    "²",
    "٣",
    "४२",
    "㉑",
    "𝟘",
    "1,000,000",
    "3.14",
    "1e-5",
    "0x1F",
    "2024",
    "007",
]
SYMBOLS = list("©®™€£¥§¶°±×÷→←∞≈≠√∑") + ["№", "℃", "…", "–", "—", "•", "«", "»", "¿", "¡", "‽"]
QUOTES = ["\u2018quoted\u2019", "\u201cquoted\u201d", "don\u2019t", "\u201alow\u2018", "`tick'"]
INVISIBLE = ["\u200b", "\u200c", "\u200d", "\ufeff", "\u00ad", "\u2060", "\u200e"]
CONTROLS = ["\x01", "\x07", "\x1b[31m", "\x7f", "\u0080", "\ue000", "\ufffd"]
CASED = ["ÉCOLE", "ŁÓDŹ", "ÄÖÜ", "ÑANDÚ", "ЖУК", "ΑΒΓΔ", "ՀԱՅ", "Ⴀ", "ẞ", "ﬁne", "ＦＵＬＬ", "𝐁𝐨𝐥𝐝"]
TRICKY_CASE = ["İSTANBUL", "ΟΔΟΣ", "ΣΑΣ ", "Ǆungla", "ῼ", "K", "Å"]
ENTITIES = ["&amp;", "&lt;b&gt;", "&eacute;", "&#39;", "AT&T", "&amp;amp;", "fish & chips"]
SYNTAX = """(masterpiece:1.2) ((best quality)) [blurry] <lora:style:0.8> {a|b} [cat:dog:0.5]
\\(paren\\) 1girl 8k uhd dslr f/1.8 35mm --ar 16:9 embedding:bad_hands AND BREAK
score_9,score_8_up @artist #tag""".split()
SPECIAL = ["<|endoftext|>", "<|startoftext|>", "<|ENDOFTEXT|>", "a<|endoftext|>b", "<|endoftext|"]
URLS = [
    "https://example.org/a?b=c&d=%20",
    "user@example.com",
    "C:\\dir\\file.png",
    "snake_case",
    "CamelCaseWord",
]


WORDS = """apple bridge candle desert engine forest garden harbour island jacket kitchen lantern
mountain needle ocean painting queen river sunset tower umbrella village window yellow zebra
amber brown cobalt crimson dark bright tiny huge ancient modern wooden golden silver glass
marble velvet paper copper stone photograph portrait landscape sketch watercolour illustration
poster icon render cinematic studio lighting detailed sharp focus soft shadow contrast colourful
minimal abstract realistic vintage retro futuristic astronaut horse cat dog rabbit owl fox whale
dragon robot wizard knight dancer farmer sailor baker child red green blue white black purple
orange pink grey a an the of on in with and under over near behind smiling sleeping running
flying reading holding wearing surrounded covered floating glowing standing sitting cloud rain
snow storm moon star planet galaxy comet beach meadow valley canyon waterfall glacier volcano
castle cathedral market street station library workshop museum theatre greenhouse lighthouse
windmill bicycle train ship balloon rocket camera telescope violin piano clock compass map book
teapot cup plate pattern texture symmetry isometric panorama macro bokeh silhouette reflection
perspective geometry fractal photosynthesis electroencephalogram quintessential kaleidoscope
serendipity onomatopoeia rhythm""".split()


def english():
    """The plain words and words built on them; rare ones split into several tokens."""
    before = ["", "un", "re", "over", "micro", "hyper", "anti"]
    after = ["", "s", "ed", "ing", "ness", "like", "ish", "est", "ification", "wards"]
    return WORDS + [f"{b}{w}{a}" for w in WORDS for b in before for a in after if b or a]


def mixed(rng, words, extra, share=0.5, low=2, high=9):
    """Words with some of `extra` between them, joined by spaces."""
    n = rng.randint(low, high)
    return " ".join(rng.choice(extra if rng.random() < share else words) for _ in range(n))


def glued(rng, words, extra):
    """Words with `extra` glued on or inside."""
    parts = []
    for _ in range(rng.randint(2, 7)):
        word = rng.choice(words)
        at = rng.randint(0, len(word))
        parts.append(word[:at] + rng.choice(extra) + word[at:] if rng.random() < 0.7 else word)
    return " ".join(parts)


def joined(rng, words, spaces):
    """Words with other kinds of white space around and between them."""
    pieces = [rng.choice(spaces) if rng.random() < 0.3 else ""]
    for _ in range(rng.randint(2, 6)):
        pieces += [rng.choice(words), rng.choice(spaces)]
    return "".join(pieces)


def suffixed(rng, words):
    return " ".join(
        rng.choice(words) + rng.choice(SUFFIXES) + (rng.choice(words) if rng.random() < 0.3 else "")
        for _ in range(rng.randint(1, 6))
    )


def upper(rng, words):
    """Random case; never a word-final capital sigma, see TRICKY_CASE."""
    return " ".join(
        rng.choice([str.upper, str.title, str.swapcase])(rng.choice(words + CASED[:2]))
        for _ in range(rng.randint(1, 8))
    )


def nonsense(rng):
    letters = "abcdefghijklmnopqrstuvwxyz"
    return " ".join(
        "".join(rng.choice(letters) for _ in range(rng.randint(1, 24)))
        for _ in range(rng.randint(1, 6))
    )


def ascii_soup(rng):
    return "".join(chr(rng.randint(32, 126)) for _ in range(rng.randint(1, 60)))


def fixed():
    """Texts that everybody should try once."""
    texts = [
        "",
        " ",
        "\n",
        "a",
        "A",
        "!",
        "'",
        "''s",
        "it's 's",
        "I'M'M",
        "a" * 300,
        "!" * 200,
        "1" * 100,
    ]
    texts += [
        "a photo of a cat",
        "It's 2024!!! don't",
        "hello   world\n\tfoo",
        "café naïve",
        "🎨 art",
    ]
    texts += ["x " * 74 + "x", "x " * 75 + "x", "x " * 76, "end." * 40, "don't " * 40]
    return [("fixed", text) for text in texts]


def make(count):
    """`count` pairs (kind, text), always the same."""
    rng = random.Random(20261122)
    words = english()
    kinds = {
        "words": (14, lambda: mixed(rng, words, words, low=1, high=14)),
        "common": (8, lambda: mixed(rng, WORDS, WORDS, low=3, high=20)),
        "punctuation": (10, lambda: mixed(rng, words, PUNCTUATION)),
        "punctuation glued": (8, lambda: glued(rng, words, PUNCTUATION)),
        "digits": (6, lambda: glued(rng, words, [str(rng.randint(0, 99999)), *NUMBERS[8:]])),
        "apostrophes": (7, lambda: suffixed(rng, words)),
        "accents": (6, lambda: mixed(rng, words, ACCENTED)),
        "upper case": (7, lambda: upper(rng, words)),
        "cased": (2, lambda: mixed(rng, words, CASED[:8])),
        "marks": (3, lambda: glued(rng, words, MARKS)),
        "scripts": (6, lambda: mixed(rng, words, SCRIPTS)),
        "hangul": (2, lambda: mixed(rng, words, HANGUL)),
        "kana": (2, lambda: mixed(rng, words, KANA)),
        "emoji": (5, lambda: mixed(rng, words, EMOJI)),
        "emoji glued": (2, lambda: glued(rng, words, EMOJI)),
        "spaces": (5, lambda: joined(rng, words, SPACES)),
        "numbers": (3, lambda: mixed(rng, words, NUMBERS)),
        "symbols": (4, lambda: glued(rng, words, SYMBOLS)),
        "syntax": (7, lambda: mixed(rng, words, SYNTAX, low=3)),
        "urls": (2, lambda: mixed(rng, words, URLS)),
        "nonsense": (5, lambda: nonsense(rng)),
        "ascii": (6, lambda: ascii_soup(rng)),
        "long": (4, lambda: mixed(rng, words, PUNCTUATION + SYNTAX, 0.3, 60, 110)),
        "cjk": (2, lambda: mixed(rng, words, CJK)),
        "lines": (1, lambda: joined(rng, words, LINES)),
        "invisible": (1, lambda: glued(rng, words, INVISIBLE)),
        "controls": (1, lambda: glued(rng, words, CONTROLS)),
        "quotes": (1, lambda: mixed(rng, words, QUOTES)),
        "tricky case": (1, lambda: mixed(rng, words, TRICKY_CASE + CASED[8:])),
        "entities": (1, lambda: mixed(rng, words, ENTITIES)),
        "special": (1, lambda: mixed(rng, words, SPECIAL)),
    }
    found = fixed()
    total = sum(share for share, _ in kinds.values())
    for kind, (share, one) in kinds.items():
        found += [(kind, one()) for _ in range(round((count - len(fixed())) * share / total))]
    return found
