"""The store on disk: a bounded set of clips that a policy chooses, safe against crashes at any moment.

The index, the counts and the state of the policy are in an SQLite database, the sound (or the embedding) of each clip
in a file beside it. See `ClipStore`.
"""

from audiotag.continual.store.payload import Payload
from audiotag.continual.store.records import Addition, Statistics, StoredClip, Verification
from audiotag.continual.store.store import ClipStore
from audiotag.continual.store.view import StoreView

__all__ = ["Addition", "ClipStore", "Payload", "Statistics", "StoreView", "StoredClip", "Verification"]
