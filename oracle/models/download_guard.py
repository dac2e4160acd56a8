"""Where a download may connect to.

A host name, or a server's redirect, must not lead a node into its operator's own network. So every hop's name is
resolved here, each of its addresses must be public, and the connection goes to exactly the address that was checked
(a second look-up could give another). https only; plain http and loopback only where the operator typed them.
"""

import ipaddress
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from oracle.errors import DownloadFailed

MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)


@contextmanager
def open_checked(client: httpx.Client, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
    """A streamed GET of `url` over at most MAX_REDIRECTS checked redirects.

    headers: all go to the first host; `Authorization` goes to no other.
    Raises DownloadFailed for a URL that is not allowed, httpx.TransportError.
    """
    first = current = _parsed(url)
    loopback_allowed = _is_loopback_name(first.host)  # only if the operator named this machine
    for _ in range(MAX_REDIRECTS + 1):
        sent = {k: v for k, v in headers.items() if k.lower() != "authorization" or current.netloc == first.netloc}
        response = _get(client, current, sent, loopback_allowed)
        try:
            if response.status_code not in REDIRECTS or "location" not in response.headers:
                yield response
                return
            current = _parsed(str(current.join(response.headers["location"])))
        finally:
            response.close()
    raise DownloadFailed(f"more than {MAX_REDIRECTS} redirects")


def _parsed(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise DownloadFailed("not a URL") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise DownloadFailed("only https addresses without user names are fetched")
    return parsed


def _get(client: httpx.Client, url: httpx.URL, headers: Mapping[str, str], loopback_allowed: bool) -> httpx.Response:
    addresses = _checked_addresses(url, loopback_allowed)
    request_headers = {**headers, "Host": url.netloc.decode(), "Accept-Encoding": "identity"}
    for index, address in enumerate(addresses):
        request = client.build_request(
            "GET", url.copy_with(host=address), headers=request_headers, extensions={"sni_hostname": url.host}
        )
        try:
            return client.send(request, stream=True)
        except httpx.ConnectError:
            if index == len(addresses) - 1:
                raise
    raise AssertionError("a name resolves to at least one address")


def _checked_addresses(url: httpx.URL, loopback_allowed: bool) -> list[str]:
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DownloadFailed(f"the name {url.host!r} cannot be resolved") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    parsed = [ipaddress.ip_address(address) for address in addresses]
    if loopback_allowed and all(address.is_loopback for address in parsed):
        return addresses
    if url.scheme != "https":
        raise DownloadFailed("plain http is fetched from this machine only; use https")
    for address in parsed:
        if not _is_public(address):
            raise DownloadFailed(f"{url.host!r} leads to {address}, which is not a public address")
    return addresses


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return _is_public(inner)
    return address.is_global and not address.is_multicast


def _is_loopback_name(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
