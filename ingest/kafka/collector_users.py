"""Makes and removes the Kafka user of one driver's collectors: password, rights and topic.

The user ``collector-alice`` may write ``telemetry-user-alice`` and the status reports, and read
the commands; nothing else. Every step may be repeated. The rights come first: a broker without
access rules refuses them, and then nothing has been made.

Quotas are missing here, because librdkafka's admin client has none. docs/kafka-access.md has the
command that limits every user once.
"""

import secrets
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they do not mark exports
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from pydantic import SecretStr

from ingest.errors import AccessRefused, SettingsError
from ingest.kafka.topics import (
    QUIET,
    Cluster,
    error_of,
    open_admin,
    telemetry_spec,
    telemetry_topic,
    topic_owner,
)
from ingest.settings import KafkaSettings

_WITHIN_S = 15.0
_ITERATIONS = 4096  # Kafka's default: the passwords are random, so more would slow logins only
_PASSWORD_BYTES = 24


@dataclass(frozen=True, slots=True)
class MadeUser:
    """A user that exists now. ``password`` is None where it existed before, and kept its own."""

    name: str
    topic: str
    password: SecretStr | None


def kafka_user(user: str) -> str:
    """Return the name that the collectors of ``user`` log in with."""
    return f"collector-{user}"


def lookalike(user: str, others: Iterable[str]) -> str | None:
    """Return another user whose name people or Kafka's metrics may take for this one.

    Such names differ in upper and lower case, or in dots, dashes and underscores. Kafka refuses
    two topics that differ in dots and underscores alone.
    """
    plain = str.maketrans("._", "--")
    wanted = user.casefold().translate(plain)
    matches = (other for other in others if other.casefold().translate(plain) == wanted)
    return next((other for other in matches if other != user), None)


class CollectorUsers:
    """Manages the users of collectors as the administrator that ``settings`` name.

    Methods raise AccessRefused, BrokerUnavailable and SettingsError.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings.model_copy(update={"topic_per_user": True})
        self._admin = open_admin(settings)
        self._cluster = Cluster(self._settings, timeout_s=_WITHIN_S)

    def names(self, within_s: float = _WITHIN_S) -> list[str]:
        """Return the users whose collectors have a password, in order."""
        answer: Any = self._admin.describe_user_scram_credentials(request_timeout=within_s)
        users = _answer("read users", answer)
        prefix = kafka_user("")
        return sorted(user.removeprefix(prefix) for user in users if user.startswith(prefix))

    def add(self, user: str, *, new_password: bool = False) -> MadeUser:
        """Make what is missing of ``user``: its rights, its topic, its password.

        A password that exists is left alone, unless ``new_password``: it cannot be shown again.
        """
        topic = telemetry_topic(self._settings, user)
        self._check_lookalikes(user)
        rules = self._rules(user, topic)
        for made in self._admin.create_acls(rules, request_timeout=_WITHIN_S).values():
            _answer("make access rules", made)
        outcome = self._cluster.create(telemetry_spec(self._settings, topic), compare=False)
        if outcome.problem:
            raise AccessRefused(f"make the topic {topic}", outcome.problem)
        known = not new_password and self._exists(kafka_user(user))
        return MadeUser(kafka_user(user), topic, None if known else self._new_password(user))

    def remove(self, user: str) -> int:
        """Take rights, password and topic away, and return how many records keep the topic there.

        The topic stays while ingest has not stored all of its records: remove it again later.
        """
        topic = telemetry_topic(self._settings, user)
        everything = _every_rule(kafka_user(user))
        removed = self._admin.delete_acls([everything], request_timeout=_WITHIN_S)[everything]
        _answer("remove access rules", removed)
        if self._exists(kafka_user(user)):
            self._alter(UserScramCredentialDeletion(kafka_user(user), ScramMechanism.SCRAM_SHA_512))
        if topic not in self._cluster.topics():
            return 0
        unread = self._unread(topic)
        if not unread:
            self._delete(topic)
        return unread

    def _delete(self, topic: str) -> None:
        deleted = self._admin.delete_topics([topic], request_timeout=_WITHIN_S)[topic]
        _answer(f"delete the topic {topic}", deleted)

    def _check_lookalikes(self, user: str) -> None:
        owners = (topic_owner(self._settings, name) for name in self._cluster.topics())
        if other := lookalike(user, filter(None, owners)):
            raise SettingsError("USER_ID", user, f"looks like {other}, who exists; want another")

    def _rules(self, user: str, topic: str) -> list[AclBinding]:
        rights = [
            (topic, AclOperation.WRITE),
            (topic, AclOperation.DESCRIBE),
            (self._settings.topic_commands, AclOperation.READ),
            (self._settings.topic_status_reports, AclOperation.WRITE),
        ]
        return [_rule(name, kafka_user(user), operation) for name, operation in rights]

    def _exists(self, name: str) -> bool:
        answers: Any = self._admin.describe_user_scram_credentials(
            [name],
            request_timeout=_WITHIN_S,
        )
        try:
            return bool(answers[name].result(_WITHIN_S).scram_credential_infos)
        except KafkaException as refused:
            if error_of(refused).code() == KafkaError.RESOURCE_NOT_FOUND:
                return False
            raise AccessRefused("read users", error_of(refused).str()) from None

    def _new_password(self, user: str) -> SecretStr:
        password = secrets.token_urlsafe(_PASSWORD_BYTES)
        hashed = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
        self._alter(UserScramCredentialUpsertion(kafka_user(user), hashed, password.encode()))
        return SecretStr(password)

    def _alter(self, change: Any) -> None:
        answers = self._admin.alter_user_scram_credentials([change], request_timeout=_WITHIN_S)
        _answer("change users", answers[change.user])

    def _unread(self, topic: str) -> int:
        """Return how many records of a topic ingest has not stored, by its group's offset."""
        group = {"group.id": self._settings.consumer_group, "enable.auto.commit": False}
        consumer = Consumer(self._settings.client(QUIET | group))
        places = [TopicPartition(topic, i) for i in self._cluster.topics()[topic].partitions]
        try:
            stored = consumer.committed(places, timeout=_WITHIN_S)
            return sum(_unread_of(consumer, place) for place in stored)
        except KafkaException as refused:
            raise AccessRefused("read the group's offsets", error_of(refused).str()) from None
        finally:
            consumer.close()


def _every_rule(kafka_user: str) -> AclBindingFilter:
    return AclBindingFilter(
        ResourceType.ANY,
        None,  # type: ignore[arg-type]  # any name
        ResourcePatternType.ANY,
        f"User:{kafka_user}",
        None,  # type: ignore[arg-type]  # any host
        AclOperation.ANY,
        AclPermissionType.ANY,
    )


def _rule(topic: str, kafka_user: str, operation: AclOperation) -> AclBinding:
    return AclBinding(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        f"User:{kafka_user}",
        "*",
        operation,
        AclPermissionType.ALLOW,
    )


def _unread_of(consumer: Consumer, stored: TopicPartition) -> int:
    first, end = consumer.get_watermark_offsets(stored, timeout=_WITHIN_S)
    return int(end - max(first, stored.offset))  # a negative offset: none was stored


def _answer(what: str, answer: "Future[Any]") -> Any:
    """Return the broker's answer. Raises AccessRefused."""
    try:
        return answer.result(_WITHIN_S)
    except KafkaException as refused:
        error = error_of(refused)
        raise AccessRefused(what, _ADVICE.get(error.code(), error.str())) from None
    except TimeoutError:
        raise AccessRefused(what, f"no answer within {_WITHIN_S:g} s") from None


_ADVICE = {
    KafkaError.SECURITY_DISABLED: "it has no access rules; set authorizer.class.name there",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "want the administrator's"
    " KAFKA_SECURITY_USERNAME and KAFKA_SECURITY_PASSWORD",
}
