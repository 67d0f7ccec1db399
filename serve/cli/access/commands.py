"""Adds, lists and removes the keys of AUTH_MODE=keys: ``purple-sector access``.

The rule: a key is printed once, when it is made, and stored nowhere.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from ingest.errors import PurpleSectorError, SettingsError
from ingest.settings import ServeSettings
from serve.bridge.access.audit import audit
from serve.bridge.access.callers import LOGIN_ROLES, Role
from serve.bridge.access.key_file import change_keys, read_keys
from serve.bridge.access.keys import NAME, KeyEntry, entry_of, new_key
from serve.cli.access.collector_users import add_collector, collectors, remove_collector
from serve.cli.tables import print_table, table_of


@click.group()
def access() -> None:
    """Let people in, or no longer: the keys of AUTH_MODE=keys.

    AUTH_KEYS_FILE names the file. A running page reads it again after every change.
    """


def _checked_name(_: click.Context, __: click.Parameter, name: str) -> str:
    if not NAME.fullmatch(name):
        raise click.BadParameter("want 1 to 100 letters, digits, dots, dashes or _")
    return name


_name = click.argument("name", callback=_checked_name)


@access.command()
@_name
@click.option(
    "--role",
    type=click.Choice([role.value for role in LOGIN_ROLES]),
    help="viewer and driver see their own sessions; engineer and operator see all.",
)
@click.option(
    "--collector",
    is_flag=True,
    help="Let NAME's collectors write to Kafka, and print the .env of the PC.",
)
@click.option("--new-password", is_flag=True, help="With --collector: in place of the old one.")
def add(name: str, role: str | None, collector: bool, new_password: bool) -> None:
    """Make a key for NAME and print it, once.

    With --collector, NAME's collectors get a Kafka user with a topic of their own. That takes the
    administrator's KAFKA_SECURITY_USERNAME and KAFKA_SECURITY_PASSWORD.

    A driver's NAME is the USER_ID of the collector. A name may have several keys: so a new key is
    in use before the old one is removed.
    """
    if role is None and not collector:
        raise click.UsageError("want --role, --collector, or both")
    if role is not None:
        _add_key(name, role)
    if collector:
        add_collector(name, new_password=new_password)


def _add_key(name: str, role: str) -> None:
    key = new_key()
    entry = entry_of(name, Role(role), key)
    change_keys(_file(), lambda entries: [*entries, entry])
    audit("key_added", name=name, role=role, key_id=entry.key_id)
    click.echo(key)


@access.command("list")
def list_() -> None:
    """List names, roles and the ids of keys. The keys themselves are stored nowhere.

    Lists collectors too, if the brokers require a login and answer the administrator.
    """
    table = table_of("name", "role", "key id")
    for entry in sorted(read_keys(_file()), key=lambda entry: (entry.name, entry.key_id)):
        table.add_row(entry.name, entry.role.value, entry.key_id)
    for user in collectors():
        table.add_row(user, "collector", "")
    print_table(table)


@access.command()
@_name
@click.option("--key", "key_id", default="", help="Only the key with this id; all by default.")
@click.option("--collector", is_flag=True, help="The Kafka user of NAME's collectors instead.")
def remove(name: str, key_id: str, collector: bool) -> None:
    """Remove the keys of NAME. Open pages that used them are closed within seconds."""
    if collector:
        remove_collector(name)
    else:
        _remove_keys(name, key_id)


def _remove_keys(name: str, key_id: str) -> None:
    removed: list[KeyEntry] = []

    def without(entries: Sequence[KeyEntry]) -> list[KeyEntry]:
        removed.extend(e for e in entries if e.name == name and key_id in {"", e.key_id})
        if not removed:
            what = f"key {key_id}" if key_id else "key"
            raise PurpleSectorError(f"{name} has no {what}; purple-sector access list has them")
        return [entry for entry in entries if entry not in removed]

    change_keys(_file(), without)
    for entry in removed:
        audit("key_removed", name=name, role=entry.role.value, key_id=entry.key_id)
    click.echo(f"removed: {', '.join(entry.key_id for entry in removed)}")


def _file() -> Path:
    file = ServeSettings.read().auth_keys_file
    if not file:
        raise SettingsError("AUTH_KEYS_FILE", "", "want the path of the file with the keys")
    return Path(file)
