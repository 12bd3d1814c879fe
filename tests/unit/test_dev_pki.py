"""Certificates and kubeconfigs of the local cluster."""

import base64
import json
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from dev.cluster.kubeconfig import admin_kubeconfig, write_kubeconfig
from dev.cluster.pki import Authority, Identity

SERVER = Identity(name="server", user="server", hosts=["127.0.0.1", "node0"])


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_user_and_group_are_what_the_api_server_reads_them_from(tmp_path: Path) -> None:
    certificate, _ = Authority(tmp_path).issue(Identity(name="admin", user="admin", group="system:masters"))

    assert load(certificate).subject.rfc4514_string() == "O=system:masters,CN=admin"


def test_a_certificate_names_its_hosts_and_is_signed_by_the_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = load(authority.issue(SERVER)[0])

    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["127.0.0.1", "node0"]
    certificate.verify_directly_issued_by(load(authority.certificate))


def test_python_trusts_the_pair(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue(SERVER)

    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.load_cert_chain(certificate, key)


def test_a_second_use_of_a_folder_gives_the_same_certificates(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in Authority(tmp_path).issue(SERVER)]
    token_key = Authority(tmp_path).service_account_key().read_bytes()

    assert [path.read_bytes() for path in Authority(tmp_path).issue(SERVER)] == first
    assert Authority(tmp_path).service_account_key().read_bytes() == token_key


def test_other_hosts_need_another_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    before = load(authority.issue(SERVER)[0]).serial_number

    certificate, _ = authority.issue(Identity(name="server", user="server", hosts=["10.244.0.1"]))

    assert load(certificate).serial_number != before


def test_only_the_owner_can_read_keys(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.issue(SERVER)
    authority.service_account_key()

    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("*.key")} == {0o600}


def test_a_kubeconfig_needs_no_other_file(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    certificate, key = authority.issue(Identity(name="admin", user="admin"))

    path = write_kubeconfig(
        tmp_path / "config",
        server="https://127.0.0.1:6443",
        authority=authority.certificate,
        certificate=certificate,
        key=key,
    )

    content = json.loads(path.read_text())
    assert content["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:6443",
        "certificate-authority-data": base64.b64encode(authority.certificate.read_bytes()).decode(),
    }
    assert base64.b64decode(content["users"][0]["user"]["client-key-data"]) == key.read_bytes()


def test_a_named_kubeconfig_wins_and_plain_KUBECONFIG_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    monkeypatch.setenv("KUBECONFIG", "/production")
    monkeypatch.delenv("KUBETUNE_KUBECONFIG", raising=False)
    assert admin_kubeconfig() == Path("/cache/kubetune/cluster/kubeconfig/admin.yaml")

    monkeypatch.setenv("KUBETUNE_KUBECONFIG", "/mine")
    assert admin_kubeconfig() == Path("/mine")
