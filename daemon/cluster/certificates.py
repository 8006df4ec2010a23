"""Certificates of a cluster: who has one that its authority signed takes part, and everything is encrypted."""

from __future__ import annotations

import datetime
import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from distributed.security import Security

from daemon.errors import ConfigError, OutputError
from daemon.fs.files import explain

ROLES = ("scheduler", "coordinator", "node")
_AUTHORITY, _CERTIFICATE, _KEY = "ca.pem", "cert.pem", "key.pem"
_VALID_DAYS = 3650


def make(folder: Path) -> None:
    """Make an authority and a folder of certificates for each role below a new folder; keys are private (0600).

    Raises:
        OutputError: the folder exists, or cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True)
        authority_key, authority = _authority()
        _write(folder / "ca-key.pem", _pem(authority_key), 0o600)
        for role in ROLES:
            (folder / role).mkdir(mode=0o700)
            key, certificate = _signed(role, authority_key, authority)
            _write(folder / role / _AUTHORITY, authority.public_bytes(serialization.Encoding.PEM), 0o644)
            _write(folder / role / _CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
            _write(folder / role / _KEY, _pem(key), 0o600)
    except FileExistsError as exc:
        raise OutputError(
            f"{folder} exists; name a new folder, since certificates are never replaced"
        ) from exc
    except OSError as exc:
        raise OutputError(f"the certificates cannot be written to {folder}: {explain(exc)}") from exc


def security(url: str, folder: Path) -> Security:
    """Return what a scheduler's address needs: certificates from a folder for tls://, nothing for tcp:// on loopback.

    Raises:
        ConfigError: a file is missing, or others can read the key.
    """
    if url.startswith("tcp://"):
        return Security(require_encryption=False)
    authority, certificate, key = (folder / name for name in (_AUTHORITY, _CERTIFICATE, _KEY))
    for path in (authority, certificate, key):
        if not path.is_file():
            raise ConfigError(
                f"{path} is missing; make certificates with `fawkesd cluster certs FOLDER`, and copy one of the "
                f"folders in it to {folder}"
            )
    if stat.S_IMODE(key.stat().st_mode) & 0o077:
        raise ConfigError(f"others can read the private key {key}; run `chmod 600 {key}`")
    mine = {
        f"tls_{role}_{part}": str(path)
        for role in ("scheduler", "worker", "client")
        for part, path in (("cert", certificate), ("key", key))
    }
    return Security(tls_ca_file=str(authority), require_encryption=True, **mine)


def _authority() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("fawkesd cluster")
    uses = {"key_cert_sign": True, "crl_sign": True}
    builder = _builder(name, name, key.public_key(), uses).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    return key, builder.sign(key, hashes.SHA256())


def _signed(
    role: str, authority_key: ec.EllipticCurvePrivateKey, authority: x509.Certificate
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(role), authority.subject, key.public_key(), {"digital_signature": True})
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return key, builder.add_extension(signer, critical=False).sign(authority_key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, uses: dict[str, bool]
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks at home differ
        .not_valid_after(now + datetime.timedelta(days=_VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.KeyUsage(**{use: uses.get(use, False) for use in every}), critical=True)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    path.touch(mode=mode)
    path.write_bytes(content)
