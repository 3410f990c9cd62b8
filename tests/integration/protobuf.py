# SPDX-License-Identifier: Apache-2.0
"""Messages of proto/recsys.proto as bytes and back. Written against the protobuf specification and the text of the
schema, sharing no code with the daemon, so that a mistake on one side does not cancel out on the other."""
import os
import re
import struct

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VARINTS = ("int32", "int64", "uint32", "uint64", "bool")
FIXED = {"fixed64": "<Q", "double": "<d", "float": "<f"}


class Field:
    def __init__(self, repeated, kind, name, number, optional):
        self.repeated, self.kind, self.name, self.number, self.optional = repeated, kind, name, number, optional


def read_schema(path):
    """{message: {field name: Field}}"""
    text = re.sub(r"//[^\n]*", "", open(path, encoding="utf-8").read())
    messages = {}
    for part in re.split(r"^message\b", text, flags=re.M)[1:]:
        name, body = re.match(r"\s*(\w+)\s*\{(.*)", part, re.S).groups()
        fields = messages[name] = {}
        depth = 0  # inside a oneof: absent is not the same as zero
        token = r"(oneof)\s+\w+\s*\{|(\})|(repeated\s+)?(\w+)\s+(\w+)\s*=\s*(\d+)\s*(?:\[[^]]*\])?;"
        for one_of, close, repeated, kind, field, number in re.findall(token, body):
            depth += 1 if one_of else -1 if close else 0
            if field:
                fields[field] = Field(bool(repeated), kind, field, int(number), depth > 0)
    return messages


SCHEMA = read_schema(os.path.join(ROOT, "proto", "recsys.proto"))


# ---- writing

def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def prefixed(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def encode_one(field, value):
    if field.kind in VARINTS:
        return varint(field.number << 3) + varint(int(value))
    if field.kind in FIXED:
        wire_type = 5 if field.kind == "float" else 1
        return varint(field.number << 3 | wire_type) + struct.pack(FIXED[field.kind], value)
    if field.kind in ("string", "bytes"):
        return prefixed(field.number, value.encode() if isinstance(value, str) else value)
    return prefixed(field.number, encode(field.kind, value))


def encode(message, values):
    """`values` by field name; a string may be given as bytes, valid UTF-8 or not."""
    out = b""
    for name, value in values.items():
        field = SCHEMA[message][name]
        if field.repeated and field.kind == "float":
            out += prefixed(field.number, struct.pack("<%df" % len(value), *value))
        else:
            for one in value if field.repeated else [value]:
                out += encode_one(field, one)
    return out


# ---- reading

def take_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def default(field):
    if field.repeated:
        return []
    return {"string": "", "bytes": b"", "bool": False, "double": 0.0, "float": 0.0}.get(field.kind, 0)


def decode_one(field, wire_type, data, at):
    if wire_type == 0:
        value, at = take_varint(data, at)
        if field.kind == "bool":
            return value != 0, at
        return (value - (1 << 64) if field.kind.startswith("int") and value >> 63 else value), at
    if wire_type in (1, 5):
        form = FIXED[field.kind]
        return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    size, at = take_varint(data, at)
    part = data[at:at + size]
    assert len(part) == size, "truncated"
    if field.kind == "string":
        return part.decode(), at + size
    return (part if field.kind == "bytes" else decode(field.kind, part)), at + size


def decode(message, data):
    """The values by field name, with proto3's defaults; optional and message fields only where they were set."""
    fields = SCHEMA[message]
    values = {f.name: default(f) for f in fields.values() if f.repeated or not (f.optional or f.kind in SCHEMA)}
    numbers = {f.number: f for f in fields.values()}
    at = 0
    while at < len(data):
        key, at = take_varint(data, at)
        field = numbers[key >> 3]
        value, at = decode_one(field, key & 7, data, at)
        if field.repeated:
            values[field.name].append(value)
        else:
            values[field.name] = value
    return values
