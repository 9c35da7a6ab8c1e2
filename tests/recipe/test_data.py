"""What the models' recipe does with names, licences and captions: by Python's own modules alone,
without pictures."""
import os
import random
import re
import sys
import tempfile
import unittest

SRC = os.environ.get("srcdir", ".")
sys.path.insert(0, os.path.join(SRC, "tools/train-emoji"))
import captions
import names
import tokenizer
from things import SHOWN, things

COLOURS = set(captions.COLOURS) | {"grey"}


class Rng:
    """as much of numpy's RandomState as captions use"""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def rand(self):
        return self.r.random()

    def choice(self, a):
        return self.r.choice(a)

    def permutation(self, n):
        return self.r.sample(range(n), n)

    def randint(self, a, b):
        return self.r.randrange(a, b)


def svg(folder, licences, title="Apple"):
    path = os.path.join(folder, "a.svg")
    with open(path, "w") as f:
        f.write('<svg xmlns="http://www.w3.org/2000/svg" xmlns:c="http://web.resource.org/cc/" '
                'xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><title>%s</title>'
                '<metadata>%s</metadata></svg>'
                % (title, "".join('<c:license r:resource="%s"/>' % x for x in licences)))
    return path


class Things(unittest.TestCase):
    def test_table(self):
        table = things()
        owner, nouns = {}, set()
        for noun, also, seqs in table:
            self.assertNotIn(noun, nouns)
            nouns.add(noun)
            for text in (noun, *also):
                self.assertRegex(text, r"^[a-z][a-z -]*[a-z]$")
            self.assertTrue(seqs, noun)
            for s in seqs:
                self.assertNotIn(s, owner, "%r is of %s too" % (s, noun))
                owner[s] = noun
                self.assertNotIn("\ufe0f", s)
                self.assertNotIn("|", s)
        self.assertEqual(len(SHOWN), 24)
        self.assertLessEqual(set(SHOWN), nouns)


class HeldOut(unittest.TestCase):
    def test_what_the_first_model_never_saw(self):
        with open(os.path.join(SRC, "models/emoji/heldout.txt"), encoding="utf-8") as f:
            rows = [l.rstrip("\n").split("\t")[1] for l in f if not l.startswith("#")]
        with open(os.path.join(SRC, "tests/data/heldout/captions.tsv"), encoding="utf-8") as f:
            pictures = [l.rstrip("\n").split("\t")[1] for l in f]
        self.assertGreater(len(rows), 100)
        self.assertEqual(len(pictures), 24)
        for name in rows:
            self.assertTrue(names.held("noto", name), name)
        self.assertLessEqual(set(pictures), {captions.clean(name) for name in rows})

    def test_share(self):
        for source, share in (("noto", 0.05), ("openclipart", 0.10), ("tuxpaint", 0.10)):
            n = sum(names.held(source, "name %d" % k) for k in range(4000)) / 4000
            self.assertAlmostEqual(n, share, delta=0.015)
        self.assertNotEqual([names.held("fluent", str(k)) for k in range(200)],
                            [names.held("twemoji", str(k)) for k in range(200)])

    def test_unseen_combinations(self):
        pairs = [(t, c) for t in SHOWN for c in captions.COLOURS if names.unseen(t, c)]
        self.assertTrue(30 < len(pairs) < 80, len(pairs))
        self.assertGreater(len({t for t, _ in pairs}), 15)
        self.assertFalse(any(names.unseen("anvil", c) for c in captions.COLOURS))


class Drawings(unittest.TestCase):
    rows = [(k, dict(source=s, nouns=n)) for k, (s, n) in enumerate([
        ("noto", ["cat face", "cat"]), ("noto", ["cat"]), ("noto", ["cat"]), ("noto", ["dog"]),
        ("twemoji", ["cat"]), ("openclipart", ["cat"]), ("fxemoji", ["cat"])])]
    order = ["noto", "twemoji", "fxemoji"]

    def first(self, each, prefer=None):
        return names.first_drawings(self.rows, "cat", self.order, prefer, each)

    def test_collections_take_turns(self):
        self.assertEqual(self.first(1), [1])
        self.assertEqual(self.first(3), [1, 4, 6])
        self.assertEqual(self.first(9), [1, 4, 6, 2, 0])

    def test_one_may_be_preferred(self):
        self.assertEqual(self.first(1, "twemoji"), [4])
        self.assertEqual(self.first(3, "twemoji"), [4, 1, 6])
        self.assertEqual(names.first_drawings(self.rows, "heart", self.order, "noto", 3), [])


class Names(unittest.TestCase):
    table = names.clip_nouns([t[:2] for t in things()])

    def noun(self, name, title):
        return names.clip_noun(name, title, self.table)

    def test_titles(self):
        for title, want in (("Apple", "apple"), ("a red apple", "apple"), ("Apples", "apple"),
                            ("apple pie chart", None), ("Orange", "orange"),
                            ("orange cat", "cat"), ("an orange", "orange"),
                            ("simple cartoon house", "house"), ("", None), ("red", None),
                            ("Black Hat", "hat"), ("house on fire", None)):
            self.assertEqual(self.noun("", title), want, title)
        # a file's name ends with its author's, of two words or more
        self.assertEqual(self.noun("apple_john_doe_01.svg", ""), "apple")
        self.assertEqual(self.noun("apple_pie.svg", ""), None)

    def test_stamps(self):
        for text, want in (("A red apple.", "apple"), ("Some cherries.", "cherries"),
                           ("A balloon!", "balloon"), ("A pair of sunglasses.", "sunglasses"),
                           ("A telephone.  Hello? Hello?", "telephone"),
                           ("A lemon slice.", None), ("", None)):
            self.assertEqual(names.stamp_noun(text, self.table), want, text)

    def test_code_points(self):
        for name, want in (("u1F34E-redapple.svg", "\U0001F34E"), ("u2600-sun.svg", "\u2600"),
                           ("u1F4C7.layer1.svg", None), ("chineseflag.svg", None),
                           ("u1F1E9-u1F1EA-german.svg", "\U0001F1E9\U0001F1EA"),
                           ("u2764-uFE0F-heart.svg", "\u2764")):
            self.assertEqual(names.fxemoji_key(name), want, name)

    def test_licences(self):
        cc = "http://creativecommons.org/"
        free = ["http://web.resource.org/cc/PublicDomain", cc + "licenses/publicdomain/",
                cc + "publicdomain/zero/1.0/"]
        with tempfile.TemporaryDirectory() as d:
            for lic in free:
                self.assertEqual(names.clip_title(svg(d, [lic])), ("Apple", [], True), lic)
            for bad in ([], [cc + "licenses/by/3.0/"], [cc + "licenses/GPL/2.0/"],
                        [free[0], cc + "licenses/by-sa/4.0/"]):
                self.assertFalse(names.clip_title(svg(d, bad))[2], bad)
            path = svg(d, free)
            with open(path, "a") as f:
                f.write("<")
            self.assertEqual(names.clip_title(path), ("", [], False))


class Captions(unittest.TestCase):
    def metas(self):
        for noun, also, _ in things():
            yield dict(nouns=[noun, *also], name=noun, style="emoji",
                       words=["red", "thing", "blue thing"])
        yield dict(nouns=[], name="red heart", style="emoji", words=["red", "love"])
        yield dict(nouns=[], name="blue: square", style="emoji", words=[])

    def test_painted(self):
        """what was painted is called by no other colour, and mostly by its own"""
        rng, own, all_ = Rng(1), 0, 0
        for meta in self.metas():
            for new in captions.COLOURS:
                text = captions.caption(meta, [(new, 1.0)], True, "", rng)
                body = re.sub(r",? (on a )?white background", "", text)
                # the noun itself may be a colour: after the colour it is the noun
                for noun in meta["nouns"]:
                    body = re.sub(r"\b%s\b(?=,|$)" % noun, "", body)
                found = COLOURS & set(re.findall(r"[a-z]+", body))
                self.assertLessEqual(found, {new}, text)
                own += new in found
                all_ += 1
        self.assertGreater(own / all_, 0.85)

    def test_an_orange_has_a_colour(self):
        meta = dict(nouns=["orange"], name="tangerine", style="emoji", words=[])
        texts = {captions.caption(meta, [("blue", 1.0)], True, "", Rng(k)) for k in range(50)}
        for text in texts:
            self.assertIn("blue orange", text)

    def test_background(self):
        meta = dict(nouns=["apple"], name="apple", style="emoji", words=[])
        for k in range(50):
            text = captions.caption(meta, [("red", 1.0)], False, "green", Rng(k))
            self.assertIn("green", text)
            self.assertNotIn("white", text)

    def test_long_and_short(self):
        meta = dict(nouns=["apple"], name="apple", style="emoji", words=["fruit", "tree"])
        texts = [captions.caption(meta, [("red", 1.0)], False, "", Rng(k)) for k in range(400)]
        for part in ("apple", "an apple", "a red apple", "a drawing of an apple"):
            self.assertIn(part, texts)
        self.assertTrue(any("fruit" in t for t in texts))
        self.assertTrue(any(t.endswith("emoji") for t in texts))


    def test_a_few_words(self):
        """a painted picture is always called by its colour, its own may go unsaid"""
        painted = {captions.short("apple", "blue", False, "emoji", Rng(k)) for k in range(100)}
        self.assertEqual(painted, {"blue apple", "a blue apple", "blue apple, emoji",
                                   "a blue apple, emoji"})
        own = {captions.short("apple", "red", True, "emoji", Rng(k)) for k in range(200)}
        self.assertLessEqual({"apple", "an apple", "red apple", "a red apple"}, own)
        none = {captions.short("apple", None, False, "emoji", Rng(k)) for k in range(100)}
        self.assertLessEqual(none, {"apple", "an apple", "apple, emoji", "an apple, emoji"})


class Tokens(unittest.TestCase):
    def test_every_noun_is_one_entry(self):
        words = {w for t in things() for n in (t[0], *t[1]) for w in tokenizer.PATTERN.findall(n)}
        counts = dict.fromkeys(sorted(words), 60)
        counts.update(dict.fromkeys(captions.COLOURS, 200))
        vocab, merges = tokenizer.train(counts, 2000)
        self.assertEqual(len(vocab), len(set(vocab)))
        self.assertEqual(len(vocab), 512 + len(merges) + 2)
        self.assertEqual(vocab[-2:], ["<|startoftext|>", "<|endoftext|>"])
        for w in words:
            if w.isalpha():
                self.assertIn(w + "</w>", vocab)


if __name__ == "__main__":
    unittest.main()
