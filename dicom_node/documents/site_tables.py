"""What the conformance statement says of the node as a whole: who it is, its configuration, its security."""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dicom_node.documents.page import Tables, table
from dicom_node.network.tls import TLS_1_2_CIPHERS
from dicom_node.reception.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.settings.site_file import SiteFile


def identity_table() -> str:
    """What this program calls itself on the network."""
    rows = (
        ("Implementation Class UID", IMPLEMENTATION_CLASS_UID),
        ("Implementation Version Name", IMPLEMENTATION_VERSION_NAME),
        ("AE title", "`PERFNODE` unless configured, in both directions"),
        ("TCP port", "11112 unless configured; with TLS 2762 is usual"),
    )
    return table(("property", "value"), rows)


def configuration_table() -> str:
    """Every key of the site file with its default."""
    return table(("key", "default"), list(_keys("", SiteFile)))


def _keys(prefix: str, model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        section = _section(field)
        if section is None:
            yield f"`{prefix}{name}`", _default(field)
        else:
            inner = f"{prefix}{name}[]." if "list[" in str(field.annotation) else f"{prefix}{name}."
            yield from _keys(inner, section)


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """The table that a key stands for, alone, optional or in a list."""
    found: list[Any] = [field.annotation, *get_args(field.annotation)]
    sections = [kind for kind in found if isinstance(kind, type) and issubclass(kind, BaseModel)]
    plain = [kind for kind in found if kind is str]
    return sections[0] if sections and not plain else None


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required" if field.default_factory is None else "none"
    if field.default is None or field.default in ("", []):
        return "none"
    if isinstance(field.default, list):
        return ", ".join(str(item) for item in field.default)
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def security_table() -> str:
    """The secure transport and what is recorded."""
    rows = (
        ("secure transport", "BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile (PS3.15 B.12)"),
        ("versions", "TLS 1.2 and 1.3, or 1.3 only (`tls.minimum_version`)"),
        ("cipher suites of TLS 1.2", ", ".join(TLS_1_2_CIPHERS)),
        ("cipher suites of TLS 1.3", "those of OpenSSL's default"),
        (
            "client certificate",
            "required of peers that call us, unless configured otherwise; ours is shown to peers we call",
        ),
        ("association control", "called and calling AE titles, address networks (`[[senders]]`)"),
        (
            "audit trail",
            "messages of PS3.15 A.5, in a hash-chained file and by syslog over TLS or UDP (A.6, A.7)",
        ),
        ("attribute confidentiality, digital signatures, user identity", "not supported"),
    )
    return table(("property", "value"), rows)


TABLES: Tables = {
    "identity": identity_table,
    "configuration": configuration_table,
    "security": security_table,
}
