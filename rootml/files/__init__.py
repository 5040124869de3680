"""Which files a sample has: their headers, friends and origin.

`_files` opens and remembers them, `_friends` matches friend trees to them, `_matching` finds
events of friends by their ids (`_event_index`), `_origin` reads what a friend says about the file
that it belongs to. How one file is read is up to `rootml.storage`.
"""

from __future__ import annotations

from rootml.files._files import FileInfo, Files, FileSpec
from rootml.files._friends import FriendLink, FriendPaths, match_friends
from rootml.files._matching import MatchedFriends, Unmatched, matched_friends

__all__ = [
    "FileInfo", "FileSpec", "Files", "FriendLink", "FriendPaths", "MatchedFriends", "Unmatched",
    "match_friends", "matched_friends",
]  # fmt: skip
