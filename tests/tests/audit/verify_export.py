#!/usr/bin/env python3
"""Verifies what `pulsecal audit export` writes, by nothing but the description in core/src/audit/link.rs.

    SECRET_KEY=... verify_export.py EXPORT [HEADS ...]

EXPORT is the export, HEADS are documents of signed heads, from old to new. Prints one line for each chain that is not as it
was sealed: chain, number, what is wrong. Ends with 0 when all is well, 1 when something is not, 2 when it could not check.
"""

import hashlib
import hmac
import json
import os
import sys
import uuid
from datetime import datetime, timezone

TEXTS = {"actor_kind", "role", "action", "subject_type", "outcome", "detail"}
NUMBERS = {"xid", "at"}
ORDER = ["id", "xid", "org_id", "at", "actor_kind", "actor_id", "role", "action", "subject_type", "subject_id", "outcome",
         "request_id", "detail"]
NOBODY = "00000000-0000-0000-0000-000000000000"


def field(value):
    return b"\xff\xff\xff\xff" if value is None else len(value).to_bytes(4, "big") + value


def number(value):
    return value.to_bytes(8, "big", signed=True)


def link_hash(chain, seq, before, entry):
    parts = [b"pulsecal audit entry", number(1), uuid.UUID(chain).bytes, number(seq), before]
    for name in ORDER:
        value = entry[name]
        if value is not None:
            value = value.encode() if name in TEXTS else number(value) if name in NUMBERS else uuid.UUID(value).bytes
        parts.append(value)
    return hashlib.sha256(b"".join(field(part) for part in parts)).digest()


def read_heads(path, key):
    with open(path, encoding="utf-8") as file:
        heads = json.load(file)
    at = datetime.fromisoformat(heads["at"].replace("Z", "+00:00"))
    since = at - datetime(1970, 1, 1, tzinfo=timezone.utc)
    micros = (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds
    text = f"pulsecal audit heads 1\n{micros}\n{len(heads['chains'])}\n"
    text += "".join(f"{c['org']} {c['seq']} {c['hash']}\n" for c in heads["chains"])
    if not hmac.compare_digest(hmac.new(key, text.encode(), "sha256").hexdigest(), heads["mac"]):
        raise ValueError(f"{path}: the signature is not that of this SECRET_KEY")
    return heads["chains"]


def main(export, head_files):
    secret = os.environ.get("SECRET_KEY", "").encode()
    key = hmac.new(secret, b"pulsecal audit heads: key 1", "sha256").digest()
    heads = [head for path in head_files for head in read_heads(path, key)]
    wanted = {(head["org"], head["seq"]) for head in heads}
    wrong, last, seen, loose, total = {}, {}, {}, [], 0
    places = {}  # of each chain, (xid, id) and number of the entries, for those that are in none
    newest = (-1, "")
    with open(export, encoding="utf-8") as lines:
        for line in lines:
            link = json.loads(line)
            chain, seq, entry = link["chain"], link["seq"], link["entry"]
            if seq is None:
                loose.append((chain, entry["xid"], entry["id"]))
                continue
            total += 1
            before, expected = last.get(chain, (bytes(32), 1))
            given = bytes.fromhex(link["hash"])
            if chain not in wrong:
                if seq != expected:
                    wrong[chain] = (expected, "removed")
                elif entry is None:
                    wrong[chain] = (seq, "removed")
                elif entry["id"] != link["entry_id"] or link_hash(chain, seq, before, entry) != given:
                    wrong[chain] = (seq, "changed")
            last[chain] = (given, seq + 1)
            if (chain, seq) in wanted:
                seen[chain, seq] = link["hash"]
            if entry is not None:
                place = (entry["xid"], entry["id"])
                newest = max(newest, place)
                places.setdefault(chain, []).append((place, seq))
    for chain, xid, entry_id in loose:  # behind what was sealed, but not sealed: slipped in, or its link is gone
        if (xid, entry_id) < newest:
            after = [seq for place, seq in places.get(chain, []) if place > (xid, entry_id)]
            seq = min(after) if after else last.get(chain, (b"", 1))[1]
            if chain not in wrong or seq < wrong[chain][0]:
                wrong[chain] = (seq, "inserted")
    good, judged = {}, set()
    for head in heads:
        chain, seq = head["org"], head["seq"]
        if chain in judged or good.get(chain, 0) >= seq:
            continue
        if seen.get((chain, seq)) == head["hash"]:
            good[chain] = seq
            continue
        judged.add(chain)
        end = last.get(chain, (b"", 1))[1]
        finding = (good.get(chain, 0) + 1, "rewritten") if (chain, seq) in seen else (end, "truncated")
        known = wrong.get(chain)
        if known is None or (known[1], finding[1]) == ("inserted", "truncated") and finding[0] <= known[0]:
            wrong[chain] = finding
    for chain, (seq, what) in sorted(wrong.items()):
        print(chain, seq, what)
    if not wrong:
        print(f"{total} entries in {len(last)} chains are as they were sealed")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], sys.argv[2:]))
    except (OSError, ValueError, KeyError, IndexError) as problem:
        print(f"not checked: {problem}", file=sys.stderr)
        sys.exit(2)
