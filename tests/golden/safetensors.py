# SPDX-License-Identifier: Apache-2.0
"""Model files, read and written with NumPy alone (Debian 12 has no package of safetensors).

    8 bytes     length of the header, little-endian
    header      JSON: tensor -> {dtype, shape, data_offsets: [begin, end]}; "__metadata__" -> strings
    data        the tensors' bytes; offsets count from here

The format: github.com/huggingface/safetensors, "Format". The file of PyTorch's `safetensors` package is the same."""
import json

import numpy as np

METADATA = "__metadata__"
DTYPES = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "I64": np.int64, "I32": np.int32, "U8": np.uint8}
LABELS = {np.dtype(dtype): label for label, dtype in DTYPES.items()}


def parse(content):
    """(tensors by name, metadata) of a file's bytes. For files of our own: hostile ones are the C reader's business."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + length])
    metadata = header.pop(METADATA, {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        data = content[8 + length + begin:8 + length + end]
        tensors[name] = np.frombuffer(data, DTYPES[entry["dtype"]]).reshape(entry["shape"]).copy()
    return tensors, metadata


def serialise(tensors, metadata):
    """A file's bytes. Large elements come first, so that every tensor is aligned; then by name, as the C writer does."""
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header, at = {METADATA: metadata}, 0
    for name in order:
        tensor = tensors[name]
        header[name] = {"dtype": LABELS[tensor.dtype], "shape": list(tensor.shape),
                        "data_offsets": [at, at + tensor.nbytes]}
        at += tensor.nbytes
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(tensors[name].tobytes() for name in order)


def load(path):
    with open(path, "rb") as file:
        return parse(file.read())


def save(path, tensors, metadata):
    with open(path, "wb") as file:
        file.write(serialise(tensors, metadata))
