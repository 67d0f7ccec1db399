"""Generate the reference of the wire format from the comments of proto/telemetry.proto."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from grpc_tools import protoc

from tests.paths import ROOT
from tests.reference.markdown import code, table

_MESSAGES, _ENUMS, _FIELDS = 4, 5, 2  # numbers of these fields in descriptor.proto
_REPEATED = FieldDescriptorProto.LABEL_REPEATED

Comments = dict[tuple[int, ...], str]


def described() -> FileDescriptorProto:
    """Return the description of the proto file, with its comments. protoc makes it."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "descriptors")
        arguments = [f"--proto_path={ROOT / 'proto'}", f"--descriptor_set_out={made}"]
        named = ["--include_source_info", "telemetry.proto"]
        assert protoc.main(["protoc", *arguments, *named]) == 0
        return FileDescriptorSet.FromString(made.read_bytes()).file[0]


def messages() -> str:
    """Return a section for each message and enumeration, with a table of its fields."""
    file = described()
    places = file.source_code_info.location
    comments = {tuple(one.path): one.leading_comments + one.trailing_comments for one in places}
    return "\n\n".join([*_messages(file, comments), *_enums(file, comments)])


def _messages(file: FileDescriptorProto, comments: Comments) -> Iterator[str]:
    for number, message in enumerate(file.message_type):
        place = (_MESSAGES, number)
        yield _section(message.name, comments.get(place, ""), _fields(message, place, comments))


def _fields(message: DescriptorProto, place: tuple[int, ...], comments: Comments) -> str:
    rows = [
        (
            str(field.number),
            code(field.name),
            _type(field),
            comments.get((*place, _FIELDS, index), ""),
        )
        for index, field in enumerate(message.field)
    ]
    return table(("number", "field", "type", "meaning"), rows) if rows else ""


def _enums(file: FileDescriptorProto, comments: Comments) -> Iterator[str]:
    for number, enum in enumerate(file.enum_type):
        yield _section(enum.name, comments.get((_ENUMS, number), ""), _values(enum))


def _values(enum: EnumDescriptorProto) -> str:
    rows = [(str(value.number), code(value.name)) for value in enum.value]
    return table(("number", "value"), rows)


def _section(name: str, comment: str, fields: str) -> str:
    return "\n\n".join(filter(None, [f"### {name}", " ".join(comment.split()), fields]))


def _type(field: FieldDescriptorProto) -> str:
    name = field.type_name.rpartition(".")[2]
    scalar = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    kind = f"[{name}](#{name.lower()})" if name else scalar
    return f"list of {kind}" if field.label == _REPEATED else kind
