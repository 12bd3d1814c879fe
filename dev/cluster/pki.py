"""Owns the certificates of one instance: an authority of its own, and one certificate for each program.

Nothing here is secret beyond the machine: an instance is thrown away with its keys.
"""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dev.cluster.files import ensure_file

_LIFETIME = datetime.timedelta(days=3650)
_CLOCK_SKEW = datetime.timedelta(minutes=5)
_OWNER_ONLY = 0o600


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Who a certificate is for."""

    name: str
    """The file name, without its ending."""
    user: str
    """The common name, which is the user name for the API server."""
    group: str | None = None
    """The organisation, which is the group for the API server."""
    hosts: Sequence[str] = ()
    """Names and addresses under which it serves."""


class Authority:
    """The certificate authority in a folder, made at first use; a second use gives the same certificates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate = folder / "ca.crt"
        self._key = folder / "ca.key"
        if not self.certificate.exists():
            self._create()

    def issue(self, identity: Identity) -> tuple[Path, Path]:
        """Return an identity's certificate and key, made unless they exist for the same hosts."""
        certificate, key = self.folder / f"{identity.name}.crt", self.folder / f"{identity.name}.key"
        if not (certificate.exists() and key.exists() and _hosts_of(certificate) == sorted(identity.hosts)):
            private = ec.generate_private_key(ec.SECP256R1())
            builder = _builder(_subject(identity), self._authority().subject, private.public_key())
            usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            if identity.hosts:
                names = x509.SubjectAlternativeName([_general_name(host) for host in identity.hosts])
                builder = builder.add_extension(names, critical=False)
            signed = builder.sign(self._authority_key(), hashes.SHA256())
            ensure_file(key, _pem_key(private), mode=_OWNER_ONLY)
            ensure_file(certificate, signed.public_bytes(serialization.Encoding.PEM))
        return certificate, key

    def service_account_key(self) -> Path:
        """Return the path of the key that signs the pods' tokens."""
        path = self.folder / "service-account.key"
        if not path.exists():
            # RSA, since many clients that check these tokens know only RS256.
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            ensure_file(path, _pem_key(key), mode=_OWNER_ONLY)
        return path

    def _create(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(Identity(name="ca", user="kubetune-dev"))
        builder = _builder(subject, subject, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        signed = builder.sign(key, hashes.SHA256())
        ensure_file(self._key, _pem_key(key), mode=_OWNER_ONLY)
        ensure_file(self.certificate, signed.public_bytes(serialization.Encoding.PEM))

    def _authority(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate.read_bytes())

    def _authority_key(self) -> ec.EllipticCurvePrivateKey:
        key = serialization.load_pem_private_key(self._key.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self._key} is not a key that this program made: delete {self.folder}")
        return key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFETIME)
    )


def _subject(identity: Identity) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, identity.user)]
    if identity.group:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, identity.group))
    return x509.Name(attributes)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _hosts_of(certificate: Path) -> list[str]:
    parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return sorted(str(name.value) for name in names)


def _pem_key(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
