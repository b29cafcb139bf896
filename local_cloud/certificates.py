"""A certificate authority that lives as long as one cloud and certifies every host name clients ask for."""

from __future__ import annotations

import ipaddress
import re
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*")
_LIFETIME = timedelta(days=30)
_CLOCK_SKEW = timedelta(minutes=5)


class CertificateAuthority:
    """Signs a server certificate per host name, on first use, with one shared key.

    ``directory`` receives ``ca-bundle.pem`` (the authority's own certificate alone: clients of the cloud
    talk to nothing else) and one PEM file per name. Keys never leave it.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._authority_key = ec.generate_private_key(ec.SECP256R1())
        self._server_key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local cloud certificate authority")])
        self._certificate = self._self_signed()
        self._contexts: dict[tuple[str, ...], ssl.SSLContext] = {}
        self._names_of: Callable[[str], set[str]] = lambda _host: set()
        self._lock = threading.Lock()
        self.bundle_path = directory / "ca-bundle.pem"
        """PEM file with the authority's certificate: what clients must trust."""
        self.bundle_path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def ask_names(self, names_of: Callable[[str], set[str]]) -> None:
        """Let hosts have certificates for other names than their own; an empty set means their own."""
        self._names_of = names_of

    def server_context(self) -> ssl.SSLContext:
        """Return a server-side TLS context: loopback names by default, any other name by SNI."""
        context = self._new_context("localhost", ["localhost"], ["127.0.0.1", "::1"])
        context.sni_callback = self._choose
        return context

    def _choose(
        self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _initial: ssl.SSLContext
    ) -> None:
        host = (name or "").lower()
        if host and host != "localhost" and _HOST_NAME.fullmatch(host):
            connection.context = self.context_for(host)

    def context_for(self, host: str) -> ssl.SSLContext:
        """Return the TLS context of ``host`` (lower case), whose certificate is minted once."""
        names = tuple(sorted(self._names_of(host))) or (host,)
        with self._lock:
            context = self._contexts.get(names)
            if context is None:
                # The first name may be a wildcard, which makes no file name.
                file_name = names[0].replace("*", "_")
                context = self._contexts[names] = self._new_context(file_name, list(names), [])
            return context

    def _new_context(self, file_name: str, names: list[str], addresses: list[str]) -> ssl.SSLContext:
        path = self._directory / f"{file_name}.pem"
        path.touch(mode=0o600)
        path.write_bytes(self._server_certificate(names, addresses))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(path)
        # HTTP/1.1 alone: every AWS SDK speaks it, and streamed answers then map to chunks one to one.
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _self_signed(self) -> x509.Certificate:
        public_key = self._authority_key.public_key()
        return (
            self._builder(self._name, public_key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(key_cert_sign=True), critical=True)
            .sign(self._authority_key, hashes.SHA256())
        )

    def _server_certificate(self, names: list[str], addresses: list[str]) -> bytes:
        subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "local cloud")])
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        certificate = (
            self._builder(subject, self._server_key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(key_cert_sign=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .sign(self._authority_key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM) + self._server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def _builder(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(now + _LIFETIME)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._authority_key.public_key()),
                critical=False,
            )
        )


def _key_usage(*, key_cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        encipher_only=False,
        decipher_only=False,
    )
