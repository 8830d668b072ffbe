"""Make files and facts for the tests of pretrained files."""

import hashlib

CONTENT = bytes(range(256)) * 64


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def left_in(folder):
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []
