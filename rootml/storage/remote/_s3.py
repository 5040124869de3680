"""Objects of S3 stores (AWS, Ceph, MinIO): web requests with a signature.

Configured as other tools are: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
AWS_REGION, AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, or the profile AWS_PROFILE of the files
``~/.aws/credentials`` and ``~/.aws/config``; with botocore installed also SSO and roles of
instances (see `_s3_account`). Without keys requests are not signed: public buckets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote, urlencode
from xml.etree import ElementTree

from rootml.errors import UsageError
from rootml.storage.remote._http import HttpTransport
from rootml.storage.remote._options import Remote
from rootml.storage.remote._s3_account import Account, find_account, sign
from rootml.storage.remote._transport_errors import TransportError

_MAX_LISTED = 64 << 20


def _address(bucket: str, key: str, account: Account) -> str:
    """The web address of an object, or of a bucket where `key` is ""."""
    path = quote(key, safe="/-_.~")
    if account.endpoint:
        return f"{account.endpoint}/{bucket}/{path}"
    if "." in bucket:  # no certificate covers it
        return f"https://s3.{account.region}.amazonaws.com/{bucket}/{path}"
    return f"https://{bucket}.s3.{account.region}.amazonaws.com/{path}"


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
        self._account = find_account()
        self._query = ""
        super().__init__(_address(bucket, key, self._account), options)
        self.identity = f"{self._account.endpoint}|{url}"

    def _prepare(self, method: str, headers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        url = self._url + self._query
        if not self._account.key:
            return url, dict(headers)
        return url, sign(method, url, headers, find_account())

    def page(self, query: Mapping[str, str]) -> bytes:
        """The answer of the bucket to a query; not from several threads."""
        self._query = f"?{urlencode(sorted(query.items()), quote_via=quote, safe='-_.~')}"
        with self._ask("GET", {}) as (answer, _):
            return bytes(answer.read(_MAX_LISTED))


def list_keys(bucket: str, prefix: str, options: Remote, *, at_once: int = 1000) -> Iterator[str]:
    """Keys of a bucket that begin with `prefix` (ListObjectsV2)."""
    from rootml.storage.remote._tasks import retry

    bucket_transport = S3Transport(f"s3://{bucket}/", options)
    query = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
    query["max-keys"] = str(at_once)
    while True:
        text = retry(lambda: bucket_transport.page(query), options)
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
