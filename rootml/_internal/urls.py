"""URLs: what is one, and what of it may be shown (no passwords, tokens or signatures)."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit, urlunsplit

_MIN_SECRET = 4  # anything shorter is not a secret, and would match inside any text
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")


def is_remote(path: str) -> bool:
    """Whether `path` is a URL (``file://`` is not: it is a local path).

    >>> is_remote("root://eospublic.cern.ch//eos/f.root"), is_remote("data/f.root")
    (True, False)
    """
    return bool(_SCHEME.match(path))


def redact(path: str) -> str:
    """A URL without user, password, query and fragment; anything else as it is.

    >>> redact("https://me:secret@host:8443/f.root?X-Amz-Signature=abc")
    'https://host:8443/f.root'
    >>> redact("root://host//store/f.root"), redact("data/f.root")
    ('root://host//store/f.root', 'data/f.root')
    """
    if "://" not in path:
        return path
    try:
        parts = urlsplit(path)
    except ValueError:  # a bracket that is not closed
        return re.sub(r"(?<=://)[^/]*@|\?.*", "", path)
    host = parts.netloc.rpartition("@")[2]
    if not parts.query and not parts.fragment and host == parts.netloc:
        return path  # spelt as the user did
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def scrub(text: str, url: str) -> str:
    """The text of an exception without what `url` hides, and with other URLs redacted."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    _, _, password = user.partition(":")
    pairs = [pair.partition("=")[2] for pair in parts.query.split("&")]
    hidden = {parts.query, user, password, parts.fragment, *pairs}
    hidden |= {unquote(each) for each in hidden}
    for each in sorted(hidden, key=len, reverse=True):
        if len(each) >= _MIN_SECRET:
            text = text.replace(each, "...")
    return _URL.sub(lambda match: redact(match[0]), text)
