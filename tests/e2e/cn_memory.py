"""What fails in a program that bad_memory.so was loaded into: see bad_memory.c."""
import mmap
import struct


class Plan:
    def __init__(self, path):
        with open(path, "wb") as f:
            f.write(bytes(4096))
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 4096)

    def fail(self, at, length=1):
        """Allocation number `at` from now on, counted from 1, and as many in all; at 0: only counts."""
        self.map[:24] = struct.pack("<3q", 0, 0, length)
        self.map[8:16] = struct.pack("<q", at)

    def count(self):
        return struct.unpack("<q", self.map[:8])[0]

    def rest(self):
        self.map[8:16] = bytes(8)
