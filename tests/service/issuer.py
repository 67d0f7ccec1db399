"""An OpenID Connect issuer on the loopback: its document, its keys, and tokens that it signed."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

AUDIENCE = "purple-sector"


class Issuer:
    """Serves what it has at the moment; ``requests`` are the paths that were fetched."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.keys = {"one": rsa.generate_private_key(65537, 2048)}
        self.document: dict[str, Any] = {}
        self.redirects = self.down = False
        self.url = ""

    def token(self, kid: str = "one", header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that is valid for a minute, but for what is given."""
        merged = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ann",
            "role": "driver",
            "exp": time.time() + 60,
        } | claims
        key = self.keys.get(kid, self.keys["one"])
        return jwt.encode(merged, key, algorithm="RS256", headers={"kid": kid, **(header or {})})

    def answer(self, path: str) -> dict[str, Any] | None:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"} | self.document
        if path == "/keys":
            return {"keys": [self._public(kid) for kid in self.keys]}
        return None

    def _public(self, kid: str) -> dict[str, Any]:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.keys[kid].public_key()))
        return public | {"kid": kid, "use": "sig", "alg": "RS256"}


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    """Serve an issuer on a port of the kernel's choice."""
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.requests.append(self.path)
            found = None if issuer.down else issuer.answer(self.path)
            if issuer.redirects:
                self.send_response(302)
                self.send_header("location", f"{issuer.url}/elsewhere")
            else:
                self.send_response(200 if found else 503)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
