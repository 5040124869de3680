"""Objects of S3 stores (AWS, Ceph, MinIO): web requests with a signature (SigV4).

Configured as other tools are: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
AWS_REGION, AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, or the profile AWS_PROFILE of the files
``~/.aws/credentials`` and ``~/.aws/config``. Without keys requests are not signed: public buckets.

Signature: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import configparser
import hashlib
import hmac
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit
from xml.etree import ElementTree

from rootml.errors import UsageError
from rootml.storage.remote._http import HttpTransport
from rootml.storage.remote._options import Remote
from rootml.storage.remote._transport_errors import TransportError

_NO_BODY = hashlib.sha256(b"").hexdigest()
_MOST_LISTED = 64 << 20


@dataclass(frozen=True)
class Account:
    """Where a store is and how to sign for it; made anew in each process, never sent along."""

    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    region: str = "us-east-1"
    endpoint: str = ""


def account() -> Account:
    """What the environment and the files of the AWS tools say."""
    env = os.environ
    profile = env.get("AWS_PROFILE", "default")
    secrets = _section(env.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), profile)
    section = profile if profile == "default" else f"profile {profile}"
    config = _section(env.get("AWS_CONFIG_FILE", "~/.aws/config"), section)
    if "AWS_ACCESS_KEY_ID" in env:
        secrets = {}  # never a key from here with a token from there
    known = {**config, **secrets}
    regions = (env.get("AWS_REGION"), env.get("AWS_DEFAULT_REGION"), config.get("region"))
    places = (env.get("AWS_ENDPOINT_URL_S3"), env.get("AWS_ENDPOINT_URL"))
    return Account(
        env.get("AWS_ACCESS_KEY_ID") or known.get("aws_access_key_id", ""),
        env.get("AWS_SECRET_ACCESS_KEY") or known.get("aws_secret_access_key", ""),
        env.get("AWS_SESSION_TOKEN") or known.get("aws_session_token", ""),
        next(filter(None, regions), "us-east-1"),
        (next(filter(None, places), "") or known.get("endpoint_url", "")).rstrip("/"),
    )


def _section(path: str, name: str) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(Path(path).expanduser(), encoding="utf-8")
    except configparser.Error as error:
        message = f"{path} cannot be read: {type(error).__name__}"  # its text would be shown
        raise UsageError(message) from None
    return dict(parser[name]) if parser.has_section(name) else {}


def signed(
    method: str, url: str, headers: Mapping[str, str], who: Account, now: datetime
) -> dict[str, str]:
    """`headers` with those of the signature, all of them signed; for requests without a body."""
    parts = urlsplit(url)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    sent = {**headers, "x-amz-content-sha256": _NO_BODY, "x-amz-date": stamp}
    if who.token:
        sent["x-amz-security-token"] = who.token
    lowered = {name.lower(): value.strip() for name, value in sent.items()}
    lowered["host"] = parts.netloc
    names = ";".join(sorted(lowered))
    query = sorted(parse_qsl(parts.query, keep_blank_values=True))
    canonical = "\n".join(
        [
            method,
            parts.path or "/",
            urlencode(query, quote_via=quote, safe="-_.~"),
            *(f"{name}:{lowered[name]}" for name in sorted(lowered)),
            "",
            names,
            _NO_BODY,
        ]
    )
    scope = f"{stamp[:8]}/{who.region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
    key = f"AWS4{who.secret}".encode()
    for part in (stamp[:8], who.region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    sent["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={who.key}/{scope},SignedHeaders={names},"
        f"Signature={signature}"
    )
    return sent


def _address(bucket: str, key: str, who: Account) -> str:
    """The web address of an object, or of a bucket where `key` is ""."""
    path = quote(key, safe="/-_.~")
    if who.endpoint:
        return f"{who.endpoint}/{bucket}/{path}"
    if "." in bucket:  # no certificate covers it
        return f"https://s3.{who.region}.amazonaws.com/{bucket}/{path}"
    return f"https://{bucket}.s3.{who.region}.amazonaws.com/{path}"


def split_s3(url: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``.

    Raises:
        UsageError: No bucket, or something that does not belong there.
    """
    bucket, _, key = url.partition("://")[2].partition("/")
    if not bucket or "@" in bucket:
        message = "an object is s3://bucket/key; keys belong into the environment, not the URL"
        raise UsageError(message)
    return bucket, key


class S3Transport(HttpTransport):
    """One object, or (for listing) a bucket."""

    several = False  # no store answers several ranges at a time

    def __init__(self, url: str, options: Remote) -> None:
        bucket, key = split_s3(url)
        self._account = account()
        self._query = ""
        super().__init__(_address(bucket, key, self._account), options)
        self.identity = f"{self._account.endpoint}|{url}"

    def _prepare(self, method: str, headers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        if not self._account.key:
            return self._url + self._query, dict(headers)
        url = self._url + self._query
        return url, signed(method, url, headers, self._account, datetime.now(UTC))

    def page(self, query: Mapping[str, str]) -> bytes:
        """The answer of the bucket to a query; not from several threads."""
        self._query = f"?{urlencode(sorted(query.items()), quote_via=quote, safe='-_.~')}"
        with self._ask("GET", {}) as (answer, _):
            return bytes(answer.read(_MOST_LISTED))


def list_keys(bucket: str, prefix: str, options: Remote, *, at_once: int = 1000) -> Iterator[str]:
    """Keys of a bucket that begin with `prefix` (ListObjectsV2)."""
    from rootml.storage.remote._tasks import retry

    place = S3Transport(f"s3://{bucket}/", options)
    query = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
    query["max-keys"] = str(at_once)
    while True:
        text = retry(lambda: place.page(query), options)
        if b"<!" in text:
            message = "the store's list has a document type: refused"
            raise TransportError(message)
        root = ElementTree.fromstring(text)
        space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
        for found in root.iter(f"{space}Contents"):
            yield unquote((found.findtext(f"{space}Key") or "").replace("+", " "))
        token = root.findtext(f"{space}NextContinuationToken")
        if not token:
            return
        query["continuation-token"] = token
