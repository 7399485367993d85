"""The way into a Ray cluster, and what has to be the same on its nodes.

Ray is imported here, and by what runs within it. Ray's page and its own reporting of use stay off,
and a cluster that is started here listens on this machine only.
"""

from __future__ import annotations

import logging
import os
import socket
from functools import cache
from importlib.metadata import version
from typing import Any

from ragformer.cluster.index import FORMS
from ragformer.cluster.shard import Fault
from ragformer.errors import ClusterError, ConfigError, InputError

LOCAL = "local"
NAMESPACE = "ragformer"  # of actors with a name
_REACH_SECONDS = 5.0
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""What a client of HTTP/2, and so of Ray's head, says first; a server says SETTINGS back."""
_SETTINGS = 4
_OBJECTS = 1 << 28  # bytes for what is on its way: steps, rows and a question's vector are small


def connect(address: str) -> Any:
    """Ray, connected to the cluster at HOST:PORT or to one started here for "local".

    Raises ConfigError where Ray is not installed, ClusterError where the cluster cannot be reached.
    """
    how: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _OBJECTS}
    if address != LOCAL:
        _reach(address)
        how = {}
    prepare(address)
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "a Ray cluster was asked for and Ray is not installed; "
            "pip install 'ragformer[ray]', or leave out --engine ray and ray_address"
        ) from error
    if ray.is_initialized():
        return ray
    how |= {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        ray.init(address, namespace=NAMESPACE, **how)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ClusterError(
            f"the Ray cluster at {address} cannot be used: {error}; this machine must be one of "
            f"its nodes (`ray start --address {address}`) and have the same Ray and Python; where "
            "the head said that it asks for a token, set RAY_AUTH_MODE=token"
        ) from error
    return ray


def prepare(address: str) -> None:
    """Set what Ray reads from the environment when it is imported, as far as nobody has."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # of a cluster started here: it is for us
    # What Ray has to say of lost workers it says on stdout, amid our JSON. We say it ourselves.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")
    if address == LOCAL or address.startswith(("127.", "localhost:")):
        # Else Ray puts this machine's outer address in the place of the inner one, and listens
        # there. This is how it keeps to the inner one on Windows and macOS.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")


def _reach(address: str) -> None:
    """Ray itself would try for minutes and end with a page of text."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and "/" not in host):
        raise InputError(
            f'the address of a Ray cluster is HOST:PORT, as 10.0.0.1:6379, or "local"; '
            f"{address!r} is neither"
        )
    try:
        said = _said_back(host.strip("[]"), int(port))
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"no Ray cluster answers at {address} ({error}); "
            "start one there with `ray start --head`, or check the address"
        ) from error
    if len(said) < 4 or said[3] != _SETTINGS:
        raise ClusterError(
            f"what listens at {address} is no head of a Ray cluster; give the address that "
            "`ray start --head` has told, with its port (6379 unless set otherwise)"
        )


def _said_back(host: str, port: int) -> bytes:
    """What the first frame from there begins with, b"" where it hangs up; TimeoutError for none."""
    with socket.create_connection((host, port), _REACH_SECONDS) as connection:
        if os.environ.get("RAY_USE_TLS", "0") != "0":
            return bytes([0, 0, 0, _SETTINGS])  # only Ray has the keys to ask more
        connection.sendall(_HELLO)
        return connection.recv(9)


@cache
def program() -> str:
    """What has to be the same on every node."""
    return f"ragformer {version('ragformer')} ({FORMS})"


def node_name() -> str:
    """This node's address and the start of Ray's id for it."""
    import ray

    address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call,unused-ignore]
    return f"{address} ({ray.get_runtime_context().get_node_id()[:8]})"


def differs(node: str, wanted: str) -> Fault | None:
    """What is wrong with the program on this node, where another one is wanted."""
    if program() == wanted:
        return None
    return Fault(
        f"node {node} has {program()} and this machine {wanted}; install the same ragformer on both"
    )
