#!/usr/bin/env python3
"""Checks evidence of an onrecord log: a second implementation of FORMAT.md, sections 2 to 8.

It shares nothing with the program that wrote the evidence, and needs nothing but Python 3.9 or later and its standard
library. Every function names the section that it follows; whatever is not allowed there raises `Refused`.

    python3 onrecord_check.py evidence.json --key 'example.org/log+5e2cef00+AepK…'

Exit code 0 if the evidence holds, 1 if it does not, 2 if it could not be read.
"""

import argparse
import base64
import datetime
import hashlib
import hmac
import json
import re
import struct
import subprocess
import sys
import tempfile
import uuid

GROUPS = {1: "who", 2: "context", 3: "config", 4: "input", 5: "output", 6: "decisions", 7: "performance", 8: "outcome"}
KINDS = {1: "interaction", 2: "step", 3: "config", 4: "feedback", 5: "alert", 6: "access", 7: "disposal", 8: "gap",
         9: "heartbeat", 10: "system"}
RELATIONS = {1: "config", 2: "parent", 3: "attempt", 4: "subject", 5: "supersedes", 6: "source"}
CODES = {name: code for code, name in GROUPS.items()}
VERSION, DEPTH_MAX, LEAF_MAX, REFS_MAX = 1, 32, 4096, 64


class Refused(Exception):
    """The evidence does not hold, and why."""


def need(condition, why):
    if not condition:
        raise Refused(why)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# Section 1: Base64.

def unbase64(text, what):
    need(isinstance(text, str) and re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", text), f"{what} is not Base64")
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Refused(f"{what} is not Base64: {error}") from None
    need(base64.b64encode(data).decode() == text, f"{what} is not the one Base64 form of its bytes")
    return data


# Section 2: values. What is decoded is encoded again; other encodings of a value do not come back as they were.

class Reader:
    """Reads CBOR from bytes."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        need(self.at + count <= len(self.data), "the CBOR ends early")
        self.at += count
        return self.data[self.at - count:self.at]

    def head(self):
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if info < 24:
            return major, info, info
        need(info <= 27, f"the CBOR has an item of additional information {info}")
        return major, info, int.from_bytes(self.take(1 << (info - 24)), "big")

    def text(self, length):
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise Refused("a text in the CBOR is not UTF-8") from None

    def value(self, depth=0):
        need(depth <= DEPTH_MAX, "the CBOR is nested too deeply")
        major, info, number = self.head()
        if major == 0:
            need(number < 1 << 63, "an integer in the CBOR is too large")
            return number
        if major == 1:
            need(number < 1 << 63, "an integer in the CBOR is too small")
            return -1 - number
        if major == 2:
            return self.take(number)
        if major == 3:
            return self.text(number)
        if major == 4:
            return [self.value(depth + 1) for _ in self.count(number)]
        if major == 5:
            return self.map(number, depth)
        need(major == 7, "the CBOR has a tag")
        return self.simple(info, number)

    def count(self, number):
        # Every item takes a byte at least, so that a length alone cannot keep us busy.
        need(number <= len(self.data) - self.at, "the CBOR ends early")
        return range(number)

    def map(self, number, depth):
        result = {}
        for _ in self.count(number):
            name = self.value(depth + 1)
            need(isinstance(name, str), "a name in a map is not text")
            need(name not in result, f"the name {name!r} occurs twice")
            result[name] = self.value(depth + 1)
        return result

    @staticmethod
    def simple(info, number):
        if info in (20, 21):
            return info == 21
        if info == 22:
            return None
        need(info in (25, 26, 27), "the CBOR has a simple value that is not allowed")
        width = {25: "e", 26: "f", 27: "d"}[info]
        return struct.unpack(">" + width, number.to_bytes(struct.calcsize(width), "big"))[0]

    def end(self):
        need(self.at == len(self.data), "there are bytes behind the CBOR")


def encode_head(major, number):
    if number < 24:
        return bytes([major << 5 | number])
    info = next(info for info in (24, 25, 26, 27) if number < 1 << (8 << (info - 24)))
    return bytes([major << 5 | info]) + number.to_bytes(1 << (info - 24), "big")


def encode_float(value):
    if value != value:
        return b"\xf9\x7e\x00"
    for first, width in ((b"\xf9", ">e"), (b"\xfa", ">f")):
        try:
            data = struct.pack(width, value)
        except OverflowError:
            continue
        if struct.unpack(width, data)[0] == value:
            return first + data
    return b"\xfb" + struct.pack(">d", value)


def encode(value):
    """The one encoding of a value."""
    if value is None or isinstance(value, bool):
        return b"\xf6" if value is None else b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return encode_head(0, value) if value >= 0 else encode_head(1, -1 - value)
    if isinstance(value, float):
        return encode_float(value)
    if isinstance(value, bytes):
        return encode_head(2, len(value)) + value
    if isinstance(value, str):
        data = value.encode()
        return encode_head(3, len(data)) + data
    if isinstance(value, list):
        return encode_head(4, len(value)) + b"".join(map(encode, value))
    entries = sorted(((name.encode(), item) for name, item in value.items()), key=lambda e: (len(e[0]), e[0]))
    return encode_head(5, len(entries)) + b"".join(encode(name.decode()) + encode(item) for name, item in entries)


def decode(data):
    """A value from its one encoding."""
    reader = Reader(data)
    value = reader.value()
    reader.end()
    need(encode(value) == data, "the CBOR is not in its canonical form")
    return value


def decode_map(data):
    """The contents of a group."""
    value = decode(data)
    need(isinstance(value, dict), "the contents of a group are not a map")
    return value


# Section 3: salts and commitments.

def salt_of(secret, group):
    return hmac.digest(secret, b"onrecord/v1/salt\0" + bytes([group]), "sha256")


def commitment(record_id, group, salt, contents):
    return sha256(b"onrecord/v1/group\0", record_id, bytes([group]), salt, contents)


# Sections 4 and 5: the leaf. Its maps have integers for keys, which no value has, so it is read entry by entry.

class Leaf:
    """What the tree holds of a record."""

    def __init__(self, data):
        need(len(data) <= LEAF_MAX, "the leaf is too large")
        self.data = data
        reader = Reader(data)
        self.entries(reader, 7)
        self.key(reader, 0)
        version = self.unsigned(reader)
        need(version == VERSION, f"the leaf is of version {version}")
        self.key(reader, 1)
        self.id = self.bytes(reader, 16)
        self.key(reader, 2)
        self.kind = self.known(reader, KINDS, "kind")
        self.key(reader, 3)
        self.captured_at = self.integer(reader)
        self.key(reader, 4)
        self.committed_at = self.integer(reader)
        self.key(reader, 5)
        self.refs = self.references(reader)
        self.key(reader, 6)
        self.commitments = self.read_commitments(reader)
        reader.end()
        need(self.encoded() == data, "the leaf is not in its canonical form")

    @staticmethod
    def entries(reader, count):
        major, _, number = reader.head()
        need((major, number) == (5, count), f"the leaf is no map of {count} entries")

    @staticmethod
    def unsigned(reader):
        major, _, number = reader.head()
        need(major == 0, "an unsigned integer belongs into the leaf here")
        return number

    @staticmethod
    def integer(reader):
        major, _, number = reader.head()
        need(major in (0, 1) and number < 1 << 63, "an integer belongs into the leaf here")
        return number if major == 0 else -1 - number

    @staticmethod
    def bytes(reader, length):
        major, _, number = reader.head()
        need((major, number) == (2, length), f"{length} bytes belong into the leaf here")
        return reader.take(length)

    @classmethod
    def key(cls, reader, key):
        need(cls.unsigned(reader) == key, f"entry {key} of the leaf is missing")

    @classmethod
    def known(cls, reader, codes, what):
        code = cls.unsigned(reader)
        need(code in codes, f"there is no {what} {code}")
        return code

    @classmethod
    def references(cls, reader):
        major, _, number = reader.head()
        need(major == 4 and number <= REFS_MAX, "the references of the leaf are no list, or too long a one")
        refs = []
        for _ in range(number):
            major, _, parts = reader.head()
            need((major, parts) == (4, 2), "a reference is no pair")
            refs.append((cls.known(reader, RELATIONS, "relation"), cls.bytes(reader, 16)))
        return refs

    @classmethod
    def read_commitments(cls, reader):
        major, _, number = reader.head()
        need(major == 5 and number <= len(GROUPS), "the commitments of the leaf are no map, or too large a one")
        commitments = {}
        for _ in range(number):
            group = cls.known(reader, GROUPS, "group")
            need(group > max(commitments, default=0), "the groups of the leaf are not in order")
            commitments[group] = cls.bytes(reader, 32)
        return commitments

    def encoded(self):
        refs = [encode_head(4, 2) + encode(relation) + encode(other) for relation, other in self.refs]
        groups = [encode(group) + encode(value) for group, value in self.commitments.items()]
        parts = [encode(VERSION), encode(self.id), encode(self.kind), encode(self.captured_at),
                 encode(self.committed_at), encode_head(4, len(refs)) + b"".join(refs),
                 encode_head(5, len(groups)) + b"".join(groups)]
        return encode_head(5, 7) + b"".join(encode(key) + part for key, part in enumerate(parts))

    def hash(self):
        return sha256(b"\0", self.data)


# Section 6: the tree.

def node(left, right):
    return sha256(b"\1", left, right)


def check_inclusion(index, size, leaf_hash, proof, root):
    need(index < size, f"leaf {index} is not in a tree of {size} leaves")
    fn, sn, r = index, size - 1, leaf_hash
    for p in proof:
        need(sn != 0, "the inclusion proof is too long")
        if fn % 2 == 1 or fn == sn:
            r = node(p, r)
            while fn % 2 == 0 and fn != 0:
                fn, sn = fn // 2, sn // 2
        else:
            r = node(r, p)
        fn, sn = fn // 2, sn // 2
    need(sn == 0 and r == root, "the inclusion proof does not lead to the root of the checkpoint")


def check_consistency(old, new, old_root, new_root, proof):
    need(old <= new, "the tree has shrunk")
    if old == new or old == 0:
        need(not proof, "the consistency proof is too long")
        need(old != new or old_root == new_root, "trees of one size have two roots")
        return
    fn, sn = old - 1, new - 1
    while fn % 2 == 1:
        fn, sn = fn // 2, sn // 2
    proof = list(proof)
    need(fn == 0 or proof, "the consistency proof is too short")
    fr = sr = old_root if fn == 0 else proof.pop(0)
    for c in proof:
        need(sn != 0, "the consistency proof is too long")
        if fn % 2 == 1 or fn == sn:
            fr, sr = node(c, fr), node(c, sr)
            while fn % 2 == 0 and fn != 0:
                fn, sn = fn // 2, sn // 2
        else:
            sr = node(sr, c)
        fn, sn = fn // 2, sn // 2
    need(sn == 0 and fr == old_root and sr == new_root, "the consistency proof does not lead to both roots")


# Section 7: Ed25519 (RFC 8032), keys, notes, checkpoints. Points are (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(scalar, point):
    result = NEUTRAL
    for bit in bin(scalar)[2:]:
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def same(p, q):
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


def recover_x(y, sign):
    """The x of that sign on the curve (RFC 8032 §5.1.3), or None."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    return P - x if x % 2 != sign else x


def decompress(data):
    number = int.from_bytes(data, "little")
    y, sign = number & ((1 << 255) - 1), number >> 255
    x = recover_x(y, sign) if y < P else None
    return None if x is None else (x, y, 1, x * y % P)


BASE_Y = 4 * pow(5, -1, P) % P
BASE = (recover_x(BASE_Y, 0), BASE_Y, 1, recover_x(BASE_Y, 0) * BASE_Y % P)


def is_small(point):
    return same(multiply(8, point), NEUTRAL)


def verifies(public, message, signature):
    """Strict verification: cofactorless, and without points of small order."""
    a, r, s = decompress(public), decompress(signature[:32]), int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or a is None or r is None or s >= ORDER or is_small(a) or is_small(r):
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    return same(multiply(s, BASE), add(r, multiply(k, a)))


def is_name(name):
    # What Unicode calls white space. Python's `isspace` has the separators U+001C to U+001F too, which are below U+0020.
    return bool(name) and not any(c < " " or c == "+" or c.isspace() for c in name)


class Key:
    """The public key of a log, or with the type 4 that of a witness."""

    def __init__(self, text, kind=1):
        parts = text.strip().split("+", 2)
        need(len(parts) == 3, "a public key has the form name+hash+key")
        self.text = text.strip()
        self.name, hash_hex, data = parts
        need(is_name(self.name), "the name of the key is not allowed")
        need(re.fullmatch("[0-9a-f]{8}", hash_hex), "the hash of the key is not 8 hexadecimal digits")
        data = unbase64(data, "the key")
        need(len(data) == 33 and data[0] == kind, f"the key is no Ed25519 key of type {kind}")
        self.public = data[1:]
        self.hash = sha256(self.name.encode(), bytes([10, kind]), self.public)[:4]
        need(self.hash.hex() == hash_hex, "the hash of the key does not match its name and bytes")

    def lines_of(self, note):
        """The signatures of the note that say that they are by this key."""
        return [signature for name, hash_, signature in note.lines if (name, hash_) == (self.name, self.hash)]

    def signed(self, note):
        ours = self.lines_of(note)
        return bool(ours) and all(verifies(self.public, note.text.encode(), signature) for signature in ours)


class Note:
    """A text with signature lines, which are not checked yet."""

    def __init__(self, note):
        need(not any(c < " " and c != "\n" for c in note), "the note has control characters")
        need("\n\n" in note, "the note has no signatures")
        self.text, signatures = note[:note.rindex("\n\n") + 1], note[note.rindex("\n\n") + 2:]
        need(self.text not in ("", "\n"), "the note has no text")
        need(signatures.endswith("\n"), "the note has no signatures")
        self.lines = [self.line(line.split(" ")) for line in signatures[:-1].split("\n")]

    @staticmethod
    def line(parts):
        need(len(parts) == 3 and parts[0] == "\u2014" and is_name(parts[1]), "a signature line is malformed")
        data = unbase64(parts[2], "a signature")
        need(len(data) > 4, "a signature is too short")
        return parts[1], data[:4], data[4:]


class Rotation:
    """The statement that one key of a log gave way to another."""

    def __init__(self, text):
        need(isinstance(text, str), "a key rotation is no text")
        note = Note(text)
        lines = note.text.split("\n")
        need(len(lines) == 5 and lines[0] == "onrecord/v1/key-rotation", "a key rotation does not have its four lines")
        self.old, self.new = Key(lines[1]), Key(lines[2])
        need((self.old.text, self.new.text) == (lines[1], lines[2]), "a key in a rotation has white space around it")
        need(re.fullmatch("size (0|[1-9][0-9]*)", lines[3], re.ASCII), "a key rotation has no size")
        self.size = int(lines[3][5:])
        need(self.size < 1 << 64, "the size of a key rotation is too large")
        need(self.old.name == self.new.name and self.old.public != self.new.public, "a rotation is not about two keys of one log")
        need(self.old.signed(note) and self.new.signed(note), "a key rotation is not signed by both keys")


class Keys:
    """The keys of a log, each with the sizes from which and up to which it signs."""

    def __init__(self, text):
        first, *rest = text.split("onrecord/v1/key-rotation\n")
        self.keys, self.sizes = [Key(first)], [0]
        for part in rest:
            self.rotate(Rotation("onrecord/v1/key-rotation\n" + part.rstrip("\n") + "\n"))

    @property
    def name(self):
        return self.keys[0].name

    def rotate(self, rotation):
        need(rotation.old.text == self.keys[-1].text, "a key rotation does not go on from the newest key")
        need(all(rotation.new.text != key.text for key in self.keys), "a key rotation goes back to a key that was given up")
        need(rotation.size >= self.sizes[-1], "a key rotation ends a key before it began")
        self.keys.append(rotation.new)
        self.sizes.append(rotation.size)

    def follow(self, rotations):
        known = [at for at, rotation in enumerate(rotations) if rotation.old.text == self.keys[-1].text]
        for rotation in rotations[known[0]:] if known else []:
            self.rotate(rotation)


class Checkpoint:
    """A signed note with origin, size and root of a log."""

    def __init__(self, note, keys):
        self.note = Note(note)
        lines = self.note.text.split("\n")[:-1]
        need(len(lines) >= 3, "the checkpoint has fewer than three lines")
        self.origin = lines[0]
        need(self.origin == keys.name, f"the checkpoint is of the log {self.origin!r}, not of {keys.name!r}")
        need(re.fullmatch("0|[1-9][0-9]*", lines[1], re.ASCII), "the size of the checkpoint is no number")
        self.size = int(lines[1])
        need(self.size < 1 << 64, "the size of the checkpoint is too large")
        self.root = unbase64(lines[2], "the root of the checkpoint")
        need(len(self.root) == 32, "the root of the checkpoint is no SHA-256")
        self.check_signatures(keys)

    def check_signatures(self, keys):
        until = keys.sizes[1:] + [1 << 64]
        signed = [times for times in zip(keys.keys, keys.sizes, until) if times[0].signed(self.note)]
        need(signed, f"the checkpoint is not signed by a key of {keys.name}")
        key, first, last = signed[-1]
        in_force = any(first <= self.size <= last for _, first, last in signed)
        need(in_force, f"the key {key.text} signed from {first} to {last} leaves")

    def cosigned(self, witnesses):
        """Which of these witnesses have cosigned it, and when. A key counts once."""
        found = {}
        for witness in witnesses:
            times = [self.cosigned_at(witness, signature) for signature in witness.lines_of(self.note)]
            if times and None not in times and witness.public not in found:
                found[witness.public] = (witness.name, max(times))
        return list(found.values())

    def cosigned_at(self, witness, signature):
        if len(signature) != 72 or signature[0] >= 128:
            return None
        at = int.from_bytes(signature[:8], "big")
        message = f"cosignature/v1\ntime {at}\n{self.note.text}".encode()
        return at if verifies(witness.public, message, signature[8:]) else None


# Section 8: evidence.

class Index(int):
    """A number in JSON that is written in digits alone."""


def strict_object(pairs):
    result = {}
    for name, value in pairs:
        need(name not in result, f"the key {name!r} occurs twice")
        result[name] = value
    return result


def parse_json(data):
    def integer(text):
        return Index(text) if text.isdigit() else int(text)

    def constant(text):
        raise Refused(f"{text} is not JSON")

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=strict_object, parse_int=integer, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the evidence is not JSON: {error}") from None


def members(value, names, what, optional=()):
    need(isinstance(value, dict), f"{what} is no object")
    known = set(names) <= set(value) <= set(names) | set(optional)
    need(known, f"{what} does not have the keys {', '.join(names)}, and no others")
    return [value.get(name) for name in [*names, *optional]]


class Entry:
    """One record of the evidence: its leaf, and the groups that are shown."""

    def __init__(self, value, checkpoint):
        index, leaf, proof, revealed = members(value, ["index", "leaf", "proof", "revealed"], "an entry")
        need(isinstance(index, Index) and index < 1 << 64, "the index of an entry is no number in digits")
        self.index, self.leaf = int(index), Leaf(unbase64(leaf, "the leaf"))
        need(isinstance(proof, list), "the proof of an entry is no list")
        hashes = [unbase64(item, "a hash of the proof") for item in proof]
        need(all(len(item) == 32 for item in hashes), "a hash of the proof does not have 32 bytes")
        check_inclusion(self.index, checkpoint.size, self.leaf.hash(), hashes, checkpoint.root)
        self.shown = self.read_revealed(revealed)

    def read_revealed(self, revealed):
        need(isinstance(revealed, dict), "`revealed` is no object")
        shown = {}
        for name, value in revealed.items():
            need(name in CODES, f"there is no group {name!r}")
            if value is None:
                continue
            salt, contents = (unbase64(part, f"a part of {name}") for part in members(value, ["salt", "value"], name))
            need(CODES[name] in self.leaf.commitments, f"the leaf has no group {name}")
            need(len(salt) == 32, f"the salt of {name} does not have 32 bytes")
            computed = commitment(self.leaf.id, CODES[name], salt, contents)
            need(computed == self.leaf.commitments[CODES[name]], f"the group {name} is not what the leaf commits to")
            shown[name] = decode_map(contents)
        return shown


class Evidence:
    """Evidence that holds."""

    def __init__(self, data, keys, witnesses=(), quorum=0):
        form, note, entries, rotations, timestamp = members(
            parse_json(data), ["format", "checkpoint", "entries"], "the evidence", ["keys", "timestamp"])
        need(form == "onrecord-evidence/v1", f"the format {form!r} is not known")
        need(isinstance(note, str), "the checkpoint is no text")
        need(rotations is None or isinstance(rotations, list), "`keys` is no list")
        keys.follow([Rotation(text) for text in rotations or []])
        self.checkpoint = Checkpoint(note, keys)
        self.timestamp = None if timestamp is None else unbase64(timestamp, "the timestamp")
        need(isinstance(entries, list) and entries, "the evidence has no entries")
        self.entries = [Entry(entry, self.checkpoint) for entry in entries]
        self.cosigned = self.checkpoint.cosigned(witnesses)
        enough = len(self.cosigned) >= quorum
        need(enough, f"{len(self.cosigned)} witnesses have cosigned the checkpoint, {quorum} must")


# The command.

def time(micros):
    try:
        then = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(microseconds=micros)
    except OverflowError:
        return f"{micros} µs after 1970-01-01 UTC"
    return then.strftime("%Y-%m-%d %H:%M:%S.%f UTC")


def printable(value):
    """A value as JSON, which escapes control characters; bytes as text where they are UTF-8, else in hexadecimal."""
    def other(data):
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data.hex()

    return json.dumps(value, ensure_ascii=True, default=other)


def explain(evidence, checked):
    checkpoint = evidence.checkpoint
    print(f"VERIFIED  The log {checkpoint.origin!a} had {checkpoint.size} records with the root {checkpoint.root.hex()}.")
    for entry in evidence.entries:
        leaf = entry.leaf
        print(f"\nleaf {entry.index}: {KINDS[leaf.kind]} {uuid.UUID(bytes=leaf.id)}")
        print(f"  began {time(leaf.captured_at)}, was committed {time(leaf.committed_at)}, by the recorder's clock")
        for relation, other in leaf.refs:
            print(f"  refers to its {RELATIONS[relation]} {uuid.UUID(bytes=other)}")
        for name, fields in entry.shown.items():
            print(f"  {name}:")
            for field, value in fields.items():
                print(f"    {printable(field)[1:-1]} = {printable(value)}")
        hidden = [GROUPS[group] for group in leaf.commitments if GROUPS[group] not in entry.shown]
        if hidden:
            print(f"  hidden or erased: {', '.join(hidden)}")
    for name, at in evidence.cosigned:
        print(f"\nWITNESSED by {name!a}, {time(at * 1_000_000)}")
    if evidence.timestamp is not None:
        print("\nIt has a timestamp, which is " + ("checked." if checked else "not checked: name its authority with --tsa."))
    others = "" if evidence.cosigned else " that the log shows the same tree to others,"
    print(f"\nNot proved: what hidden groups contain, that the times are true,{others}")
    print("and what never reached the log.")


def stamped_at(token):
    """The time that a token states, in seconds since 1970."""
    ran = subprocess.run(["openssl", "ts", "-reply", "-in", token, "-token_in", "-text"], capture_output=True, check=False)
    stated = re.search(r"^Time stamp: (.+) GMT$", ran.stdout.decode(errors="replace"), re.MULTILINE)
    need(stated, "the timestamp cannot be read")
    at = datetime.datetime.strptime(re.sub(r"\.[0-9]+", "", stated[1]), "%b %d %H:%M:%S %Y")
    return int(at.replace(tzinfo=datetime.timezone.utc).timestamp())


def check_timestamp(evidence, authority):
    """RFC 3161 is left to OpenSSL: the token is over the SHA-256 of the checkpoint's text."""
    need(evidence.timestamp is not None, "the evidence has no timestamp")
    digest = hashlib.sha256(evidence.checkpoint.note.text.encode()).hexdigest()
    with tempfile.NamedTemporaryFile() as token:
        token.write(evidence.timestamp)
        token.flush()
        command = ["openssl", "ts", "-verify", "-in", token.name, "-token_in", "-digest", digest, "-CAfile", authority]
        # A certificate that has ended since was right at the time that the token states.
        command += ["-attime", str(stamped_at(token.name))]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    need(ran.returncode == 0, f"the timestamp does not hold: {ran.stderr.strip()}")


def key_text(argument):
    if "+" in argument:
        return argument
    with open(argument, encoding="utf-8") as file:
        return file.read()


def main():
    parser = argparse.ArgumentParser(description="Checks evidence of an onrecord log, offline.")
    parser.add_argument("evidence", help="the evidence file")
    parser.add_argument("--key", required=True, help="the log's public key or key history, or a file that holds it")
    parser.add_argument("--witness", action="append", default=[], help="a witness's public key, or a file that holds it")
    parser.add_argument("--quorum", type=int, help="how many of them must have cosigned (default: all)")
    parser.add_argument("--tsa", help="certificates (PEM) of the authority that the timestamp must lead to; asks openssl")
    arguments = parser.parse_args()
    try:
        with open(arguments.evidence, "rb") as file:
            data = file.read()
        key, witnesses = key_text(arguments.key), [key_text(witness) for witness in arguments.witness]
    except (OSError, UnicodeDecodeError) as error:
        print(f"cannot be read: {error}", file=sys.stderr)
        return 2
    try:
        quorum = len(witnesses) if arguments.quorum is None else arguments.quorum
        evidence = Evidence(data, Keys(key), [Key(witness, kind=4) for witness in witnesses], quorum)
        if arguments.tsa:
            check_timestamp(evidence, arguments.tsa)
        explain(evidence, arguments.tsa is not None)
    except Refused as refused:
        print(f"REFUSED  {refused}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
