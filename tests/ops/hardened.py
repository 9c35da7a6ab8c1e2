#!/usr/bin/env python3
"""The release build's programs are hardened as docs and packagers say: position-independent,
relocations read-only and bound at the start, no stack or segment both written and executed, and
calls of the checked libc and the stack protector in them. 77 for other builds.

    hardened.py PROGRAM...
"""
import re
import subprocess
import sys


def readelf(*args):
    return subprocess.run(["readelf", "-W", *args], check=True, capture_output=True,
                          text=True).stdout


def faults(program):
    head, dynamic = readelf("-h", program), readelf("-d", program)
    segments, symbols = readelf("-l", program), readelf("--dyn-syms", program)
    for what, good in (
            ("is not position-independent", re.search(r"Type:\s+DYN", head)),
            ("binds lazily", re.search(r"\(FLAGS\).*BIND_NOW|\(FLAGS_1\).*NOW", dynamic)),
            ("has writable relocations", "GNU_RELRO" in segments),
            ("has an executable stack", re.search(r"GNU_STACK.* RW ", segments)),
            ("has a segment that is written and executed",
             not re.search(r"^\s+LOAD.* RWE ", segments, re.M)),
            ("has no stack protector", "__stack_chk_fail" in symbols),
            ("calls no checked function of libc", re.search(r" __\w+_chk\b", symbols)),
            ("has a search path for libraries", "(RPATH)" not in dynamic and
             "(RUNPATH)" not in dynamic)):
        if not good:
            yield "%s %s" % (program, what)


def main():
    with open("Makefile") as f:
        flags = re.search(r"^CN_OPT = (.*)", f.read(), re.M).group(1)
    if "-D_FORTIFY_SOURCE" not in flags:
        print("not a release build without sanitizers")
        return 77
    bad = [f for p in sys.argv[1:] for f in faults(p)]
    print("\n".join(bad) or "%d programs are hardened" % len(sys.argv[1:]))
    return 1 if bad else 0


sys.exit(main())
