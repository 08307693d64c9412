"""The city's own sign-in, by OpenID Connect: authorization code with PKCE, state and nonce. It says who somebody is; what they may
see is said by their account here. Authlib speaks the protocol, joserfc verifies the tokens."""

import base64
import secrets
import time
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from shared.config.table import ConfigError, parse_table

TRIP = "liuyan-trip"
BACK = "/sign-in/oidc/back"
WAIT_SECONDS = 10
KEPT_SECONDS = 3600.0  # what the provider says of itself
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
ITEMS = ("issuer", "client_id", "client_secret_file", "claim", "name")
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class OidcError(Exception):
    """Nobody was signed in; the message is one line for who wanted to be."""


class OidcConfig(Struct, frozen=True):
    """`claim`: what of the provider's statement is the name of the account here. `name`: what stands on the button."""

    issuer: str
    client_id: str
    secret: str
    claim: str
    name: str


class Trip(Struct, frozen=True):
    """What the browser keeps while it is away; whoever comes back without it did not set out from here."""

    state: str
    nonce: str
    verifier: str
    next: str


def parse_oidc(text: str, file: str, secret: str | None) -> OidcConfig:
    """`secret`: that of the environment, which stands above the file that `client_secret_file` names. Raises ConfigError."""
    table = parse_table(text, file, ITEMS)
    items = {"claim": "preferred_username", "name": "统一身份认证登录", **table.items}
    for item in ("issuer", "client_id", "claim", "name"):
        value = items.get(item)
        table.require(isinstance(value, str) and value.strip(), "应为非空的文字", item)
    parts = urlsplit(items["issuer"])
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    table.require(safe and parts.netloc, "应为 https:// 开头的地址", "issuer")
    named = items.get("client_secret_file")
    if secret is None:
        missing = "应为存有密钥的文件的路径；或者用环境变量 LIUYAN_OIDC_SECRET 给出密钥"
        table.require(isinstance(named, str) and named, missing, "client_secret_file")
        secret = _read_secret(str(named), file)
    return OidcConfig(items["issuer"], items["client_id"], secret, items["claim"], items["name"])


def _read_secret(named: str, file: str) -> str:
    try:
        with open(named, encoding="utf-8") as opened:
            secret = opened.read().strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}：client_secret_file：读不出来，请核对路径和权限") from error
    if not secret:
        raise ConfigError(f"{file}：client_secret_file：文件是空的，应为密钥")
    return secret


def new_trip(next_: str) -> Trip:
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    return Trip(state, nonce, verifier, next_)


def write_trip(trip: Trip) -> str:
    """As the value of a cookie."""
    return base64.urlsafe_b64encode(msgspec.json.encode(trip)).decode()


def read_trip(cookie: str) -> Trip | None:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cookie), type=Trip) if cookie else None
    except (ValueError, msgspec.DecodeError):
        return None


class Provider:
    """The provider, asked over the network. Raises OidcError."""

    def __init__(self, config: OidcConfig, public_url: str) -> None:
        import authlib.integrations.requests_client  # noqa: F401 - what is missing is told at the start
        import joserfc  # noqa: F401

        self.name = config.name
        self._config, self._redirect = config, public_url.rstrip("/") + BACK
        self._kept: dict[str, tuple[float, Any]] = {}

    def where(self, trip: Trip) -> str:
        """Where the browser is sent."""
        with self._session() as session:
            endpoint = self._metadata(session)["authorization_endpoint"]
            url, _ = session.create_authorization_url(
                endpoint, state=trip.state, nonce=trip.nonce, code_verifier=trip.verifier
            )
        return str(url)

    def who(self, trip: Trip, code: str, issuer: str | None, now: datetime) -> str:
        """The name of the account of who came back with the code. `issuer`: who says that it sent them, where it says so."""
        if not code:
            raise OidcError("没有登录：统一身份认证没有给出凭据")
        if issuer is not None and issuer != self._config.issuer:
            raise OidcError("没有登录：答复来自别的认证服务")
        from authlib.common.errors import AuthlibBaseError
        from joserfc.errors import JoseError
        from requests import RequestException

        try:
            with self._session() as session:
                metadata = self._metadata(session)
                token = session.fetch_token(
                    metadata["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=trip.verifier,
                    timeout=WAIT_SECONDS,
                    allow_redirects=False,
                )
                claims = self._claims(session, str(token.get("id_token", "")), trip.nonce, now)
        except RequestException as error:
            raise OidcError("统一身份认证没有应答，请稍后再试") from error
        except (AuthlibBaseError, JoseError, KeyError, ValueError) as error:
            raise OidcError("没有登录：统一身份认证的答复不能采信，请再试一次") from error
        name = claims.get(self._config.claim)
        if not isinstance(name, str) or not name:
            raise OidcError(f"没有登录：统一身份认证没有给出 {self._config.claim}，请找管理员")
        return name

    def _claims(self, session: Any, id_token: str, nonce: str, now: datetime) -> dict[str, Any]:
        """What the token says, when the provider has signed it, for us, for this trip, and it has not expired."""
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        uri = self._metadata(session)["jwks_uri"]
        try:
            token = jwt.decode(id_token, KeySet.import_key_set(self._get(session, uri)), algorithms=list(ALGORITHMS))
        except (JoseError, ValueError):  # signed with a key that is new
            token = jwt.decode(
                id_token, KeySet.import_key_set(self._get(session, uri, anew=True)), algorithms=list(ALGORITHMS)
            )
        registry = jwt.JWTClaimsRegistry(
            now=int(now.timestamp()),
            leeway=60,
            iss={"essential": True, "value": self._config.issuer},
            aud={"essential": True, "value": self._config.client_id},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        registry.validate(token.claims)
        if token.claims.get("azp", self._config.client_id) != self._config.client_id:
            raise ValueError("the token was made for another client")
        return dict(token.claims)

    def _metadata(self, session: Any) -> dict[str, Any]:
        from requests import RequestException

        url = self._config.issuer.rstrip("/") + "/.well-known/openid-configuration"
        try:
            found = self._get(session, url)
        except (RequestException, ValueError) as error:
            raise OidcError("统一身份认证没有应答，请稍后再试") from error
        if not isinstance(found, dict) or found.get("issuer") != self._config.issuer:
            self._kept.pop(url, None)
            raise OidcError("统一身份认证的配置不对：issuer 与它自己说的不同，请找管理员")
        return found

    def _get(self, session: Any, url: str, anew: bool = False) -> Any:
        at, found = self._kept.get(url, (0.0, None))
        if found is None or anew or time.monotonic() - at > KEPT_SECONDS:
            answer = session.get(url, withhold_token=True, timeout=WAIT_SECONDS)
            answer.raise_for_status()
            found = answer.json()
            self._kept[url] = (time.monotonic(), found)
        return found

    def _session(self) -> Any:
        from authlib.integrations.requests_client import OAuth2Session

        session = OAuth2Session(
            self._config.client_id,
            self._config.secret,
            scope="openid profile",
            redirect_uri=self._redirect,
            code_challenge_method="S256",
        )
        session.trust_env = False
        return session
