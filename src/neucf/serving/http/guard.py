"""Who may ask: the Host allow-list, the API key, and for writes the origin and the media type."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from neucf.errors import ConfigError

API_KEY = "NEUCF_API_KEY"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
OPEN_PATHS = ("/healthz",)
# Browsers answer it by asking for a name and a password; the password is the key.
CHALLENGE = {"WWW-Authenticate": 'Basic realm="neucf", charset="UTF-8"'}
# The page asks itself, where what it fetches is refused.
PAGE_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="neucf"'}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request goes no further."""

    status: int
    detail: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Guard:
    """The rules every request meets before anything else.

    Attributes:
        hosts: Names, without ports, that a Host header may have.
        any_address: Whether a Host header may also be any IP address, as where all addresses are listened on: no
            DNS name that an attacker controls is one.
        api_key: What everything but /healthz asks for; None asks for nothing.
    """

    hosts: frozenset[str] = frozenset(LOOPBACK_NAMES)
    any_address: bool = False
    api_key: str | None = None

    def refusal(self, scope: Scope) -> Refusal | None:
        """Returns why the request of an HTTP scope is refused, or None."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._known(host):
            return Refusal(400, "The Host header must be a name this service goes by. Allow it with --allow-host.")
        if scope["path"] not in OPEN_PATHS and self.api_key is not None and not self._has_key(headers):
            challenge = PAGE_CHALLENGE if headers.get("accept") == "application/json" else CHALLENGE
            return Refusal(401, "An API key is needed. Send it as `Authorization: Bearer KEY`.", challenge)
        if scope["method"] in SAFE_METHODS:
            return None
        origin = headers.get("origin")
        # The scheme may differ: a proxy in front often ends TLS.
        if origin is not None and not _same_host(origin, host):
            return Refusal(403, "A write must come from this service's own origin, or from no page at all.")
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json" and (has_body or media_type):
            return Refusal(415, "A write must have the Content-Type application/json.")
        return None

    def _known(self, host: str) -> bool:
        name = _name(host)
        return name in self.hosts or (self.any_address and _address(name) is not None)

    def _has_key(self, headers: Headers) -> bool:
        assert self.api_key is not None
        # Digests have one length, so that the comparison tells nothing, not even the key's length.
        wanted = hashlib.sha256(self.api_key.encode()).digest()
        return any(hmac.compare_digest(hashlib.sha256(key).digest(), wanted) for key in _presented(headers))


def make_guard(host: str, api_key: str | None, more_hosts: Iterable[str] = ()) -> Guard:
    """Returns the guard of a service that listens on `host`.

    Raises:
        ConfigError: If it can be reached from other machines and has no key, or the key is no plain text.
    """
    if api_key is not None and not (api_key and api_key.isascii() and api_key.isprintable() and " " not in api_key):
        raise ConfigError(f"{API_KEY} must be printable ASCII without blanks, and not empty; it is not.")
    if not is_loopback(host) and api_key is None:
        raise ConfigError(
            f"`--host` must be a loopback address where no API key is set; got {host}, which others can reach. "
            f"Set a key in the environment variable {API_KEY}."
        )
    address = _address(host)
    everywhere = address is not None and address.is_unspecified
    names = {*LOOPBACK_NAMES, host.lower(), *(_name(name) for name in more_hosts)}
    if everywhere:
        names.add(socket.gethostname().lower())
    return Guard(frozenset(names), everywhere, api_key)


def is_loopback(host: str) -> bool:
    """Returns whether only this machine can reach what listens on `host`."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _presented(headers: Headers) -> Iterator[bytes]:
    """Yields the keys a request presents: by X-API-Key, as a bearer token, or as a password."""
    # Headers are decoded as Latin-1, which gives back any byte.
    if "x-api-key" in headers:
        yield headers["x-api-key"].encode("latin-1")
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield value.strip().encode("latin-1")
    if scheme.lower() == "basic":
        try:
            yield base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return


def _same_host(origin: str, host: str) -> bool:
    try:
        ours, theirs = urlsplit(f"//{host}"), urlsplit(origin)
        port = {"http": 80, "https": 443}.get(theirs.scheme)
        return bool(theirs.hostname) and (theirs.hostname, theirs.port or port) == (ours.hostname, ours.port or port)
    except ValueError:
        return False


def _name(host: str) -> str:
    """Returns the name in a Host header, lower case, without port, brackets and the final dot; empty if malformed."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # reading it checks it
        return "" if parts.username or parts.path or parts.query else (parts.hostname or "").removesuffix(".")
    except ValueError:
        return ""


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None
