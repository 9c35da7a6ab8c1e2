"""A tokenizer.json and the ids that the library `tokenizers` gives by it: tiny's vocabulary, with added tokens of every
kind."""

import json
import random

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
PATTERN = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
ADDED = [
    AddedToken(BOS, special=True),
    AddedToken(EOS, special=True),
    AddedToken("<Raw>", normalized=False),
    AddedToken("<Seen> ", normalized=True),
    AddedToken("toy", single_word=True, normalized=True),
    AddedToken("<left>", lstrip=True, normalized=False),
    AddedToken("<right>", rstrip=True, normalized=True),
    AddedToken("<left>er", normalized=False),
]
WORDS = """a cat it's don't we'll they're I'm you've he'd 1girl 2024 café ÉCOLE ΟΔΟΣ ΣΑΣ İstanbul ſ'S 漢字 猫 かな 안녕
e\u0301 a\u030a \u200b \u00ad \ufeff \u2028 \u3000 \u00a0 \u0085 \x1c \x07 ½ Ⅷ x² “quoted” … --- !!! ''' \\ (x) <|EndOfText|> <|startoftext|>
<Raw> <raw> <seen> <SEEN> toy TOY toys atoy <left> <LEFT> <left>er <right> <RIGHT> <lef 👩‍👩‍👧‍👦""".split()


def build(model):
    vocab = json.loads((model / "tokenizer" / "vocab.json").read_text())
    merges = (model / "tokenizer" / "merges.txt").read_text().splitlines()[1:]
    pairs = [tuple(line.split(" ")) for line in merges if line]
    bpe = models.BPE(vocab, pairs, unk_token=EOS, end_of_word_suffix="</w>")
    t = Tokenizer(bpe)
    t.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    split = pre_tokenizers.Split(Regex(PATTERN), behavior="removed", invert=True)
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    t.add_tokens(ADDED)
    ends = dict(sep=(EOS, t.token_to_id(EOS)), cls=(BOS, t.token_to_id(BOS)))
    t.post_processor = processors.RobertaProcessing(**ends, trim_offsets=False)
    return t


def prompts(n):
    rng = random.Random(1)
    gaps = ["", " ", " ", "  ", "\t", "\n ", ","]
    for _ in range(n):
        count = rng.randrange(1, 9)
        yield "".join(rng.choice(WORDS) + rng.choice(gaps) for _ in range(count))


# Characters that the library's three versions of Unicode know and older ones do not, or the other way round.
NEWER = """\ua7cb \ua7da \ua7dc \u1c89 \u1c8a \U00010d50 \U00010d45 \U0001e030 \U00016ea0 \U00031350 \U0001e4f3 \u0898 \u1ac5 \u09fe
\u1df6 \U00011935\U00011930 \U00011938 \U00011943 a\u0301\u1df9\u0323 \u0323\u0898 a \u00c9 \u2c2f \U0001e130""".split()


def newer_prompts(n):
    rng = random.Random(2)
    for _ in range(n):
        yield "".join(rng.choice(NEWER) + rng.choice(["", "", " "]) for _ in range(rng.randrange(1, 9)))


def make(out):
    t = build(out / "models" / "tiny")
    folder = out / "tokenizer-json"
    folder.mkdir(exist_ok=True)
    t.save(str(folder / "tokenizer.json"), pretty=False)
    config = dict(bos_token=BOS, eos_token=EOS, unk_token=EOS, pad_token=EOS, model_max_length=int(1e30))
    (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n")
    rows = [dict(text=p, ids=t.encode(p).ids) for p in [*prompts(300), *newer_prompts(60)]]
    lines = ",\n".join(json.dumps(row) for row in rows)
    (out / "golden" / "tokenizer-json.json").write_text(f"[\n{lines}\n]\n")
