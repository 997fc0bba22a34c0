"""Reads what `bench load -o FILE` keeps (docs/load.md, Raw results)."""

import datetime
import json
import math
import struct

OUTCOMES = ["ok", "status", "wrong", "garbled", "reset", "timeout", "busy", "refused"]


class Record:
    """One request. Times are in seconds: at since the phase began, the others from there."""

    def __init__(self, fields):
        (at, free, sent, done, self.rows, _, self.status, _, _, outcome, _, flags) = fields
        self.at, self.free, self.sent, self.done = at / 1e9, free / 1e9, sent / 1e9, done / 1e9
        self.outcome, self.warm = OUTCOMES[outcome], bool(flags & 1)


def read(path):
    """The phases of a file: a list of (info, records); info["began"] is the instant it began, in seconds of the epoch."""
    phases = []
    with open(path, "rb") as f:
        if f.read(8) != b"MOTLOAD\x01":
            raise SystemExit(f"{path}: not a file of raw results")
        while len(head := f.read(5)) == 5:
            kind, length = head[:1], struct.unpack("<I", head[1:])[0]
            block = f.read(length)
            if len(block) < length:
                break
            if kind == b"P":
                info = json.loads(block)
                text, _, fraction = info["start"].rstrip("Z").partition(".")
                began = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc).timestamp()
                info["began"] = began + float("0." + (fraction or "0"))
                phases.append((info, []))
            elif kind == b"R":
                phases[-1][1].extend(Record(r) for r in struct.iter_unpack("<4q2I2HBBbB", block))
    return phases


def quantile(values, q):
    """The smallest value that a share q of them does not exceed; None of none."""
    values = sorted(values)
    return values[max(0, math.ceil(q * len(values)) - 1)] if values else None


def ms(seconds):
    return "–" if seconds is None else f"{1000 * seconds:.1f}"
