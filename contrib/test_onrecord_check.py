#!/usr/bin/env python3
"""Runs the checker over the test vectors of the format: `python3 test_onrecord_check.py VECTORS`.

Prints how many checks agreed, and fails with every one that did not.
"""

import json
import pathlib
import struct
import sys
import uuid

import onrecord_check as check
from onrecord_check import Refused

checked, wrong = 0, []


def expect(what, holds):
    global checked
    checked += 1
    if not holds:
        wrong.append(what)


def expect_refused(what, run):
    try:
        run()
    except Refused:
        expect(what, True)
    else:
        expect(f"{what}: it was accepted", False)


def value_of(vector):
    """A value from its form in the vectors: `null`, a boolean, or an object with the kind of value for its key."""
    if vector is None or isinstance(vector, bool):
        return vector
    (kind, content), = vector.items()
    return {
        "int": lambda: int(content),
        "float": lambda: struct.unpack(">d", bytes.fromhex(content))[0],
        "text": lambda: content,
        "bytes": lambda: bytes.fromhex(content),
        "array": lambda: [value_of(item) for item in content],
        "map": lambda: {name: value_of(item) for name, item in content},
    }[kind]()


def cbor(vectors):
    for vector in vectors["valid"]:
        data = bytes.fromhex(vector["cbor"])
        expect(f"encoding {vector}", check.encode(value_of(vector["value"])) == data)
        expect(f"decoding {vector}", check.encode(check.decode(data)) == data)
    for vector in vectors["refused"]:
        expect_refused(f"CBOR: {vector['why']}", lambda: check.decode(bytes.fromhex(vector["cbor"])))


def commitments(vectors):
    for vector in vectors["commitments"]:
        code, salt = vector["code"], bytes.fromhex(vector["salt"])
        expect(f"salt {vector}", check.salt_of(bytes.fromhex(vector["secret"]), code) == salt)
        made = check.commitment(uuid.UUID(vector["id"]).bytes, code, salt, bytes.fromhex(vector["contents"]))
        expect(f"commitment {vector}", made.hex() == vector["commitment"])


def records(vectors):
    for vector in vectors["records"]:
        leaf = check.Leaf(bytes.fromhex(vector["leaf"]))
        expect(f"leaf hash of {vector['what']}", leaf.hash().hex() == vector["leaf_hash"])
        expect(f"times of {vector['what']}",
               (leaf.captured_at, leaf.committed_at) == (vector["captured_at"], vector["committed_at"]))
        expect(f"kind of {vector['what']}", check.KINDS[leaf.kind] == vector["kind"])


def leaves(vectors):
    for vector in vectors["refused"]:
        expect_refused(f"leaf: {vector['why']}", lambda: check.Leaf(bytes.fromhex(vector["leaf"])))


def tree(vectors):
    roots = {vector["size"]: vector["root"] for vector in vectors["roots"]}

    def root_of(hashes):
        if not hashes:
            return check.sha256(b"")
        level = list(hashes)
        while len(level) > 1:
            pairs = [check.node(*level[at:at + 2]) for at in range(0, len(level) - 1, 2)]
            level = pairs + (level[-1:] if len(level) % 2 else [])
        return level[0]

    def leaf(index):
        return check.sha256(b"\0", index.to_bytes(8, "big"))

    for size, root in roots.items():
        expect(f"root of {size}", root_of([leaf(index) for index in range(size)]).hex() == root)
    for vector in vectors["inclusion"]:
        proof = [bytes.fromhex(item) for item in vector["proof"]]
        root = root_of([leaf(index) for index in range(vector["size"])])
        index, size, leaf_hash = vector["index"], vector["size"], bytes.fromhex(vector["leaf_hash"])
        expect(f"inclusion {vector}", check.check_inclusion(index, size, leaf_hash, proof, root) is None)
        expect_refused("a longer proof", lambda: check.check_inclusion(index, size, leaf_hash, proof + [root], root))
        expect_refused("another root", lambda: check.check_inclusion(index, size, leaf_hash, proof, bytes(32)))
    for vector in vectors["consistency"]:
        proof = [bytes.fromhex(item) for item in vector["proof"]]
        sizes = vector["old"], vector["new"]
        both = bytes.fromhex(vector["old_root"]), bytes.fromhex(vector["new_root"])
        expect(f"consistency {vector}", check.check_consistency(*sizes, *both, proof) is None)
        expect_refused("a longer proof", lambda: check.check_consistency(*sizes, *both, proof + [bytes(32)]))


def notes(vectors):
    key = check.Keys(vectors["public_key"])
    for vector in vectors["valid"]:
        found = check.Checkpoint(vector["note"], key)
        expect(f"note {vector['what']}", (found.size, found.root.hex()) == (vectors["size"], vectors["root"]))
    for vector in vectors["refused"]:
        expect_refused(f"note: {vector['why']}", lambda: check.Checkpoint(vector["note"], key))


def bundles(vectors, folder):
    for vector in vectors["bundles"]:
        data = (folder / vector["file"]).read_bytes()

        def evidence_of():
            keys = check.Keys(vector.get("known_keys", vectors["public_key"]))
            witnesses = [check.Key(witness, kind=4) for witness in vector.get("witnesses", [])]
            return check.Evidence(data, keys, witnesses, vector.get("quorum", 0))

        if vector["verdict"] == "refused":
            expect_refused(vector["file"], evidence_of)
            continue
        evidence = evidence_of()
        expect(f"who has cosigned {vector['file']}",
               evidence.cosigned == [tuple(by) for by in vector.get("cosigned", [])])
        found = evidence.checkpoint.size, evidence.checkpoint.root.hex(), len(evidence.entries)
        expect(vector["file"], found == (vector["size"], vector["root"], len(vector["entries"])))
        for entry, want in zip(evidence.entries, vector["entries"]):
            leaf = entry.leaf
            expect(f"an entry of {vector['file']}",
                   (entry.index, str(uuid.UUID(bytes=leaf.id)), check.KINDS[leaf.kind], leaf.captured_at)
                   == (want["index"], want["id"], want["kind"], want["captured_at"]))
            shown = {name: value_of(group) for name, group in want["groups"].items() if group is not None}
            expect(f"what {vector['file']} shows", entry.shown == shown)
            names = sorted(check.GROUPS[code] for code in leaf.commitments)
            expect(f"the groups of {vector['file']}", names == sorted(want["groups"]))


def main():
    folder = pathlib.Path(sys.argv[1])

    def vectors(name):
        return json.loads((folder / name).read_text())

    cbor(vectors("cbor.json"))
    commitments(vectors("commitments.json"))
    records(vectors("records.json"))
    leaves(vectors("leaves.json"))
    tree(vectors("tree.json"))
    notes(vectors("notes.json"))
    bundles(vectors("evidence.json"), folder)
    print(f"{checked - len(wrong)} of {checked} checks agree")
    for what in wrong:
        print(f"WRONG  {what}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
