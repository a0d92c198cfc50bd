"""The client against the simulated router, over HTTP; `test_router_answers.py` has what no simulator says."""

import asyncio
import socket

import pytest

from tests.provisioning.support import FAST, WriteStates
from tests.simulated_router import PASSWORD, USERNAME, served
from wellnet_sse.errors import RouterRefusedError, RouterUnreachableError
from wellnet_sse.provisioning import RouterClient, WriteState
from wellnet_sse.provisioning.demo import demo_router_entries
from wellnet_sse.simulator import Behaviour, RouterSimulator

V4_MENUS = tuple(demo_router_entries())


def addresses(simulator: RouterSimulator, menu: str) -> set[str]:
    """Every address that the menu holds, as the router writes it."""
    fields = ("target", "remote-address", "address")
    return {item[field] for item in simulator.entries(menu) for field in fields if field in item}


@pytest.mark.parametrize("ignores_filters", [False, True])
@pytest.mark.parametrize("address", ["10.0.0.1", "10.0.0.10"])
async def test_all_of_an_address_goes_and_nothing_of_its_neighbours(
    simulator: RouterSimulator, router_url: str, routers: RouterClient, address: str, *, ignores_filters: bool
) -> None:
    """10.0.0.1 begins like 10.0.0.10: also a router that ignores the query loses just the one."""
    before = {menu: addresses(simulator, menu) for menu in V4_MENUS}
    simulator.behave(Behaviour(ignores_filters=ignores_filters))
    await routers.router(router_url).remove_address(address)
    for menu in V4_MENUS:
        assert before[menu] - addresses(simulator, menu) == {
            f"{address}/32" if menu == "queue/simple" else address
        }


async def test_a_queue_without_a_prefix_and_several_entries_of_one_menu_go_too(
    simulator: RouterSimulator, router_url: str, routers: RouterClient
) -> None:
    simulator.add("queue/simple", {"target": "10.0.0.3"})
    simulator.add("ip/firewall/address-list", {"list": "morosos", "address": "10.0.0.3"})
    await routers.router(router_url).remove_address("10.0.0.3")
    assert not {"10.0.0.3", "10.0.0.3/32"} & addresses(simulator, "queue/simple")
    assert "10.0.0.3" not in addresses(simulator, "ip/firewall/address-list")


@pytest.mark.parametrize(
    ("menu", "item"),
    [
        ("ip/firewall/address-list", {"address": "10.0.0.0/24"}),
        ("ip/firewall/address-list", {"address": "10.0.0.3-10.0.0.9"}),
        ("ip/firewall/address-list", {"address": "10.0.0.3/31"}),
        ("ip/firewall/address-list", {"address": "cliente.example"}),
        ("queue/simple", {"target": "10.0.0.3/32,10.0.0.4/32"}),
        ("queue/simple", {"target": "ether3"}),
    ],
)
async def test_what_serves_others_as_well_stays(
    simulator: RouterSimulator, router_url: str, routers: RouterClient, menu: str, item: dict[str, str]
) -> None:
    entry_id = simulator.add(menu, item)
    simulator.behave(Behaviour(ignores_filters=True))
    await routers.router(router_url).remove_address("10.0.0.3")
    assert {".id": entry_id, **item} in simulator.entries(menu)


async def test_an_ipv6_address_is_removed_however_it_is_written(routers: RouterClient) -> None:
    simulator = RouterSimulator(
        {
            "queue/simple": [{"target": "2001:db8::1/128"}, {"target": "2001:db8::10/128"}],
            "ipv6/dhcp-server/binding": [{"address": "2001:db8::1/128"}],
            "ipv6/firewall/address-list": [{"address": "2001:db8::1/128"}, {"address": "2001:db8::/64"}],
        },
        username=USERNAME,
        password=PASSWORD,
    )
    async with served(simulator.app) as url:
        await routers.router(url).remove_address("2001:DB8:0::1")
    assert addresses(simulator, "queue/simple") == {"2001:db8::10/128"}
    assert addresses(simulator, "ipv6/dhcp-server/binding") == set()
    assert addresses(simulator, "ipv6/firewall/address-list") == {"2001:db8::/64"}


async def test_the_secret_goes_before_its_session(
    simulator: RouterSimulator, router_url: str, routers: RouterClient
) -> None:
    await routers.router(router_url).remove_address("10.0.0.3")
    deletes = [call.removeprefix("DELETE ") for call in simulator.calls if call.startswith("DELETE ")]
    assert deletes == list(V4_MENUS)


async def test_removing_twice_is_done_both_times_and_sends_nothing_the_second(
    simulator: RouterSimulator, router_url: str, routers: RouterClient
) -> None:
    router = routers.router(router_url)
    await router.remove_address("10.0.0.3")
    simulator.calls.clear()
    states = WriteStates()
    await router.remove_address("10.0.0.3", on_write=states.note)
    assert {call.split()[0] for call in simulator.calls} == {"GET"}
    assert states.noted == [WriteState.NOT_SENT, WriteState.CONFIRMED]


async def test_a_write_is_unknown_until_it_is_read_back(router_url: str, routers: RouterClient) -> None:
    states = WriteStates()
    await routers.router(router_url).remove_address("10.0.0.3", on_write=states.note)
    assert states.noted == [WriteState.NOT_SENT, WriteState.UNKNOWN, WriteState.CONFIRMED]


async def test_a_router_that_refuses_to_delete_is_told_from_one_that_is_away(
    simulator: RouterSimulator, router_url: str, routers: RouterClient
) -> None:
    simulator.behave(Behaviour(mode="refusing"))
    router = routers.router(router_url)
    await router.connect()
    states = WriteStates()
    with pytest.raises(RouterRefusedError):
        await router.remove_address("10.0.0.3", on_write=states.note)
    assert states.noted == [WriteState.NOT_SENT, WriteState.UNKNOWN]
    assert "10.0.0.3/32" in addresses(simulator, "queue/simple")


async def test_connecting_takes_any_answer_for_an_answer(
    simulator: RouterSimulator, router_url: str, routers: RouterClient
) -> None:
    """Protocol §6: a refusing router fails at its work, after 60, and not while connecting, after 20."""
    simulator.behave(Behaviour(mode="refusing", refuses_all=True, refusal_status=503))
    await routers.router(router_url).connect()
    with pytest.raises(RouterRefusedError):
        await routers.router(router_url).check()


@pytest.mark.parametrize(("status", "calls"), [(500, FAST.attempts), (400, 1), (403, 1)])
async def test_only_the_routers_own_faults_are_tried_again(
    simulator: RouterSimulator, router_url: str, routers: RouterClient, status: int, calls: int
) -> None:
    simulator.behave(Behaviour(mode="refusing", refusal_status=status))
    with pytest.raises(RouterRefusedError):
        await routers.router(router_url).remove_address("10.0.0.3")
    assert simulator.calls["DELETE queue/simple"] == calls


async def test_a_silent_router_is_unreachable_and_left_alone_after_its_attempts(
    simulator: RouterSimulator, router_url: str, routers: RouterClient
) -> None:
    simulator.behave(Behaviour(mode="unreachable"))
    with pytest.raises(RouterUnreachableError):
        await routers.router(router_url).connect()
    assert simulator.calls.total() == FAST.attempts
    states = WriteStates()
    with pytest.raises(RouterUnreachableError):
        await routers.router(router_url).remove_address("10.0.0.3", on_write=states.note)
    assert states.noted == [WriteState.NOT_SENT]


async def test_a_slow_router_is_waited_for(
    simulator: RouterSimulator, router_url: str, routers: RouterClient
) -> None:
    simulator.behave(Behaviour(mode="slow", delay_seconds=0.05))
    await routers.router(router_url).connect()
    assert simulator.calls == {"GET system/identity": 1}


async def test_a_port_that_nobody_listens_on_is_unreachable(routers: RouterClient) -> None:
    with socket.socket() as bound_but_not_listening:
        bound_but_not_listening.bind(("127.0.0.1", 0))
        port = bound_but_not_listening.getsockname()[1]
        with pytest.raises(RouterUnreachableError):
            await routers.router(f"http://127.0.0.1:{port}").connect()


async def test_a_router_that_drips_is_cut_off_in_time() -> None:
    """Each byte comes within the read timeout; the bound of the whole call ends it."""

    left = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        try:
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            pass
        finally:
            writer.close()
            left.set()

    limits = type(FAST)(read_seconds=5, call_seconds=0.2, attempts=1)
    client = RouterClient(USERNAME, PASSWORD, limits=limits)
    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(RouterUnreachableError, match="a tiempo"):
            await client.router(f"http://127.0.0.1:{port}").connect()
        await client.aclose()
        await left.wait()


async def test_wrong_credentials_are_a_refusal_that_does_not_tell_them(router_url: str) -> None:
    client = RouterClient(USERNAME, "otra-clave", limits=FAST)
    with pytest.raises(RouterRefusedError) as caught:
        await client.router(router_url).remove_address("10.0.0.3")
    await client.aclose()
    for secret in (USERNAME, "otra-clave", "127.0.0.1", "http"):
        assert secret not in caught.value.detail
