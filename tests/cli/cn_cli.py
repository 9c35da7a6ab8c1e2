"""Helpers of the command line tests: running the program, small models, PNG files.

The current directory is the top of the build tree, $srcdir that of the sources. CN_CLI_WRAP, when
set, goes before the command line (a memory checker).
"""
import os
import shlex
import shutil
import struct
import subprocess
import tempfile
import unittest
import zlib

SOURCES = os.path.abspath(os.environ.get("srcdir", "."))
DATA = os.path.join(SOURCES, "tests/data")
MODELS = os.path.join(DATA, "models")
EDGES = os.path.join(DATA, "golden/images/tiny/edges-40x48.png")
BLOCKS = os.path.join(DATA, "golden/images/tiny/blocks-40x48.png")
PROGRAM = shlex.split(os.environ.get("CN_CLI_WRAP", "")) + [os.path.abspath("controlnet")]
ENVIRONMENT = dict(os.environ, OMP_WAIT_POLICY="passive",
                   CONTROLNETD_DATADIR=os.path.join(SOURCES, "data"))
ENVIRONMENT.pop("CONTROLNETD_MODELS", None)

# Two steps of the tiny model; one thread, because the tests run beside each other.
QUICK = ["-m", "tiny", "--models", MODELS, "-p", "a red apple", "-W", "40", "-H", "48",
         "-s", "2", "--threads", "1"]


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="cn-cli-")

    def tearDown(self):
        shutil.rmtree(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def run_cli(self, *args, status=0, env=None, **more):
        """The finished process; its exit status must be as given."""
        p = subprocess.run(PROGRAM + list(args), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           env=dict(ENVIRONMENT, **(env or {})), cwd=self.dir, timeout=120, **more)
        p.text, p.message = p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")
        self.assertEqual(p.returncode, status, "%s\n%s%s" % (args, p.text, p.message))
        return p

    def fails(self, *args, says, status=2):
        """The command must fail, with a message that holds every one of `says`."""
        p = self.run_cli(*args, status=status)
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, p.message)
        self.assertEqual(p.text, "")
        return p

    def draw(self, name, *args):
        """The bytes of a picture of the quick job."""
        self.run_cli("generate", *QUICK, "-q", "-o", self.path(name), *args)
        return read(self.path(name))


def read(path):
    with open(path, "rb") as f:
        return f.read()


def chunks(png):
    """[(type, data)] of a PNG file; checksums are checked."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, found = 8, []
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at:at + 8])
        data = png[at + 8:at + 8 + length]
        crc, = struct.unpack(">I", png[at + 8 + length:at + 12 + length])
        assert crc == zlib.crc32(kind + data)
        found.append((kind, data))
        at += 12 + length
    return found


def texts(png):
    """{key: text} of tEXt chunks, and of iTXt chunks that are not compressed."""
    found = {}
    for kind, data in chunks(png):
        if kind == b"tEXt":
            key, text = data.split(b"\0", 1)
            found[key.decode()] = text.decode("latin-1")
        if kind == b"iTXt":
            key, rest = data.split(b"\0", 1)
            found[key.decode()] = rest[2:].split(b"\0", 2)[2].decode()
    return found


def size(png):
    return struct.unpack(">II", chunks(png)[0][1][:8])


main = unittest.main
