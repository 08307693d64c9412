"""A small OpenID Connect provider on this machine: codes, PKCE, client secret and signatures as the standards say; and, on request, lies."""

import hashlib
import json
import secrets
import threading
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "liuyan", "client-secret"


@cache
def _key() -> RSAKey:
    """One for all: making it takes as long as a test."""
    return RSAKey.generate_key(2048, {"kid": "one"}, private=True)


class Provider:
    """Signs everybody in as `user`. `lie` changes (header, claims, key) of the next tokens."""

    def __init__(self) -> None:
        self.key = _key()
        self.user = "zhang"
        self.lie: Callable[[dict[str, Any], dict[str, Any], Any], tuple[Any, Any, Any]] = lambda h, c, k: (h, c, k)
        self.codes: dict[str, dict[str, str]] = {}
        self.now: Callable[[], float] = time.time
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.issuer = self.says = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def visited(self, url: str) -> str:
        """What a browser that is sent to the URL, and signs in, comes back with: the query."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return urlencode({"code": code, "state": asked["state"]})

    def _token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        asked = self.codes.pop(form.get("code", ""), None)
        client, _, secret = b64decode(authorization.partition(" ")[2]).decode().partition(":")
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        right = (
            asked is not None
            and (client, unquote(secret)) == (CLIENT, SECRET)
            and form.get("grant_type") == "authorization_code"
            and form.get("redirect_uri") == asked["redirect_uri"]
            and urlsafe_b64encode(verifier).decode().rstrip("=") == asked["code_challenge"]
        )
        if not right or asked is None:
            return 400, {"error": "invalid_grant"}
        at = int(self.now())
        claims = {
            "iss": self.issuer, "sub": "u-1", "aud": CLIENT, "exp": at + 300, "iat": at, "nonce": asked["nonce"],
            "preferred_username": self.user,
        }  # fmt: skip
        header, claims, key = self.lie({"alg": "RS256", "kid": "one"}, claims, self.key)
        id_token = claims if isinstance(claims, str) else jwt.encode(header, claims, key, algorithms=[header["alg"]])
        return 200, {"access_token": "x", "token_type": "Bearer", "expires_in": 300, "id_token": id_token}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                """Nothing."""

            def answer(self, status: int, value: Any) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                if self.path == "/keys":
                    self.answer(200, {"keys": [provider.key.as_dict(private=False)]})
                elif self.path == "/.well-known/openid-configuration":
                    ends = {f"{name}_endpoint": f"{provider.issuer}/{name}" for name in ("authorization", "token")}
                    self.answer(200, {"issuer": provider.says, "jwks_uri": f"{provider.issuer}/keys", **ends})
                else:
                    self.answer(404, {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                self.answer(*provider._token(form, self.headers.get("Authorization", "")))

        return Handler
