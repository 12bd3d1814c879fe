"""Prove that the operator is ready and that its API is served; run by `helm test` in the operator's image."""

import json
import ssl
import sys
import urllib.request

API = "https://kubernetes.default.svc/apis/kubetune.dev/v1alpha1"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def get(url: str, **arguments: object) -> bytes:
    """Return the body of a URL."""
    with urllib.request.urlopen(url, timeout=10, **arguments) as answer:
        return answer.read()


def main(readyz: str) -> None:
    """Raise when something is missing."""
    get(readyz)
    with open(f"{ACCOUNT}/token") as file:
        headers = {"Authorization": f"Bearer {file.read()}"}
    tls = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")
    request = urllib.request.Request(API, headers=headers)
    served = [resource["name"] for resource in json.loads(get(request, context=tls))["resources"]]
    assert "finetunejobs" in served, served
    print("the operator is ready, and FineTuneJobs are served")


main(sys.argv[1])
