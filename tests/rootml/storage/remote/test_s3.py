"""Signatures and settings of S3, as Amazon documents them and botocore computes them."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from remote_servers import S3Place, moto_program, require

from rootml.errors import UsageError
from rootml.storage import Remote, expand_paths
from rootml.storage.remote import _s3_account
from rootml.storage.remote._s3 import S3Transport, list_keys, split_s3
from rootml.storage.remote._s3_account import Account, find_account, sign, signed

# https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, the example keys
EXAMPLE = Account("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
WHEN = datetime(2013, 5, 24, tzinfo=UTC)
HOST = "https://examplebucket.s3.amazonaws.com"


@pytest.mark.parametrize(
    ("url", "headers", "signature"),
    [
        (
            f"{HOST}/test.txt",
            {"Range": "bytes=0-9"},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            f"{HOST}/?lifecycle",
            {},
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            f"{HOST}/?max-keys=2&prefix=J",
            {},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
    ids=["object", "lifecycle", "list"],
)
def test_the_examples_of_the_documentation(
    url: str, headers: dict[str, str], signature: str
) -> None:
    sent = signed("GET", url, headers, EXAMPLE, WHEN)
    assert sent["Authorization"].endswith(f"Signature={signature}")
    assert sent["x-amz-date"] == "20130524T000000Z"


BOTOCORE = """
import json, sys
from datetime import datetime, timezone
from unittest import mock
import botocore.auth, botocore.awsrequest, botocore.credentials
url, headers, key, secret, token, region = json.load(sys.stdin)
class Fixed(datetime):
    @classmethod
    def now(cls, tz=None): return cls(2013, 5, 24, tzinfo=timezone.utc)
    @classmethod
    def utcnow(cls): return cls(2013, 5, 24)
def fixed(*a, **k): return Fixed(2013, 5, 24, tzinfo=timezone.utc)
botocore.auth.get_current_datetime = fixed
botocore.auth.datetime = mock.Mock(datetime=Fixed)
request = botocore.awsrequest.AWSRequest(method="GET", url=url, headers=headers)
request.context["payload_signing_enabled"] = True
credentials = botocore.credentials.Credentials(key, secret, token or None)
botocore.auth.S3SigV4Auth(credentials, "s3", region).add_auth(request)
print(json.dumps([request.headers["Authorization"], request.headers["X-Amz-Date"]]))
"""


@pytest.mark.parametrize(
    "path", ["a/b.root", "with%20space/p%C3%A4th~x.root", "plus%2Bsign%3Dand%26.root", ""]
)
def test_as_botocore_signs(path: str) -> None:
    program = require(moto_program(), "botocore (make servers)")
    who = Account("AKIDEXAMPLE", "secret/with+signs", "token==", "eu-central-1")
    url = f"http://127.0.0.1:5000/bucket/{path}"
    if not path:
        url += "?continuation-token=a%2Fb%3D%3D&encoding-type=url&list-type=2&prefix=x%20y%2A"
    headers = {"Range": "bytes=100-299", "If-Match": '"abc"'}
    content = json.dumps([url, headers, who.key, who.secret, who.token, who.region])
    done = subprocess.run(
        [str(Path(program).parent / "python"), "-c", BOTOCORE],
        input=content,
        capture_output=True,
        text=True,
        check=True,
    )
    theirs, date = json.loads(done.stdout)
    assert date == "20130524T000000Z"
    mine = signed("GET", url, headers, who, WHEN)["Authorization"]
    assert mine.replace(",", ", ") == theirs


@pytest.fixture
def botocore(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """botocore of the servers' environment: its dependencies do not fit into that of the tests."""
    program = require(moto_program(), "botocore (make servers)")
    command = "import botocore, pathlib; print(pathlib.Path(botocore.__file__).parent.parent)"
    python = str(Path(program).parent / "python")
    done = subprocess.run([python, "-c", command], capture_output=True, text=True, check=True)
    monkeypatch.setattr(sys, "path", [*sys.path, done.stdout.strip()])
    importlib.invalidate_caches()
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "botocore"]:
        del sys.modules[name]


@pytest.fixture(params=["botocore", "alone"])
def botocore_or_not(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "alone":
        monkeypatch.setattr(_s3_account, "find_spec", lambda _: None)
    else:
        request.getfixturevalue("botocore")
    return str(request.param)


def test_settings_come_from_the_environment_or_the_files_of_a_profile(
    s3: S3Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, botocore_or_not: str
) -> None:
    del botocore_or_not
    assert find_account() == Account(
        s3.store.key, s3.store.secret, "", "us-east-1", s3_endpoint(s3)
    )
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = A\naws_secret_access_key = B\n"
        "[grid]\naws_access_key_id = C\naws_secret_access_key = D%x\naws_session_token = E\n"
    )
    (tmp_path / "config").write_text(
        "[default]\nregion = eu-west-1\n[profile grid]\nregion = xx-1\n"
        "endpoint_url = https://s3.example.org/\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert find_account().key == s3.store.key
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "DEFAULT_REGION", "ENDPOINT_URL"):
        monkeypatch.delenv(f"AWS_{name}")
    assert find_account() == Account("A", "B", "", "eu-west-1", "")
    monkeypatch.setenv("AWS_PROFILE", "grid")
    assert find_account() == Account("C", "D%x", "E", "xx-1", "https://s3.example.org")
    assert "D%x" not in repr(find_account())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "F")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "G")
    assert find_account().token == ""  # a token of another key would spoil the signature
    (tmp_path / "credentials").write_text("secret without a section")
    with pytest.raises(UsageError, match="credentials cannot be read: MissingSection") as caught:
        find_account()
    assert "secret without" not in str(caught.value)


def s3_endpoint(s3: S3Place) -> str:
    return f"http://127.0.0.1:{s3.port}"


@pytest.mark.parametrize(
    ("bucket", "url"),
    [
        ("events", "https://events.s3.eu-west-1.amazonaws.com/a/b%20c.root"),
        ("my.events", "https://s3.eu-west-1.amazonaws.com/my.events/a/b%20c.root"),
    ],
)
def test_addresses_at_amazon(
    s3: S3Place, bucket: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    place = S3Transport(f"s3://{bucket}/a/b c.root", Remote())
    assert place._prepare("GET", {})[0] == url


def test_urls_that_are_none() -> None:
    for url in ("s3:///key", "s3://key:secret@bucket/key"):
        with pytest.raises(UsageError, match="s3://bucket/key") as caught:
            split_s3(url)
        assert "secret@" not in str(caught.value)


def test_more_objects_than_one_answer_lists(s3: S3Place) -> None:
    names = [f"many/f {number}+.root" for number in range(3)]
    for name in names:
        s3.store.put("listing", name, b"x")
    found = [path for path, _ in expand_paths("s3://listing/many/*.root")]
    assert found == [f"s3://listing/{name}" for name in names]
    assert list(list_keys("listing", "many/f", Remote(), at_once=1)) == names
    assert list(list_keys("listing", "none", Remote(), at_once=1)) == []


def test_without_keys_nothing_is_signed(s3: S3Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    place = S3Transport("s3://events/f.root", Remote())
    assert place._prepare("GET", {"Range": "bytes=0-1"})[1] == {"Range": "bytes=0-1"}


def test_both_signatures_are_accepted(s3: S3Place, botocore_or_not: str) -> None:
    """moto checks the request, whoever signed it."""
    del botocore_or_not
    s3.store.put("signed", "f.root", b"content")
    assert list(list_keys("signed", "f", Remote())) == ["f.root"]


@pytest.mark.usefixtures("botocore")
def test_botocore_signs_when_it_is_there() -> None:
    sent = sign("GET", f"{HOST}/test.txt", {"Range": "bytes=0-9", "If-Match": '"a"'}, EXAMPLE)
    assert "if-match" in sent["Authorization"]
    assert sent["If-Match"] == '"a"'
    assert sent["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/")


@pytest.mark.usefixtures("botocore")
def test_credentials_of_a_program(
    s3: S3Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A profile that names a program for its keys, as single sign-on tools do: botocore's work."""
    answer = '{"Version": 1, "AccessKeyId": "P", "SecretAccessKey": "Q", "SessionToken": "R"}'
    (tmp_path / "answer.json").write_text(answer)
    (tmp_path / "config").write_text(
        f"[profile sso]\nregion = xx-2\ncredential_process = cat {tmp_path / 'answer.json'}\n"
    )
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "sso")
    assert find_account() == Account("P", "Q", "R", "xx-2", s3_endpoint(s3))
    monkeypatch.setenv("AWS_PROFILE", "absent")
    with pytest.raises(UsageError, match="credentials of s3:// cannot be found.*absent"):
        find_account()
