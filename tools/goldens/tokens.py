"""Token ids of the full CLIP vocabulary for about 1000 prompts.

`ids` is transformers' CLIPTokenizer (the slow one, which the pipelines load) without ftfy.
"differs" names the other implementations that give other ids: "fast" (CLIPTokenizerFast), "ftfy"
(the slow one with ftfy installed), "openai" (ftfy, HTML entities, as the original code cleans).
"""

import html
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import prompts
from common import save_rows
from models import read_merges, write_tokenizer
from transformers import CLIPTokenizer, CLIPTokenizerFast


def with_ftfy(path):
    """The slow tokenizer as it is built where ftfy can be imported."""
    sys.modules.pop("ftfy")
    try:
        return CLIPTokenizer.from_pretrained(path)
    finally:
        sys.modules["ftfy"] = None


def openai(cleaner):
    def ids(text):
        text = html.unescape(html.unescape(cleaner.fix_text(text))).strip()
        text = re.sub(r"\s+", " ", text).strip()
        return cut(cleaner.convert_tokens_to_ids(cleaner._tokenize(text)))

    return ids


def cut(ids):
    """At most 75 ids between the two specials, not padded."""
    return [49406, *ids[:75], 49407]


def hugging(tokenizer):
    return lambda text: tokenizer(text, truncation=True, max_length=77).input_ids


def make(out, bpe_gz):
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(folder, read_merges(bpe_gz))
        slow = CLIPTokenizer.from_pretrained(folder)
        cleaned = with_ftfy(folder)
        fast = CLIPTokenizerFast.from_pretrained(folder)
    others = dict(fast=hugging(fast), ftfy=hugging(cleaned), openai=openai(cleaned))
    reference = hugging(slow)
    rows = []
    for kind, text in prompts.make(1000):
        ids = reference(text)
        row = dict(kind=kind, text=text, ids=ids)
        differs = [name for name, other in others.items() if other(text) != ids]
        rows.append(row | (dict(differs=differs) if differs else {}))
    save_rows(Path(out) / "tokenizer.json", rows, about=about(rows))
    return rows


def about(rows):
    return (
        f"{len(rows)} prompts, ids with both specials, cut to 77, not padded; "
        f"{sum('differs' not in r for r in rows)} are the same in four implementations; "
        "see tools/goldens/README.md"
    )


def disagreements(rows):
    return Counter((row["kind"], *row["differs"]) for row in rows if "differs" in row)
