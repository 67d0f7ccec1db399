"""Lets a user's collectors write to Kafka, or no longer: ``purple-sector access add --collector``.

The rule: a password is printed once, when it is made. It is on no command line and in no log.
"""

import click

from ingest.errors import AccessRefused, BrokerUnavailable
from ingest.kafka.collector_users import CollectorUsers, MadeUser
from ingest.settings import CollectorSettings, KafkaSettings
from serve.bridge.access.audit import audit
from serve.game_pc.autostart import settings_text

_LIST_WITHIN_S = 5.0


def add_collector(user: str, *, new_password: bool) -> None:
    """Make the Kafka user of ``user``'s collectors, and print the settings of its PC."""
    kafka = KafkaSettings.read()
    made = CollectorUsers(kafka).add(user, new_password=new_password)
    audit("collector_added", name=user, kafka_user=made.name, new_password=bool(made.password))
    if made.password is None:
        click.echo(
            f"{made.name} may write {made.topic}; its password is as it was, and"
            " --new-password makes another",
            err=True,
        )
        return
    click.echo(pc_settings(kafka, user, made), nl=False)
    click.echo("save this as .env on the PC: the password is shown only now", err=True)


def collectors() -> list[str]:
    """Return the users whose collectors may log in to Kafka; none where it requires no login.

    Names the reason on stderr where the brokers do not answer or refuse.
    """
    kafka = KafkaSettings.read()
    if not kafka.security_protocol.startswith("SASL"):
        return []
    try:
        return CollectorUsers(kafka).names(_LIST_WITHIN_S)
    except (AccessRefused, BrokerUnavailable) as refused:
        click.echo(f"without the users of collectors: {refused}", err=True)
        return []


def remove_collector(user: str) -> None:
    """Take the Kafka user, its rights and its topic away."""
    unread = CollectorUsers(KafkaSettings.read()).remove(user)
    audit("collector_removed", name=user)
    kept = f"; its topic stays until its {unread} new records are stored: remove it again later"
    click.echo(f"removed: the collectors of {user}{kept if unread else ''}")


def pc_settings(kafka: KafkaSettings, user: str, made: MadeUser) -> str:
    """Return the ``.env`` of the PC that ``made`` is for."""
    own = {"username": made.name, "password": made.password, "topic_per_user": True}
    return settings_text(
        kafka.model_copy(update=own),
        CollectorSettings.read(user_id=user),
    )
