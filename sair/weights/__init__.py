"""Find, download and check pretrained files, and read the networks in them.

``known.yaml`` and the cards of the baselines list the facts about each file. A file is searched in a folder of weights,
in the caches of frameworks and in packages that contain it, and then downloaded (``sources``, ``fetch``). If its
SHA-256 is known, it is checked before the file is read, and no file can run code (``networks``). A file that is found
but has the wrong content is an error; other sources are then not tried.
"""

from sair.weights.fetch import file, resolve, used

__all__ = ["file", "resolve", "used"]
