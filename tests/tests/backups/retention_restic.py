#!/usr/bin/env python3
"""Compares `pulsecal backup prune --dry-run` with `restic forget --dry-run` on the same random times. By hand, not in ./dev test:

    PULSECAL=target/release/pulsecal DATABASE_URL=postgres://… tests/tests/backups/retention_restic.py [SETS] [SEED]

Needs restic (0.14 or newer) and a migrated database without backups on record. Both work on real stores: restic on a repository
with a snapshot for each time, PulseCal on a folder with a signed manifest for each. Ends with 1 at the first difference.
"""
import datetime
import hashlib
import hmac
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import urllib.parse
import uuid

SECRET = "0123456789abcdef0123456789abcdef"
SETS = int(sys.argv[1]) if len(sys.argv) > 1 else 200
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
POOL = 120  # snapshots; each set is a random part of them
UTC = datetime.timezone.utc


def run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"{command}: {done.stderr}")
    return done.stdout


def manifest(at):
    """The text of a backup's manifest, as this release writes it."""
    milliseconds = int(at.timestamp() * 1000)
    id = str(uuid.UUID(int=(milliseconds << 80) | (7 << 76) | (2 << 62) | random.getrandbits(32)))
    time = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    seen = {"snapshot": "1", "lsn": "0/0", "server_version": 150000, "at": time, "migration": None}
    text = json.dumps({
        "version": 2, "id": id, "database": "any", "seen": seen, "started_at": time, "ended_at": time, "plain_bytes": 1,
        "packed_bytes": 1, "bytes": 1, "sha256": "", "tail_sha256": "", "tables": [], "recipients": [], "tools": [],
    })
    key = hmac.new(SECRET.encode(), b"pulsecal backup manifest", hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return id, '{"signature":"%s","manifest":%s}' % (signature, text)


def times():
    """Some dense, some sparse, many of them at the edges of days, weeks and years."""
    start = datetime.datetime(2023, 11, 20, tzinfo=UTC)
    found = set()
    while len(found) < POOL:
        day = random.choice([random.randrange(40), random.randrange(500), random.randrange(36, 48)])
        second = random.choice([0, 86_399, random.randrange(86_400)])
        found.add(start + datetime.timedelta(days=day, seconds=second))
    return sorted(found)


def main():
    random.seed(SEED)
    print(f"seed {SEED}, {SETS} sets, {run(['restic', 'version']).split(' compiled')[0]}")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        restic = {**os.environ, "TZ": "UTC", "RESTIC_REPOSITORY": str(folder / "repo"), "RESTIC_PASSWORD": "x",
                  "RESTIC_CACHE_DIR": str(folder / "cache")}
        run(["restic", "init"], env=restic)
        (folder / "file").write_text("x")
        pool = times()
        members = [random.sample(range(POOL), random.randrange(1, POOL)) for _ in range(SETS)]
        for place, at in enumerate(pool):
            tags = [word for number, set_ in enumerate(members) if place in set_ for word in ("--tag", f"set{number}")]
            run(["restic", "backup", "--quiet", "--time", at.strftime("%Y-%m-%d %H:%M:%S"), *tags, str(folder / "file")],
                env=restic)
        url = urllib.parse.urlsplit(os.environ["DATABASE_URL"])
        name = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "-%02x" % ord(c) for c in url.path[1:])
        removed_in_all = 0
        for number, set_ in enumerate(members):
            keep = {"daily": random.randrange(1, 12), "weekly": random.randrange(0, 10), "monthly": random.randrange(0, 15)}
            words = [word for unit, count in keep.items() if count for word in (f"--keep-{unit}", str(count))]
            # In a group of their own, whatever their other tags.
            groups = json.loads(run(["restic", "forget", "--dry-run", "--json", "--group-by", "", "--tag", f"set{number}", *words],
                                    env=restic))
            theirs = {snapshot["time"][:19] for snapshot in groups[0]["remove"] or []}
            blobs = folder / f"blobs{number}"
            ids = {}
            for place in set_:
                id, text = manifest(pool[place])
                ids[id] = pool[place].strftime("%Y-%m-%dT%H:%M:%S")
                here = blobs / "backups" / f"db.{name}" / id
                here.mkdir(parents=True)
                (here / "manifest.json").write_text(text)
                (here / "dump.zst.age").write_text("x")
            env = {**os.environ, "SECRET_KEY": SECRET, "BLOB_URL": f"file://{blobs}", "LOG_FORMAT": "text",
                   "BACKUP_KEEP": ",".join(f"{count}{unit[0]}" for unit, count in keep.items())}
            said = json.loads(run([os.environ["PULSECAL"], "--json", "backup", "prune", "--dry-run"], env=env))
            ours = {ids[id] for id in said["removed"]}
            if ours != theirs:
                print(f"set {number} of {len(set_)}, {keep}: only PulseCal removes {sorted(ours - theirs)}, only restic {sorted(theirs - ours)}")
                sys.exit(1)
            removed_in_all += len(ours)
        print(f"{SETS} sets agree; {sum(map(len, members))} backups, {removed_in_all} of them to be removed")


main()
