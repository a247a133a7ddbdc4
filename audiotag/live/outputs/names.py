"""Names of devices and classes as topics and ids know them: ASCII, and the same at every start."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from audiotag.labels import Label


def plain_name(text: str) -> str:
    """*text* in letters of ASCII, digits and ``_``: "Türklingel, laut" → "turklingel_laut"; may be empty."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", letters).strip("_")


def object_id(label: Label) -> str:
    """What a home knows a class by: from its mid, whatever it is called, and different for each."""
    plain = label.mid.strip("/").replace("/", "_")
    if re.fullmatch(r"[A-Za-z0-9_]+", plain):
        return plain
    return "_".join(filter(None, [plain_name(label.mid), digest(label.mid)]))


def digest(text: str) -> str:
    """A few letters that tell *text* from others."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=4).hexdigest()


class Topics:
    """Where the messages of a device go.

    Args:
        prefix: What all topics begin with.
        classes: The classes that are told; two that look the same in ASCII are told apart by their mids.
    """

    def __init__(self, prefix: str, classes: Iterable[Label]) -> None:
        self.prefix = prefix
        self.availability = f"{prefix}/availability"
        self.status = f"{prefix}/status"
        self.level = f"{prefix}/level"
        self.label = f"{prefix}/label"
        self._taken = Counter(plain_name(label.name) for label in classes)
        self._later = set[str]()

    def add(self, label: Label) -> None:
        """Have one class more; the topics of the others stay what they are."""
        name = plain_name(label.name)
        if name in self._taken:
            self._later.add(label.mid)
        else:
            self._taken[name] = 1

    def event(self, label: Label) -> str:
        """Every message about sounds of a class."""
        return f"{self.prefix}/event/{self._name(label)}"

    def sound(self, label: Label) -> str:
        """Whether a class sounds: ON or OFF."""
        return f"{self.prefix}/sound/{self._name(label)}"

    def _name(self, label: Label) -> str:
        name = plain_name(label.name)
        alone = name and self._taken[name] < 2 and label.mid not in self._later
        return name if alone else "_".join(filter(None, [name, object_id(label)]))
