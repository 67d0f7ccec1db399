"""Deploys the bridge on Ray Serve.

This module imports Ray; the deployed application is the plain one of serve/bridge/web_app.py. The
rule: every limit is set on purpose. Ray's defaults are for short requests, and a viewer's request
lasts for hours.
"""

import gc
import ipaddress
import logging
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

import ray
import ray.exceptions
import ray.serve
import ray.util
from fastapi import FastAPI
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve.schema import ProxyStatus
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ingest.cancellation import in_daemon_thread
from ingest.errors import PurpleSectorError, SettingsError
from ingest.logging_setup import start_logging
from ingest.settings import (
    DatabaseSettings,
    KafkaSettings,
    LogSettings,
    ServeSettings,
    bridge_database,
    differing,
)
from serve.bridge.access.admission import AdmissionLimits
from serve.bridge.access.hosts import Hosts
from serve.bridge.access.logins import check_logins, make_logins, offer_of
from serve.bridge.front.front import (
    Front,
    haproxy_home,
    most_connections,
    runs_our_command,
    warning_of,
)
from serve.bridge.front.haproxy_config import COMMAND
from serve.bridge.front.headers import headers_of
from serve.bridge.front.proxies import ProxyChain
from serve.bridge.live.socket_limits import limit_sockets
from serve.bridge.ray_environment import SAME_LOOP
from serve.bridge.web_app import make_app

NAME = "purple-sector"

_FRONT = "purple-sector-front"
_WITHOUT_COMMAND = (
    "the head's Ray runs HAProxy without our settings: start it with"
    f" RAY_SERVE_HAPROXY_BINARY_PATH set to the path of {COMMAND}, as cluster.yaml does"
)
_PROXY_WITHIN_S = 300.0
_ANSWER_WITHIN_S = 60.0

_OPTIONS: dict[str, Any] = {
    "num_replicas": 1,
    # every open socket counts as one; Ray's default of 5 would hang the sixth viewer
    "max_ongoing_requests": 10_000,
    "max_queued_requests": -1,
    "health_check_period_s": 1,
    # more than the draining period: viewers receive 1012, not a cut
    "graceful_shutdown_timeout_s": 15,
    "graceful_shutdown_wait_loop_s": 1,
    "ray_actor_options": {"num_cpus": 0.1, "runtime_env": {"env_vars": SAME_LOOP}},
}


class BridgeReplica:
    """A replica with its own Kafka reader and its own viewers."""

    def __init__(
        self,
        kafka: KafkaSettings,
        database: DatabaseSettings,
        log: LogSettings,
        serve: ServeSettings | None = None,
    ) -> None:
        start_logging(log)
        serve = serve or ServeSettings.read()
        limit_sockets(serve.messages_per_s)
        _bind_to_node(ray.util.get_node_ip_address())
        self._given = (kafka, database, log, serve)
        hosts = Hosts(serve.allowed_hosts.split(","), bound=serve.host)
        logins, offer, headers = make_logins(serve), offer_of(serve), headers_of(serve)
        proxies = ProxyChain(_proxies(), serve.proxies.split(","))
        self._settings = (kafka, database, _limits(serve), proxies, hosts, logins, offer, headers)

    def differing(self, *wanted: Any) -> list[str]:
        """Return the variables that have other values in ``wanted``. This replica keeps its own
        values.
        """
        return differing(self._given, wanted)

    def __serve_build_asgi_app__(self) -> FastAPI:
        api = make_app(*self._settings)
        # The objects that exist now stay: a search for cycles need not walk all of Ray while a
        # frame waits.
        gc.freeze()
        return api


def _bind_to_node(address: str) -> None:
    """Bind the replica's gRPC server to the loopback if its node is there. By default it listens on
    every address.

    Ray 2.60 has no setting for it. If another version lacks this function, `up` prints the open
    addresses.
    """
    import ray.serve._private.replica as replica

    add_port = getattr(replica, "add_port_to_grpc_server", None)
    if add_port is not None and ipaddress.ip_address(address).is_loopback:
        replica.add_port_to_grpc_server = lambda server, _: add_port(server, f"{address}:0")


def _proxies() -> frozenset[str]:
    """Return the addresses that Serve's proxies connect from.

    They are the loopback, this node, and the head, which has the only proxy of a cluster.
    """
    head = ray.get_runtime_context().gcs_address.rpartition(":")[0].strip("[]")
    return frozenset({"127.0.0.1", "::1", ray.util.get_node_ip_address(), head})


def build(args: dict[str, str]) -> ray.serve.Application:
    """Build the application for a Serve configuration file. Settings come from the building
    process's environment.

    ``args`` may hold ``replicas`` and ``version``. Ray restarts replicas when the arguments change,
    not when code does.
    """
    return _bind(
        KafkaSettings.read(),
        bridge_database(DatabaseSettings.read()),
        ServeSettings.read(),
        replicas=int(args.get("replicas", 1)),
    )


def deploy(
    kafka: KafkaSettings, database: DatabaseSettings, serve: ServeSettings, *, host: str = ""
) -> None:
    """Serve on ``serve.host`` and ``serve.port`` in the running Ray cluster; return when viewers
    can connect.

    ``host`` is where replicas listen, if not on ``serve.host``. Raises PurpleSectorError if Ray
    Serve has no proxy after minutes.
    """
    # The caller itself prints when it is ready.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    _look_sooner()
    # The page's worker starts beside Serve's proxies, not after them.
    proxies = in_daemon_thread(
        partial(_start_serve, host or serve.host, serve.port), name="start-serve"
    )
    _await_controller(proxies)
    # Ray's wait for its proxies ends after 60 s. Its controller continues meanwhile.
    with suppress(TimeoutError):
        ray.serve.run(_bind(kafka, database, serve), name=NAME, route_prefix="/")
    proxies.result()


def _start_serve(host: str, port: int) -> None:
    http_options = {"host": host, "port": port}
    try:
        ray.serve.start(proxy_location="HeadOnly", http_options=http_options)
    except (TimeoutError, ray.exceptions.RayActorError):
        # Ray's own wait ends after 60 s, or when the first proxy dies. Its controller goes on
        # trying.
        _await_proxy()


def _look_sooner() -> None:
    """Let Ray look every 0.1 s for whether the page runs. Ray 2.60 has no setting for its 1 s."""
    import ray.serve._private.client as client

    if hasattr(client, "CLIENT_POLLING_INTERVAL_S"):
        client.CLIENT_POLLING_INTERVAL_S = 0.1


def _await_controller(started: "Future[None]") -> None:
    """Wait for Serve's controller, or for the end of its start. Raises the errors of the start."""
    while not _has_controller():
        if started.done():
            return started.result()
        time.sleep(0.02)
    return None


def _has_controller() -> bool:
    actors = ray.util.list_named_actors(all_namespaces=True)
    return {"name": SERVE_CONTROLLER_NAME, "namespace": SERVE_NAMESPACE} in actors


class FrontKeeper:
    """Runs a `Front` on the head of a cluster, where Serve's only proxy is.

    Ray starts it again if it ends, and it then goes on with the certificate that was last good.
    """

    def __init__(self, serve: ServeSettings, log: LogSettings) -> None:
        start_logging(log)
        self._front = Front(serve)
        if ray.get_runtime_context().was_current_actor_reconstructed:
            self._front.restore(haproxy_home())
            self._start()

    def start(self) -> tuple[str, str, str] | None:
        """Check the certificate and write HAProxy's files; return a wrong setting, with reason."""
        try:
            self._front.check()
        except SettingsError as wrong:
            return wrong.variable, str(wrong.value), wrong.accepted
        self._start()
        return None

    def by_our_command(self) -> bool:
        """Return whether HAProxy here obeys what was written."""
        return runs_our_command()

    def _start(self) -> None:
        self._front.start(haproxy_home(), connections=most_connections())


def start_front(serve: ServeSettings) -> str:
    """Prepare HAProxy on the head of the cluster, before `deploy`. Return a warning, or nothing.

    Raises SettingsError where the certificate cannot serve, or HAProxy would run without it.
    """
    stop_front()
    head = next(
        node["NodeID"] for node in ray.nodes() if "node:__internal_head__" in node["Resources"]
    )
    keeper = (
        ray.remote(FrontKeeper)
        .options(
            name=_FRONT,
            namespace=SERVE_NAMESPACE,
            lifetime="detached",
            num_cpus=0,
            max_restarts=-1,
            scheduling_strategy=NodeAffinitySchedulingStrategy(head, soft=False),
        )
        .remote(serve, LogSettings.read())
    )
    ours = ray.get(keeper.by_our_command.remote())
    if not ours and serve.tls_certificate:
        stop_front()
        raise SettingsError("WS_TLS_CERTIFICATE", serve.tls_certificate, _WITHOUT_COMMAND)
    if (wrong := ray.get(keeper.start.remote())) is not None:
        stop_front()
        raise SettingsError(*wrong)
    return warning_of(serve) if ours else f"no limit by address holds: {_WITHOUT_COMMAND}"


def stop_front() -> None:
    """End what `start_front` started. Nothing there is no error."""
    with suppress(ValueError):
        ray.kill(ray.get_actor(_FRONT, namespace=SERVE_NAMESPACE))


def differing_page(
    kafka: KafkaSettings, database: DatabaseSettings, serve: ServeSettings
) -> list[str]:
    """Return the variables that have other values for the page that runs. Raises the errors of Ray
    Serve.
    """
    page = ray.serve.get_app_handle(NAME)
    names: list[str] = page.differing.remote(kafka, database, LogSettings.read(), serve).result(
        timeout_s=_ANSWER_WITHIN_S
    )
    return names


def _await_proxy() -> None:
    deadline = time.monotonic() + _PROXY_WITHIN_S
    while ProxyStatus.HEALTHY not in ray.serve.status().proxies.values():
        if time.monotonic() > deadline:
            raise PurpleSectorError(
                f"Ray Serve started no proxy within {_PROXY_WITHIN_S:.0f} s; a machine with less to"
                " do may be quicker"
            )
        time.sleep(0.2)


def _limits(serve: ServeSettings) -> AdmissionLimits:
    return AdmissionLimits(
        serve.sockets,
        serve.sockets_per_address,
        serve.handshakes_per_s,
        serve.demos,
        serve.demos_per_address,
        serve.sockets_per_caller,
        serve.subscriptions,
        serve.sockets_per_link,
    )


def _bind(
    kafka: KafkaSettings, database: DatabaseSettings, serve: ServeSettings, *, replicas: int = 1
) -> ray.serve.Application:
    check_logins(serve)
    deployment = ray.serve.deployment(ray.serve.ingress()(BridgeReplica), name="Bridge", **_OPTIONS)
    return deployment.options(num_replicas=replicas).bind(
        kafka, database, LogSettings.read(), serve
    )
