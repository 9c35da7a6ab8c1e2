#!/usr/bin/env python3
"""The system calls that a unit allows, one a line: its SystemCallFilter=, sets written out.

    unit_calls.py UNIT
"""
import subprocess
import sys


def members(name):
    """Of "@set", with the sets in it."""
    text = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter", name], check=True,
                          capture_output=True, text=True).stdout
    found = set()
    for line in text.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            found |= members(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def main():
    allowed = members("@default")
    with open(sys.argv[1]) as f:
        for line in f:
            key, _, value = line.strip().partition("=")
            if key != "SystemCallFilter":
                continue
            named = set()
            for word in value.lstrip("~").split():
                named |= members(word) if word.startswith("@") else {word}
            allowed = allowed - named if value.startswith("~") else allowed | named
    print("\n".join(sorted(allowed)))


main()
