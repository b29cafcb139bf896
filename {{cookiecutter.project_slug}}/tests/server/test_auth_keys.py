"""The issuer's keys over time, by a clock of the test's own; and which of them are taken."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest


class Source:
    """What `KeySet` fetches from; `gate` holds a fetch back."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.keys: dict[str | None, str] = {"a": "pem-a", "b": "pem-b"}
        self.fetches = 0
        self.down = False
        self.gate: asyncio.Event | None = None

    async def fetch(self) -> dict[str | None, str]:
        self.fetches += 1
        if self.gate:
            await self.gate.wait()
        if self.down:
            raise OSError("unreachable")
        return dict(self.keys)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def keys(package: Any) -> Any:
    return package("auth.keys")


@pytest.fixture
def key_set(keys: Any, source: Source) -> Callable[[], Any]:
    def build() -> Any:
        return keys.KeySet(source.fetch, str.upper, max_age=600, grace=3600, clock=lambda: source.now)

    return build


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_many_at_once_are_one_fetch(source: Source, key_set: Callable[[], Any]) -> None:
    async def run() -> None:
        found = key_set()
        assert await asyncio.gather(*(found.find("a") for _ in range(50))) == ["PEM-A"] * 50
        source.now += 599
        assert await found.find("b") == "PEM-B"
        assert source.fetches == 1

    asyncio.run(run())


def test_a_new_key_is_found_without_waiting_for_the_old_ones_to_age(
    source: Source, key_set: Callable[[], Any]
) -> None:
    async def run() -> None:
        found = key_set()
        await found.find("a")
        source.keys["c"] = "pem-c"
        source.now += 10
        assert await found.find("c") == "PEM-C"
        assert source.fetches == 2

    asyncio.run(run())


def test_invented_key_ids_are_no_flood(source: Source, key_set: Callable[[], Any]) -> None:
    async def run() -> None:
        found = key_set()
        for number in range(200):
            assert await found.find(f"invented-{number}") is None
        assert source.fetches == 1
        source.now += 9.9
        assert await found.find("invented") is None
        assert source.fetches == 1
        source.now += 0.1
        assert await found.find("invented") is None
        assert source.fetches == 2

    asyncio.run(run())


def test_a_withdrawn_key_ends_with_the_next_fetch(source: Source, key_set: Callable[[], Any]) -> None:
    async def run() -> None:
        found = key_set()
        await found.find("a")
        del source.keys["a"]
        source.now += 600
        # The renewal is in the background: this one call still has the old key.
        assert await found.find("a") == "PEM-A"
        await settled()
        assert await found.find("a") is None
        assert await found.find("b") == "PEM-B"

    asyncio.run(run())


def test_old_keys_serve_for_the_grace_period_and_then_no_more(
    source: Source, key_set: Callable[[], Any], keys: Any
) -> None:
    async def run() -> None:
        found = key_set()
        await found.find("a")
        source.down = True
        for age in (600, 1200, 4199):
            source.now = 1000 + age
            assert await found.find("a") == "PEM-A"
            await settled()
        assert source.fetches == 4
        source.now = 1000 + 4200
        with pytest.raises(keys.KeysUnavailableError):
            await found.find("a")
        source.now += 20
        with pytest.raises(keys.KeysUnavailableError) as caught:
            await found.find("a")
        assert caught.value.retry_after == 10
        source.down = False
        source.now += 10
        assert await found.find("a") == "PEM-A"

    asyncio.run(run())


def test_a_renewal_holds_nobody_up(source: Source, key_set: Callable[[], Any]) -> None:
    async def run() -> None:
        found = key_set()
        await found.find("a")
        source.gate = asyncio.Event()
        source.now += 600
        assert await asyncio.wait_for(found.find("a"), 1) == "PEM-A"
        source.gate.set()
        await settled()
        assert source.fetches == 2

    asyncio.run(run())


def test_nobody_knows_a_new_key_while_the_issuer_is_down(
    source: Source, key_set: Callable[[], Any], keys: Any
) -> None:
    async def run() -> None:
        found = key_set()
        await found.find("a")
        source.down = True
        source.now += 10
        with pytest.raises(keys.KeysUnavailableError):
            await found.find("new")
        assert await found.find("a") == "PEM-A"

    asyncio.run(run())


def test_an_issuer_that_was_never_reached(source: Source, key_set: Callable[[], Any], keys: Any) -> None:
    async def run() -> None:
        found = key_set()
        source.down = True
        for _ in range(50):
            with pytest.raises(keys.KeysUnavailableError):
                await found.find("a")
        assert source.fetches == 1
        source.down = False
        source.now += 10
        assert await found.find("a") == "PEM-A"

    asyncio.run(run())


def test_a_caller_who_hangs_up_ends_no_fetch(source: Source, key_set: Callable[[], Any]) -> None:
    async def run() -> None:
        found = key_set()
        source.gate = asyncio.Event()
        first, second = (asyncio.create_task(found.find("a")) for _ in range(2))
        await settled()
        first.cancel()
        await settled()
        source.gate.set()
        assert await second == "PEM-A"
        assert source.fetches == 1

    asyncio.run(run())


def test_a_fetch_that_hangs_is_given_up(
    source: Source, key_set: Callable[[], Any], keys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "FETCH_SECONDS", 0.05)

    async def run() -> None:
        source.gate = asyncio.Event()
        with pytest.raises(keys.KeysUnavailableError):
            await asyncio.wait_for(key_set().find("a"), 5)

    asyncio.run(run())


def test_no_key_id_is_the_only_key(source: Source, key_set: Callable[[], Any]) -> None:
    async def run() -> None:
        assert await key_set().find(None) is None
        source.keys = {"a": "pem-a"}
        assert await key_set().find(None) == "PEM-A"
        source.keys = {None: "pem"}
        assert await key_set().find(None) == "PEM"
        assert await key_set().find("a") is None

    asyncio.run(run())


def test_which_keys_are_taken(keys: Any, shared_issuer: Any) -> None:
    good, small = shared_issuer.key.jwk(), shared_issuer.Key("small", 1024).jwk()
    plain = {name: value for name, value in good.items() if name not in {"use", "alg"}}
    found = keys.usable_keys(
        {
            "keys": [
                {**plain, "kid": "plain"},
                good,
                {**shared_issuer.attacker.jwk(), "kid": "key-1"},
                {**good, "kid": "encryption", "use": "enc"},
                {**good, "kid": "other algorithm", "alg": "RS512"},
                {**good, "kid": "symmetric", "kty": "oct", "k": "c2VjcmV0"},
                {**good, "kid": "broken", "n": "!"},
                {**good, "kid": "without a modulus", "n": None},
                small,
                shared_issuer.EcKey("curve").jwk(),
                "text",
                None,
            ]
        },
        "RS256",
    )
    assert set(found) == {"plain", "key-1"}
    assert found["key-1"].encode() == shared_issuer.key.pem()


def test_private_members_are_left_behind(keys: Any, shared_issuer: Any) -> None:
    leaked = {**shared_issuer.key.jwk(), "d": "AQAB", "p": "AQAB", "q": "AQAB"}
    assert keys.usable_keys({"keys": [leaked]}, "RS256")["key-1"].encode() == shared_issuer.key.pem()


@pytest.mark.parametrize("document", [{}, {"keys": []}, {"keys": {}}, {"keys": None}, {"keys": [{}]}])
def test_no_keys_are_an_outage(keys: Any, document: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no key for RS256"):
        keys.usable_keys(document, "RS256")


def test_curves_belong_to_algorithms(keys: Any, shared_issuer: Any) -> None:
    document = {"keys": [shared_issuer.EcKey("p-256").jwk(), shared_issuer.EdKey("ed").jwk()]}
    assert set(keys.usable_keys(document, "ES256")) == {"p-256"}
    assert set(keys.usable_keys(document, "EdDSA")) == {"ed"}
    with pytest.raises(ValueError, match="no key for ES384"):
        keys.usable_keys(document, "ES384")


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        [],
        {"issuer": "https://else.example", "jwks_uri": "OWN"},
        {"issuer": "OWN", "jwks_uri": "http://keys.example/keys"},
        {"issuer": "OWN", "jwks_uri": "file:///etc/passwd"},
        {"issuer": "OWN", "jwks_uri": None},
        {"issuer": "OWN"},
        {"issuer": "OWN", "jwks_uri": "OWN", "filler": "x" * (1024 * 1024)},
    ],
    ids=lambda document: str(document)[:60],
)
def test_a_discovery_document_must_be_the_issuers(keys: Any, issuer: Any, document: Any) -> None:
    if isinstance(document, dict):
        own = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/.well-known/jwks.json"}
        document = {name: own.get(name, "") if value == "OWN" else value for name, value in document.items()}
    issuer.documents["/us-east-1_example/.well-known/openid-configuration"] = document
    with pytest.raises(Exception, match=r"issuer|jwks_uri|JSON object|500|bytes"):
        asyncio.run(keys.keys_of(issuer.url, None, "RS256")())
    assert len(issuer.requests) == 1
