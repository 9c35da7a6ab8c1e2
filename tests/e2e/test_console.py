"""The console as it is served: alone, under a policy that lets nothing else run, whole. What it does
in a browser is tests/console/run's."""
import base64
import hashlib
import html.parser
import os
import re
import shutil
import subprocess
import tempfile

from cn_e2e import Case, Daemon, main

MAX_BYTES = 256 << 10  # a page that a phone on a slow line still gets in a few seconds
CONTRACT = os.path.join(os.environ.get("srcdir", "."), "openapi.yaml")


class Page(html.parser.HTMLParser):
    """Elements of the page; .text of a <script> or <style>."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text = [], {}
        self.inside = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag if tag in ("script", "style") else None
        if self.inside:
            self.text.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.text[self.inside][-1] += data

    def values(self, name):
        return [a[name] for _, a in self.elements if a.get(name) is not None]


class Console(Case):
    @classmethod
    def setUpClass(cls):
        cls.d = Daemon()
        cls.answer = cls.d.get("/")
        cls.body = cls.answer.body.decode()
        cls.page = Page(cls.body)
        cls.script, = cls.page.text["script"]
        cls.style, = cls.page.text["style"]

    @classmethod
    def tearDownClass(cls):
        cls.d.__exit__(None, None, None)

    def test_headers(self):
        r = self.answer
        self.assertEqual((r.status, r.getheader("Content-Type")), (200, "text/html; charset=utf-8"))
        self.assertEqual(r.getheader("Cache-Control"), "no-cache")
        self.assertEqual(r.getheader("X-Content-Type-Options"), "nosniff")
        self.assertEqual(r.getheader("Referrer-Policy"), "no-referrer")
        self.assertLess(len(r.body), MAX_BYTES)

    def test_policy_is_of_this_page(self):
        policy = dict(p.strip().split(" ", 1)
                      for p in self.answer.getheader("Content-Security-Policy").split(";"))
        for kind, text in (("script-src", self.script), ("style-src", self.style)):
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            self.assertEqual(policy[kind], "'sha256-%s'" % digest)
        self.assertEqual(policy["default-src"], "'none'")
        self.assertEqual(policy["connect-src"], "'self'")
        self.assertEqual(policy["img-src"], "blob: data:")
        for none in ("frame-ancestors", "base-uri", "form-action"):
            self.assertEqual(policy[none], "'none'")

    def test_nothing_from_elsewhere(self):
        rest = self.body.replace("http://www.w3.org/2000/svg", "")
        self.assertNotRegex(rest, r"https?://")
        self.assertNotRegex(self.style, r"@import|url\(")
        self.assertEqual(self.page.values("src"), [])
        for href in self.page.values("href"):
            self.assertRegex(href, r"^(#|data:image/svg|openapi\.yaml$)")

    def test_nothing_that_the_policy_forbids(self):
        """Attributes with code or style would do nothing, and strings never become either."""
        for tag, attributes in self.page.elements:
            self.assertEqual([a for a in attributes if a.startswith("on") or a == "style"], [], tag)
        self.assertNotRegex(self.script, r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|"
                                         r"\beval\(|new Function|setTimeout\(\"|localStorage")

    def test_all_names_are_there(self):
        ids = self.page.values("id")
        self.assertEqual(sorted(ids), sorted(set(ids)))
        for name in set(re.findall(r'\$\("([A-Za-z_-]+)"\)', self.script)):
            self.assertIn(name, ids)
        parts = self.page.values("data-part")
        for name in set(re.findall(r'\bpart\("([A-Za-z_]+)"\)', self.script)):
            self.assertIn(name, parts)
        for name in ("aria-labelledby", "for", "list"):
            for value in self.page.values(name):
                self.assertIn(value, ids)

    def test_every_field_has_a_name(self):
        """An input stands in a label, or says what it is."""
        depth, labelled = 0, []
        for token in re.findall(r"<(/?label|input|select|textarea)\b([^>]*)>", self.body):
            if token[0] == "label":
                depth += 1
            elif token[0] == "/label":
                depth -= 1
            elif depth == 0 and "aria-label" not in token[1]:
                labelled.append(token)
        self.assertEqual(labelled, [])

    def test_fields_are_those_of_the_contract(self):
        with open(CONTRACT) as f:
            text = f.read()
        block = text[text.index("\n    ImagesRequest:"):]
        names = re.findall(r"^        (\w+):", block[:block.index("\n    Hires:")], re.M)
        for pointer in set(self.page.values("data-field")):
            self.assertIn(pointer.split("/")[1], names)
        guidance, = [a for _, a in self.page.elements if a.get("id") == "guidance_scale"]
        self.assertNotIn("value", guidance)  # the model's own, unless one is asked for

    def test_syntax(self):
        if shutil.which("node") is None:
            self.skipTest("no node")
        with tempfile.NamedTemporaryFile("w", suffix=".js") as f:
            f.write(self.script)
            f.flush()
            p = subprocess.run(["node", "--check", f.name], capture_output=True, text=True)
        self.assertEqual(p.returncode, 0, p.stderr)


if __name__ == "__main__":
    main()
