"""Writes files as torch.save() does, from safetensors, without PyTorch."""
import json
import struct
import zipfile

STORAGES = {"F32": "Float", "F16": "Half", "BF16": "BFloat16", "F64": "Double", "I64": "Long",
            "I32": "Int", "U8": "Byte"}
SIZES = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I64": 8, "I32": 4, "U8": 1}


def read_safetensors(path):
    """[(name, type, shape, bytes)]"""
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + n])
    header.pop("__metadata__", None)
    body = data[8 + n:]
    return [(name, t["dtype"], t["shape"], body[t["data_offsets"][0]:t["data_offsets"][1]])
            for name, t in header.items()]


def text(s):
    s = s.encode()
    return b"X" + struct.pack("<I", len(s)) + s


def number(n):
    return b"J" + struct.pack("<i", n)


def shape(dims):
    return b"(" + b"".join(number(d) for d in dims) + b"t"


def storage(key, dtype, count):
    return (b"(" + text("storage") + b"ctorch\n" + STORAGES[dtype].encode() + b"Storage\n" +
            text(key) + text("cpu") + number(count) + b"tQ")


def tensor(key, dtype, dims, data):
    strides, step = [], 1
    for d in reversed(dims):
        strides.insert(0, step)
        step *= d
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(key, dtype, len(data) // SIZES[dtype]) +
            number(0) + shape(dims) + shape(strides) + b"\x89ccollections\nOrderedDict\n)RtR")


def pickle_of(tensors, notes):
    """{"state_dict": {name: tensor}, **notes}"""
    p = b"\x80\x02}(" + b"".join(text(k) + number(v) for k, v in notes.items())
    p += text("state_dict") + b"ccollections\nOrderedDict\n)R("
    for i, (name, dtype, dims, data) in enumerate(tensors):
        p += text(name) + tensor(str(i), dtype, dims, data)
    return p + b"uu."


def write(tensors, path, **notes):
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("archive/data.pkl", pickle_of(tensors, notes))
        for i, (_, _, _, data) in enumerate(tensors):
            z.writestr("archive/data/%d" % i, data)
        z.writestr("archive/version", "3\n")


def convert(source, path, **notes):
    write(read_safetensors(source), path, **notes)
