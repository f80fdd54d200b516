"""What a signed report must say of the computer and the programs that gave the answers."""

import platform
import socket
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from dicom_node.objects.provenance import software_version

_LIBRARIES: Final = ("numpy", "scipy", "SimpleITK", "torch", "monai", "lungmask", "pydicom", "pynetdicom", "highdicom")
"""Those through which a number of a result goes, or the CT on its way in and the objects on their way out."""


@dataclass(frozen=True, slots=True)
class Installation:
    """The programs of this host. The answer may have come from a worker on another one."""

    host: str
    software: str
    """Version of perfusion-node."""
    system: str
    """Operating system and processor."""
    python: str
    libraries: dict[str, str]
    """Version of each that is installed, by name."""

    @classmethod
    def here(cls) -> "Installation":
        """As it is now."""
        system = f"{platform.system()} {platform.release()} {platform.machine()}"
        found = {name: known for name in _LIBRARIES if (known := _version(name))}
        return cls(socket.gethostname(), software_version(), system, platform.python_version(), found)

    def sentence(self) -> str:
        """On one line."""
        libraries = ", ".join(f"{name} {known}" for name, known in self.libraries.items())
        return f"perfusion-node {self.software} on {self.host}, {self.system}, Python {self.python}, {libraries}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
