"""Captions out of nouns, CLDR names and keywords, with the colour words that
colours.py measured on the picture or that it was painted in."""
import re

COLOURS = ["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink",
           "brown", "black", "white", "gray"]
COLOUR_RE = re.compile(r"\b(red|orange|yellow|green|cyan|blue|light blue|purple|pink|"
                       r"brown|black|white|gray|grey)\b")


def clean(name):
    name = name.lower().replace("’", "'").replace("“", "").replace("”", "")
    return name.replace(":", ",").replace("⊛", "").strip()


def article(text):
    return ("an " if text[0] in "aeiou" else "a ") + text


def caption(meta, cols, recoloured, background, rng):
    """One caption. meta: a row of data.json; cols: result of dominant();
    recoloured: then colours in name and keywords are wrong and are left out."""
    words = [w for w in map(clean, meta["words"]) if len(w) < 24]
    if recoloured:
        words = [w for w in words if not COLOUR_RE.search(w)]
    if meta["nouns"]:
        nouns = meta["nouns"]
        text = nouns[0] if len(nouns) == 1 or rng.rand() < 0.6 else str(rng.choice(nouns[1:]))
    else:
        text = clean(meta["name"])
        if recoloured:
            text = re.sub(r"\s+", " ", COLOUR_RE.sub("", text)).strip(" ,-") or "thing"
        if words and rng.rand() < 0.15:
            text = str(rng.choice(words))
    main = cols[0][0] if cols else None
    single = bool(cols) and cols[0][1] > 0.4
    want = 0.9 if recoloured else 0.5 if single else 0.2
    # a noun may be a colour too: an orange that was painted is "a blue orange"
    named = COLOUR_RE.search(text) and not (recoloured and text in meta["nouns"])
    coloured = bool(main) and not named and rng.rand() < (1 if text in COLOURS else want)
    if coloured:
        two = not single and len(cols) > 1 and cols[1][1] > 0.15
        text = ("%s and %s %s" % (main, cols[1][0], text)) if two else main + " " + text
    r = rng.rand()
    if r < 0.5:
        text = article(text)
    elif r < 0.58:
        text = "a drawing of " + article(text)
    elif r < 0.64:
        text = "a picture of " + article(text)
    if rng.rand() < 0.12:
        text += ", " + meta["style"]
    if words and rng.rand() < 0.15:
        k = rng.permutation(len(words))[:rng.randint(1, 4)]
        text += ", " + ", ".join(words[i] for i in k)
    if not coloured and not recoloured and rng.rand() < 0.1:
        shares = [c for c, s in cols[:3] if s > 0.12]
        if shares:
            text += ", " + ", ".join(shares)
    if background:
        text += rng.choice([", %s background", " on a %s background", " on %s"]) % background
    elif rng.rand() < 0.06:
        text += rng.choice([", white background", " on a white background"])
    return text


def short(noun, colour, natural, style, rng):
    """A caption of a few words, for gallery.py: the noun and its colour (None: no
    single one). natural: the picture has its own colour and may be asked for
    without it."""
    bare = colour is None or (natural and rng.rand() < 0.4)
    text = noun if bare else colour + " " + noun
    if rng.rand() < 0.7:
        text = article(text)
    return text + (", " + style if rng.rand() < 0.15 else "")
