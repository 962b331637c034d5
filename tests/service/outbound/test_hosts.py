"""Addresses that a caller's word must not make the service connect to."""

import pytest

from service.outbound.hosts import Hosts, Refused, is_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",  # where clouds answer with credentials
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:169.254.169.254",
        "::ffff:0:169.254.169.254",
        "::169.254.169.254",
        "::8.8.8.8",
        "64:ff9b::169.254.169.254",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::a00:1",
        "2002:a9fe:a9fe::1",
        "2002:808:808::1",
        "2001:0:808:808::1",
    ],
)
def test_an_address_of_another_network_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_an_address_of_the_internet_is_taken(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"])
def test_such_an_address_is_connected_to_only_where_it_is_listed_itself(host: str) -> None:
    listed = Hosts((host,), "image")
    url = listed.check(f"http://[{host}]/")
    assert listed.address(url) == (host, 80)
    with pytest.raises(Refused):
        Hosts(("elsewhere.example",), "image").address(url)
