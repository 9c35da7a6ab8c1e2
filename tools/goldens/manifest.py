"""MANIFEST: checksum, size, generating command and library versions of every golden."""

import hashlib
import platform
from importlib.metadata import version

LIBRARIES = ["torch", "diffusers", "transformers", "tokenizers", "safetensors", "numpy", "pillow"]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files(out):
    return sorted(
        p
        for part in ("models", "odd-models", "golden")
        for p in (out / part).rglob("*")
        if p.is_file() and p.name != "MANIFEST"
    )


def make(out):
    lines = [
        "# sha256 bytes path, of what `tools/goldens/make OUT_DIR` wrote",
        "# python " + platform.python_version(),
        *(f"# {name} {version(name)}" for name in LIBRARIES),
    ]
    for path in files(out):
        lines.append(f"{digest(path)} {path.stat().st_size} {path.relative_to(out).as_posix()}")
    (out / "golden" / "MANIFEST").write_text("\n".join(lines) + "\n")
