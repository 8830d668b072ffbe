"""Pretrained files: which ones there are, where they come from, and the networks that are read from them.

``known.yaml`` and the cards of the baselines say what is known of each file. It is looked for in a folder of weights,
in the frameworks' caches and in packages that carry it, and then downloaded (``sources``, ``fetch``). Where its SHA-256
is known it is checked before a byte of it is interpreted, and no file can run code (``networks``). A file that is found
but wrong is an error, never a reason to try the next.
"""

from sair.weights.fetch import file, inception_file, resolve, used

__all__ = ["file", "inception_file", "resolve", "used"]
