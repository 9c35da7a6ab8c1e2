"""Captions out of CLDR names and keywords, with colour words measured on the
picture."""
import re

import numpy as np

COLOURS = ["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink",
           "brown", "black", "white", "gray"]
COLOUR_RE = re.compile(r"\b(red|orange|yellow|green|cyan|blue|light blue|purple|pink|"
                       r"brown|black|white|gray|grey)\b")

def colour_index(rgb):
    """uint8 or float 0..255 [...,3] -> index into COLOURS"""
    x = np.asarray(rgb, np.float32) / 255
    mx, mn = x.max(-1), x.min(-1)
    d = mx - mn
    r, g, b = x[..., 0], x[..., 1], x[..., 2]
    dd = np.maximum(d, 1e-6)
    h = np.where(mx == r, ((g - b) / dd) % 6,
                 np.where(mx == g, (b - r) / dd + 2, (r - g) / dd + 4)) * 60
    s = d / np.maximum(mx, 1e-6)
    out = np.select([h < 14, h < 42, h < 66, h < 165, h < 196, h < 255, h < 298, h < 342],
                    [0, 1, 2, 3, 4, 5, 6, 7], 0)
    warm = (h < 42) | (h > 345)
    out = np.where(warm & (mx < 0.66) & (s > 0.25) & ~((h < 10) & (s > 0.75)) &
                   ~((h > 345) & (s > 0.7)), 8, out)
    out = np.where(((h < 14) | (h > 330)) & (s < 0.6) & (mx > 0.8), 7, out)
    grey = (s < 0.14) | (mx < 0.16)
    out = np.where(grey, np.where(mx < 0.3, 9, np.where(mx > 0.86, 10, 11)), out)
    return out


def dominant(rgb, alpha):
    """[(colour, share)] over the opaque pixels, largest first"""
    m = alpha > 128
    if m.sum() < 30:
        return []
    c = np.bincount(colour_index(rgb[m]), minlength=len(COLOURS)) / m.sum()
    order = np.argsort(-c)
    return [(COLOURS[i], float(c[i])) for i in order if c[i] > 0]


def clean(name):
    name = name.lower().replace("’", "'").replace("“", "").replace("”", "")
    return name.replace(":", ",").replace("⊛", "").strip()


def article(text):
    return ("an " if text[0] in "aeiou" else "a ") + text


def caption(meta, cols, recoloured, background, rng):
    """One caption. meta: a row of data.json; cols: result of dominant();
    recoloured: then colours in name and keywords are wrong and are left out."""
    words = [w for w in map(clean, meta["words"]) if len(w) < 24]
    if meta["nouns"]:
        nouns = meta["nouns"]
        text = nouns[0] if len(nouns) == 1 or rng.rand() < 0.6 else str(rng.choice(nouns[1:]))
    else:
        text = clean(meta["name"])
        if recoloured:
            text = re.sub(r"\s+", " ", COLOUR_RE.sub("", text)).strip(" ,-") or "thing"
        if words and rng.rand() < 0.15:
            text = str(rng.choice(words))
    if recoloured:
        words = [w for w in words if not COLOUR_RE.search(w)]
    main = cols[0][0] if cols else None
    single = bool(cols) and cols[0][1] > 0.4
    want = 0.9 if recoloured else 0.5 if single else 0.2
    coloured = bool(main) and not COLOUR_RE.search(text) and rng.rand() < want
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
