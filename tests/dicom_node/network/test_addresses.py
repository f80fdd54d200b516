"""AE addresses: what a person types is read, what cannot be an address is refused."""

import pytest

from dicom_node.network.addresses import AeAddress


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("PACS@10.0.0.5:104", ("10.0.0.5", 104)),
        ("MY PACS_1@archive.clinic.example:11112", ("archive.clinic.example", 11112)),
        ("A@[::1]:104", ("::1", 104)),
        ("SIXTEEN_LETTERS_@h:65535", ("h", 65535)),
    ],
)
def test_an_address_reads_as_it_is_written(text: str, endpoint: tuple[str, int]) -> None:
    address = AeAddress.parse(text)
    assert str(address) == text
    assert address.endpoint == endpoint


@pytest.mark.parametrize(
    "text",
    ["", "PACS", "PACS@host", "PACS:104", "@host:104", "SEVENTEEN_LETTERS@host:104", "PÄCS@host:104", "A\\B@host:104",
     " PACS @host:104", "PACS@ho st:104", "PACS@host:0", "PACS@host:65536", "PACS@host:-1", "PACS@::1:104", "A\n@h:1"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"PACS|AE title|host|port|form"):
        AeAddress.parse(text)
