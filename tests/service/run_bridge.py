"""A cluster of Ray with nothing on it but the bridge, as a process of its own.

Ray reads its environment when it is imported, and whichever test ran before may have imported it:
so a child process. It prints its port when viewers can connect, and ends when its stdin does.

    python -m tests.service.run_bridge BROKERS DATABASE_URL
"""

import sys

from ingest.embedded.process import free_ports
from ingest.settings import DatabaseSettings, KafkaSettings, ServeSettings
from serve.local.ray_cluster import run_ray


def main(brokers: str, database_url: str) -> None:
    with run_ray(lambda _: None):
        import ray.serve

        try:
            serve_until_told(brokers, database_url)
        finally:
            ray.serve.shutdown()


def serve_until_told(brokers: str, database_url: str) -> None:
    from serve.bridge.deployment import deploy

    (port,) = free_ports(1)
    deploy(
        KafkaSettings.read(brokers=brokers),
        DatabaseSettings.read(url=database_url),
        ServeSettings.read(host="127.0.0.1", port=port),
    )
    sys.stdout.write(f"port {port}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
