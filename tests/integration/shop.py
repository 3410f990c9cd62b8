# SPDX-License-Identifier: Apache-2.0
"""A made-up shop with two tastes, the same every time: even items and users like one, odd ones the other."""
import random
import struct

from daemon import until

DAY_MS = 86400000
TEXT, IMAGE = 8, 6  # dimensions


def item_name(i):
    return "i%04d" % i


def vector(seed, taste, size):
    """Near +1 or -1 in the first half of the dimensions, after `taste`; noise in the rest."""
    noise = random.Random(seed)
    sign = 1 if taste == 0 else -1
    return [sign * (d < size // 2) + noise.gauss(0, 0.3) for d in range(size)]


def put_items(client, count, first=0):
    client.call("item.put", items=[{"item": item_name(i), "title": "Item %d" % i, "price": 10 + i % 7}
                                   for i in range(first, first + count)])


def put_features(client, count, modality="text", size=TEXT, tastes=lambda i: i % 2):
    return client.call("feature.put", modality=modality, create=True,
                       rows=[{"item": item_name(i), "values": vector("%s %d" % (modality, i), tastes(i), size)}
                             for i in range(count)])


def put_events(client, user, items, behaviour="view", ts=None, **more):
    """`items` by number or name, oldest first."""
    rows = [{"user": user, "item": i if isinstance(i, str) else item_name(i), "behaviour": behaviour,
             **({} if ts is None else {"ts": ts + k})} for k, i in enumerate(items)]
    return client.call("event.add", events=rows, cascade_create=True, **more)


def wait_for_model(client):
    """Until the model has learnt what the vectors look like, which takes 256 items."""
    def read():
        features = client.call("status")["features"]
        return features and all(f["in_model"] for f in features)
    until(read, "a model that reads every modality")


def names(reply):
    return [item["item"] for item in reply["items"]]


# ---- files for recsysctl import

def write_inter(path, rows, header="user_id:token\titem_id:token\ttimestamp:float"):
    with open(path, "w", encoding="utf-8") as out:
        out.write(header + "\n" if header else "")
        for row in rows:
            out.write("\t".join(str(cell) for cell in row) + "\n")


def write_items(path, count):
    write_inter(path, [(item_name(i), "Item %d" % i) for i in range(count)], "item_id:token\ttitle:token_seq")


def write_npy(path, rows, columns, descr="'<f4'", fortran="False", cut=0, seed=1):
    noise = random.Random(seed)
    header = "{'descr': %s, 'fortran_order': %s, 'shape': (%d, %d), }" % (descr, fortran, rows, columns)
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    values = [noise.gauss(0, 1) for _ in range(rows * columns)]
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    data += struct.pack("<%df" % len(values), *values)
    with open(path, "wb") as out:
        out.write(data[:len(data) - cut])
