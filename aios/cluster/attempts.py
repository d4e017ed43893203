"""Notes on parts in progress, so that a photo that ends its process is left out at last."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field

from .store import ATTEMPTS, Store

_ATTEMPTS_IN_BATCHES = 3
_DEATHS_OF_A_PHOTO = 2


@dataclass
class Attempt:
    """One attempt at a part; the notes survive the process.

    Machines are lost for reasons of their own: the first attempts work in batches. Later ones
    process photos one by one and note each, which tells a photo that ends the process every time.

    Attributes:
        number: of this attempt, from 1.
    """

    store: Store
    key: str
    number: int = 1
    _deaths: dict[str, int] = field(default_factory=dict)

    @classmethod
    def begin(cls, store: Store, key: str) -> Attempt:
        """Note the start of an attempt."""
        content = store.read(f"{ATTEMPTS}/{key}.json")
        attempt = cls(store, key)
        if content is not None:
            earlier = json.loads(content)
            attempt.number = earlier["number"] + 1
            attempt._deaths = earlier["deaths"]
            if (current := earlier["current"]) is not None:
                attempt._deaths[current] = attempt._deaths.get(current, 0) + 1
        attempt._write(None)
        return attempt

    @property
    def one_by_one(self) -> bool:
        """Whether to process photos alone, each after `starts`."""
        return self.number > _ATTEMPTS_IN_BATCHES

    def starts(self, index: int) -> bool:
        """Note a photo; False if it is to be left out, as it has ended the process twice."""
        if self._deaths.get(str(index), 0) >= _DEATHS_OF_A_PHOTO:
            return False
        self._write(index)
        return True

    def end(self) -> None:
        """Remove the notes of a finished part."""
        self.store.remove([f"{ATTEMPTS}/{self.key}.json"])

    def _write(self, index: int | None) -> None:
        current = None if index is None else str(index)
        notes = {
            "number": self.number,
            "deaths": self._deaths,
            "current": current,
            "process": os.getpid(),
        }
        self.store.write(f"{ATTEMPTS}/{self.key}.json", json.dumps(notes).encode())
