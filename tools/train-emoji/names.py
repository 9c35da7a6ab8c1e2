"""What a drawing is of, by the names that it comes with; whether it may be used;
what is held out. Text alone: the pictures are read in sources.py."""
import hashlib
import re
import xml.etree.ElementTree as ET

from things import SHOWN

HELDOUT_NOTO, HELDOUT_OTHERS = 5, 10      # per cent
UNSEEN_PERCENT = 20
LEADING = {"a", "an", "another", "the", "simple", "cartoon", "one", "single", "little", "small",
           "big", "old", "cute", "happy", "funny", "red", "green", "blue", "yellow", "orange",
           "pink", "purple", "brown", "black", "white", "grey", "gray", "coloured", "colored",
           "glossy", "icon", "clip", "art", "clipart", "drawing", "vector", "basic", "plain",
           "toy", "generic", "some", "pair", "of"}


def share(text):
    """a number from 0 to 99 out of a text, the same everywhere and always"""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) % 100


def held(source, name):
    """Noto by name alone, as in the first model, so that its test pictures
    stay unseen (there "couple with heart: woman, man" went with "couple with
    heart"); the other collections by collection and name"""
    if source == "noto":
        return min(share(name), share(name.split(":")[0])) < HELDOUT_NOTO
    return share(source + "/" + name) < HELDOUT_OTHERS


def unseen(noun, colour):
    """these combinations of a shown thing and a colour are never painted"""
    return noun in SHOWN and share("%s %s" % (colour, noun)) < UNSEEN_PERCENT


def first_drawings(rows, noun, order, prefer, each):
    """of rows, (index, row of data.json), the indices of at most each drawings of
    noun, from the collections of order. Those of whose names the noun is the first
    go before those that it is a second name of, then those of the collection
    prefer (None: of none); then the collections take turns, so that a few
    drawings are of several styles"""
    taken, keys = {}, []
    for i, m in rows:
        s = m["source"]
        if noun in m["nouns"] and s in order:
            second = m["nouns"][0] != noun
            taken[s, second] = taken.get((s, second), 0) + 1
            keys.append((second, prefer is not None and s != prefer, taken[s, second],
                         order.index(s), i))
    return [k[-1] for k in sorted(keys)[:each]]


def letters(text):
    return re.sub(r"[^a-z]", "", text.lower())


def fxemoji_key(name):
    """u1F34E-redapple.svg -> the emoji; None for layers and what is no emoji"""
    m = re.fullmatch(r"u([0-9A-F]{4,5}(?:-u?[0-9A-F]{4,5})*)-[A-Za-z0-9]+\.svg", name)
    if not m:
        return None
    points = [int(c.lstrip("u"), 16) for c in m.group(1).split("-")]
    return "".join(chr(c) for c in points if c != 0xfe0f)


def clip_title(path):
    """(title, keywords, free) of an SVG file's metadata. Free: its licence, and
    every one that it names, is the public domain"""
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError:
        return "", [], False
    title, words, licences = "", [], []
    for e in root.iter():
        tag = e.tag.split("}")[-1] if isinstance(e.tag, str) else ""
        if tag == "title" and not title:
            title = (e.text or "").strip()
        elif tag == "li" and e.text:
            words.append(e.text.strip().lower())
        elif tag == "license" and e.attrib:
            licences.append(" ".join(e.attrib.values()).lower())
    return title, words, bool(licences) and all("publicdomain" in x for x in licences)


def clip_nouns(nouns):
    """{normalised title: noun}, with plurals"""
    out = {}
    for noun, also in nouns:
        for n in (noun, *also):
            for form in (n, n + "s", n + "es"):
                out.setdefault(form, noun)
    return out


def clip_noun(name, title, table):
    """the noun that a drawing's title, or the file's name before the author's,
    consists of; None when it says more or something else"""
    for text in (title, re.sub(r"\.svg$", "", name)):
        words = [w for w in re.split(r"[^a-z]+", text.lower()) if len(w) > 1 or w == "a"]
        # a colour that is a fruit too may be the thing itself
        while words and words[0] in LEADING and " ".join(words) not in table:
            words = words[1:]
        for n in (3, 2, 1):
            if words[:n] and " ".join(words[:n]) in table and \
                    (len(words) <= n or text is not title and len(words) >= n + 2):
                return table[" ".join(words[:n])]
    return None


def stamp_noun(text, table):
    """the noun of a stamp's first sentence ("A red apple."), or None"""
    return clip_noun("", re.split(r"[.!?]", text.strip(), maxsplit=1)[0], table)
