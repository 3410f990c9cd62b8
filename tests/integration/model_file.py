# SPDX-License-Identifier: Apache-2.0
"""Model files as Python sees them: tensors by name as (dtype, shape, bytes), and metadata. Written against the format's
description, sharing no code with the daemon."""
import json
import struct

SIZES = {"F32": 4, "F16": 2, "F64": 8, "I64": 8, "I32": 4, "U8": 1}


class Model:
    def __init__(self, data):
        size = struct.unpack_from("<Q", data)[0]
        header = json.loads(data[8:8 + size])
        self.metadata = header.pop("__metadata__")
        self.tensors = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            self.tensors[name] = (entry["dtype"], entry["shape"], data[8 + size + begin:8 + size + end])

    def file(self):
        header, at, parts = {"__metadata__": self.metadata}, 0, []
        for name in sorted(self.tensors, key=lambda n: (-SIZES[self.tensors[n][0]], n)):
            dtype, shape, data = self.tensors[name]
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
            parts.append(data)
            at += len(data)
        text = json.dumps(header, sort_keys=True).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text + b"".join(parts)

    # ---- numbers

    def get(self, name):
        dtype, _, data = self.tensors[name]
        assert dtype == "F32", (name, dtype)
        return list(struct.unpack("<%df" % (len(data) // 4), data))

    def set(self, name, values, shape=None):
        _, old, _ = self.tensors[name]
        self.tensors[name] = ("F32", shape or old, struct.pack("<%df" % len(values), *values))
        return self

    def scale(self, name, factor):
        return self.set(name, [factor * value for value in self.get(name)])

    # ---- what it is made of

    def architecture(self):
        return json.loads(self.metadata["architecture"])

    def set_architecture(self, architecture):
        self.metadata["architecture"] = json.dumps(architecture, sort_keys=True)
        return self

    def set_training(self, training):
        self.metadata["training"] = json.dumps(training, sort_keys=True)
        return self

    def set_items(self, names):
        """The items that it was trained on; for a model without ID rows."""
        data, ends = b"", []
        for name in names:
            data += name.encode() + b"\0"
            ends.append(len(data))
        self.tensors["items.names"] = ("U8", [len(data)], data)
        self.tensors["items.ends"] = ("I64", [len(ends)], struct.pack("<%dq" % len(ends), *ends))
        self.tensors["items.count"] = ("F32", [len(ends)], struct.pack("<%df" % len(ends), *[1.0] * len(ends)))
        return self

    def set_dimension(self, modality, dimension):
        """Read vectors of another size: numbers are cut off or repeated."""
        architecture = self.architecture()
        for view in architecture["views"]:
            if view["modality"] != modality:
                continue
            mean, rotation = "view.%s.mean" % view["name"], "view.%s.rotation" % view["name"]
            columns, view["components"] = view["components"], min(view["components"], dimension)
            assert view["components"] == columns, "more components than numbers"
            rows = [self.get(rotation)[i * columns:(i + 1) * columns] for i in range(view["dimension"])]
            values, old = self.get(mean), view["dimension"]
            self.set(mean, [values[i % old] for i in range(dimension)], [dimension])
            self.set(rotation, [x for i in range(dimension) for x in rows[i % old]], [dimension, columns])
            view["dimension"] = dimension
        return self.set_architecture(architecture)

    def set_encoder(self, modality, encoder):
        architecture = self.architecture()
        for view in architecture["views"]:
            if view["modality"] == modality:
                view["encoder"] = encoder
        return self.set_architecture(architecture)
