"""An OpenID Connect issuer on the loopback: its document, its keys, and tokens that it signed."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.canaries import secret

AUDIENCE = "purple-sector"


class Issuer:
    """Serves what it has at the moment; ``requests`` are the paths that were fetched."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.keys = {"one": rsa.generate_private_key(65537, 2048)}
        self.document: dict[str, Any] = {}
        self.redirects = self.down = False
        self.url = ""
        self.challenges: dict[str, str] = {}  # of the codes that were given out

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
        headers = {"kid": kid, **(header or {})}
        return secret(jwt.encode(merged, key, algorithm="RS256", headers=headers))

    def answer(self, path: str) -> dict[str, Any] | None:
        if path == "/.well-known/openid-configuration":
            places = {
                "jwks_uri": "keys",
                "authorization_endpoint": "authorize",
                "token_endpoint": "token",
            }
            own = {name: f"{self.url}/{place}" for name, place in places.items()}
            return {"issuer": self.url} | own | self.document
        if path == "/keys":
            return {"keys": [self._public(kid) for kid in self.keys]}
        return None

    def lead_back(self, query: dict[str, str]) -> str:
        """The address of a browser that has logged in here: of the page, with a code."""
        code = f"code-{len(self.challenges)}"
        self.challenges[code] = query["code_challenge"]
        assert query["code_challenge_method"] == "S256"
        answer = {"code": code, "state": query["state"], "iss": self.url}
        return f"{query['redirect_uri']}?{urlencode(answer)}"

    def redeem(self, form: dict[str, str]) -> dict[str, str] | None:
        """The tokens for a code, if its verifier is right, once."""
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if self.challenges.pop(form["code"], None) != challenge:
            return None
        return {"access_token": self.token(), "id_token": self.token(aud=form["client_id"])}

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
            place = urlsplit(self.path)
            if place.path == "/authorize":
                self.redirect(issuer.lead_back(dict(parse_qsl(place.query))))
            elif issuer.redirects:
                self.redirect(f"{issuer.url}/elsewhere")
            else:
                self.give(None if issuer.down else issuer.answer(self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            self.give(issuer.redeem(dict(parse_qsl(body))))

        def redirect(self, address: str) -> None:
            self.send_response(302)
            self.send_header("location", address)
            self.end_headers()

        def give(self, found: dict[str, Any] | None) -> None:
            self.send_response(200 if found else 503)
            self.send_header("access-control-allow-origin", "*")
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
