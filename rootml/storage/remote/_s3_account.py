"""Credentials of S3 stores, and the signature (SigV4) of a request.

With botocore installed, it finds the credentials (profiles, SSO, roles of instances and
containers), renews them and signs. Without it, the environment and the two files of the AWS tools
are read here, and the signature is computed here. This small fallback exists because reading needs
no more than GET requests: botocore is 15 MB, and pyarrow's `S3FileSystem`, which is always there,
cannot send the ``If-Match`` by which every range is refused once the file has changed.

Signature: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import configparser
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from rootml.errors import UsageError

_NO_BODY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Account:
    """The address of a store, and the keys that sign requests; never sent to another process."""

    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    region: str = "us-east-1"
    endpoint: str = ""


def _from_files() -> Account:
    """What the environment and the files of the AWS tools say; no roles and no SSO."""
    env = os.environ
    profile = env.get("AWS_PROFILE", "default")
    secrets = _section(env.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), profile)
    section = profile if profile == "default" else f"profile {profile}"
    config = _section(env.get("AWS_CONFIG_FILE", "~/.aws/config"), section)
    if "AWS_ACCESS_KEY_ID" in env:
        secrets = {}  # never a key from here with a token from there
    known = {**config, **secrets}
    regions = (env.get("AWS_REGION"), env.get("AWS_DEFAULT_REGION"), config.get("region"))
    endpoints = (env.get("AWS_ENDPOINT_URL_S3"), env.get("AWS_ENDPOINT_URL"))
    return Account(
        env.get("AWS_ACCESS_KEY_ID") or known.get("aws_access_key_id", ""),
        env.get("AWS_SECRET_ACCESS_KEY") or known.get("aws_secret_access_key", ""),
        env.get("AWS_SESSION_TOKEN") or known.get("aws_session_token", ""),
        next(filter(None, regions), "us-east-1"),
        (next(filter(None, endpoints), "") or known.get("endpoint_url", "")).rstrip("/"),
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
    method: str, url: str, headers: Mapping[str, str], account: Account, now: datetime
) -> dict[str, str]:
    """`headers` with those of the signature, all of them signed; for requests without a body."""
    parts = urlsplit(url)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    sent = {**headers, "x-amz-content-sha256": _NO_BODY, "x-amz-date": stamp}
    if account.token:
        sent["x-amz-security-token"] = account.token
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
    scope = f"{stamp[:8]}/{account.region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
    key = f"AWS4{account.secret}".encode()
    for part in (stamp[:8], account.region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    sent["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={account.key}/{scope},SignedHeaders={names},"
        f"Signature={signature}"
    )
    return sent


# --- with botocore -------------------------------------------------------------------------------


def find_account() -> Account:
    """Address, region and keys of the store, from the environment and the AWS tools' files.

    Raises:
        UsageError: A file or profile that cannot be read.
    """
    found = _from_files()
    if found.key and "AWS_ACCESS_KEY_ID" in os.environ:
        return found
    credentials = _credentials()
    if credentials is None:
        return found
    keys = credentials.get_frozen_credentials()  # renews those of a role that are about to expire
    return replace(
        found, key=keys.access_key or "", secret=keys.secret_key or "", token=keys.token or ""
    )


def _credentials() -> Any:
    """botocore's credentials, which renew themselves; None: none, or botocore is missing."""
    if find_spec("botocore") is None:
        return None
    settings = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    return _session_credentials(os.getpid(), settings)


@lru_cache(maxsize=8)
def _session_credentials(process: int, settings: tuple[tuple[str, str], ...]) -> Any:
    """Found once for each process and environment: asking an instance for its role takes time."""
    del process, settings
    import botocore.exceptions
    import botocore.session

    try:
        return botocore.session.get_session().get_credentials()
    except botocore.exceptions.BotoCoreError as error:
        message = f"the credentials of s3:// cannot be found: {error}"
        raise UsageError(message) from None


def sign(method: str, url: str, headers: Mapping[str, str], account: Account) -> dict[str, str]:
    """`headers` with those of a signature, by botocore if it is installed."""
    if find_spec("botocore") is None:
        return signed(method, url, headers, account, datetime.now(UTC))
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest(method=method, url=url, headers=dict(headers))
    keys = Credentials(account.key, account.secret, account.token or None)
    S3SigV4Auth(keys, "s3", account.region).add_auth(request)
    return dict(request.headers.items())
