"""pynetdicom as its documentation shows it: `python -m benchmarks.stock_receiver WAY PORT FOLDER [CERTIFICATE KEY]`.

WAY is `decode` (event.dataset, save_as) or `raw` (encoded_dataset, written as it came). Neither makes anything durable.
"""

import ssl
import sys
from pathlib import Path
from typing import Any

from pynetdicom import AE, AllStoragePresentationContexts, evt


def main(way: str, port: str, folder: str, *identity: str) -> None:
    """Receive until killed."""

    def decode(event: Any) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        dataset.save_as(Path(folder) / f"{dataset.SOPInstanceUID}.dcm", enforce_file_format=True)
        return 0x0000

    def raw(event: Any) -> int:
        (Path(folder) / f"{event.request.AffectedSOPInstanceUID}.dcm").write_bytes(event.encoded_dataset())
        return 0x0000

    context = None
    if identity:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*identity)
    entity = AE("STOCK")
    entity.supported_contexts = AllStoragePresentationContexts
    handler = decode if way == "decode" else raw
    entity.start_server(("127.0.0.1", int(port)), evt_handlers=[(evt.EVT_C_STORE, handler)], ssl_context=context)


if __name__ == "__main__":
    main(*sys.argv[1:])
