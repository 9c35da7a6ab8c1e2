"""Reads the collections of drawings that the model learns from. Each reader
yields (key, picture): the key is the emoji as a string without U+FE0F (or the
file's name for clip art), the picture RGBA, 128x128, straight alpha, trimmed
and centred, so that every collection frames its things alike."""
import io
import json
import os
import re
import subprocess

import numpy as np
from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.ttLib import TTFont
from PIL import Image, ImageFilter

from names import clip_noun, clip_nouns, clip_title, fxemoji_key, letters, stamp_noun

SIZE, FILL = 128, 112       # pixels of the plane, of the longer side of the thing


def framed(im):
    """trims to what is not transparent, scales to FILL, centres on the plane"""
    im = im.convert("RGBA")
    box = im.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox()
    if not box:
        return None
    p = np.asarray(im.crop(box)).astype(np.float32)
    p[..., :3] *= p[..., 3:] / 255      # resample colour times alpha
    h, w = p.shape[:2]
    k = FILL / max(h, w)
    size = (max(1, round(w * k)), max(1, round(h * k)))
    p = np.stack([np.asarray(Image.fromarray(p[..., c]).resize(size, Image.LANCZOS))
                  for c in range(4)], -1)
    a = np.clip(p[..., 3:], 0, 255)
    rgb = np.where(a > 0, p[..., :3] * 255 / np.maximum(a, 1), 255)
    out = np.zeros((SIZE, SIZE, 4), np.uint8)
    y, x = (SIZE - size[1]) // 2, (SIZE - size[0]) // 2
    out[y:y + size[1], x:x + size[0]] = np.clip(np.rint(np.concatenate([rgb, a], -1)), 0, 255)
    return out


def render(svg, size=256):
    """SVG text -> PIL image; None when librsvg cannot read it"""
    r = subprocess.run(["rsvg-convert", "--keep-aspect-ratio", "-w", str(size), "-h", str(size)],
                       input=svg.encode(), capture_output=True, timeout=60)
    if r.returncode or not r.stdout:
        return None
    return Image.open(io.BytesIO(r.stdout))


def noto(folder):
    """png/128 of a checkout of noto-emoji"""
    for f in sorted(os.listdir(folder)):
        m = re.fullmatch(r"emoji_u([0-9a-f_]+)\.png", f)
        if m:
            key = "".join(chr(int(c, 16)) for c in m.group(1).split("_")).replace("\ufe0f", "")
            yield key, framed(Image.open(os.path.join(folder, f)))


def twemoji(path, wanted):
    """the COLR layers of the font that Firefox brings"""
    font = TTFont(path)
    glyphs, cmap = font.getGlyphSet(), font.getBestCmap()
    palette = font["CPAL"].palettes[0]
    up, down, wide = font["hhea"].ascent, -font["hhea"].descent, font["head"].unitsPerEm
    for key in sorted(wanted):
        name = cmap.get(ord(key)) if len(key) == 1 else None
        if name not in font["COLR"].ColorLayers:
            continue
        paths = []
        for layer in font["COLR"].ColorLayers[name]:
            pen = SVGPathPen(glyphs)
            glyphs[layer.name].draw(pen)
            c = palette[layer.colorID]
            paths.append('<path fill="rgb(%d,%d,%d)" fill-opacity="%.3f" d="%s"/>'
                         % (c.red, c.green, c.blue, c.alpha / 255, pen.getCommands()))
        im = render('<svg xmlns="http://www.w3.org/2000/svg" viewBox="%d %d %d %d">'
                    '<g transform="scale(1,-1)">%s</g></svg>'
                    % (-50, -up - 50, wide + 100, up + down + 100, "".join(paths)))
        if im:
            yield key, framed(im)


def fxemoji(folder, wanted):
    """svgs/FirefoxEmoji of a checkout of fxemoji: u<code points>-<name>.svg; files
    of single layers are left out"""
    for f in sorted(os.listdir(folder)):
        key = fxemoji_key(f)
        if key in wanted:
            im = render(open(os.path.join(folder, f), encoding="utf-8").read())
            if im:
                yield key, framed(im)


def iconify(path, names):
    """a collection in Iconify's JSON; names: {letters of a name: emoji}"""
    icons = json.load(open(path))
    for name, icon in sorted(icons["icons"].items()):
        key = names.get(letters(name))
        if key is None:
            continue
        w = icon.get("width", icons.get("width", 16))
        h = icon.get("height", icons.get("height", 16))
        im = render('<svg xmlns="http://www.w3.org/2000/svg" '
                    'xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="%g %g %g %g">%s</svg>'
                    % (icon.get("left", 0), icon.get("top", 0), w, h, icon["body"]))
        if im:
            yield key, framed(im)


# Clip art: what a picture must measure to be taken
COVERAGE = (0.15, 0.85)     # share of the plane that is not white
COLOURS = 40                # 5-bit colours that make up 90 % of the thing
EDGES = 0.14                # share of pixels where the brightness jumps by 40 of 255
INK = 0.6                   # at most this share of the thing black or white
SOLID = 0.4                 # at least this share of the thing is left 2 pixels inside its edge


def measures(p):
    """coverage, colours, edges, ink, solidity of a framed picture"""
    a = p[..., 3:].astype(np.float32) / 255
    x = p[..., :3] * a + 255 * (1 - a)
    thing = x.min(-1) < 240
    c = (x.astype(np.int32) >> 3) @ np.array([1, 32, 1024])
    n = np.sort(np.bincount(c[thing]))[::-1] if thing.any() else np.array([1])
    colours = int(np.searchsorted(np.cumsum(n), 0.9 * n.sum())) + 1
    y = x.mean(-1)
    edges = np.maximum(np.abs(np.diff(y, axis=0))[:, :-1], np.abs(np.diff(y, axis=1))[:-1]) > 40
    solid = a[..., 0] > 0.5
    ink = (x.max(-1) < 60) | (x.min(-1) > 235)
    inside = np.asarray(Image.fromarray(thing).convert("L").filter(ImageFilter.MinFilter(5))) > 0
    return thing.mean(), colours, edges.mean(), (ink & solid).sum() / max(1, solid.sum()), \
        inside.sum() / max(1, thing.sum())


def openclipart(folder, nouns):
    """yields (file, noun, keywords, picture) of the drawings whose title is one
    of the nouns and which measure as recognisable"""
    table, seen = clip_nouns(nouns), set()
    for at, dirs, files in sorted(os.walk(folder)):
        dirs.sort()
        if re.search(r"/(flags|map_symbols|gradients|patterns|jigsaw|flowchart)\b", at):
            continue
        for f in sorted(files):
            if not f.endswith(".svg") or f in seen:
                continue
            seen.add(f)
            path = os.path.join(at, f)
            if os.path.getsize(path) > 600000:
                continue
            title, words, free = clip_title(path)
            noun = clip_noun(f, title, table)
            if noun is None or not free:
                continue
            p = recognisable(path)
            if p is not None:
                yield f, noun, words, p


def recognisable(path):
    """the framed picture of a drawing, or None when it does not measure as one of
    a single simple thing"""
    try:
        im = render(open(path, encoding="utf-8", errors="replace").read())
    except subprocess.TimeoutExpired:
        return None
    p = framed(im) if im else None
    if p is None:
        return None
    cover, colours, edges, ink, solid = measures(p)
    h, w = np.ptp(np.nonzero(p[..., 3] > 8), axis=1)
    good = COVERAGE[0] <= cover <= COVERAGE[1] and colours <= COLOURS and edges <= EDGES \
        and ink <= INK and solid >= SOLID and max(h, w) < 2.5 * min(h, w)
    return p if good else None


def tuxpaint(folder, nouns):
    """yields (file, noun, keywords, picture) of the stamps whose own metadata gives
    them to the public domain: the collection as a whole is under the GPL"""
    table = clip_nouns(nouns)
    for at, dirs, files in sorted(os.walk(folder)):
        dirs.sort()
        for f in sorted(files):
            path = os.path.join(at, f)
            about = path[:-4] + ".txt"
            if not f.endswith(".svg") or not os.path.exists(about) or not clip_title(path)[2]:
                continue
            noun = stamp_noun(open(about, encoding="utf-8", errors="replace").readline(), table)
            p = recognisable(path) if noun else None
            if p is not None:
                yield f, noun, [], p
