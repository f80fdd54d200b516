"""What became of nine cases, as the rows of the engine; each has an id of its own, so that one database holds all."""

from typing import Any, Final

from tests.finished_jobs import delivered

Output = dict[str, Any]
DELIVERED: Final = "00000000000000a1"
FAILED: Final = "00000000000000a2"
WAITING: Final = "00000000000000a3"
HELD: Final = "00000000000000a4"
DRY: Final = "00000000000000a5"
REJECTED: Final = "00000000000000a6"
CANCELLED: Final = "00000000000000a7"
HALF_DONE: Final = "00000000000000a8"
CHECK_FAILED: Final = "00000000000000a9"
MADE: Final = ("read", "segment", "perfuse", "encode", "check")
_AWAY: Final = {
    "result": "again",
    "code": "PEER_UNREACHABLE",
    "message": "PACS@127.0.0.1:104 cannot be reached (refused).",
    "wait_s": 60.0,
}


def rows() -> dict[str, Output | None]:
    """The rows of all cases."""
    return {
        **_made(DELIVERED),
        **delivered(DELIVERED, "pacs"),
        **_made(FAILED),
        **_deliveries(FAILED, _AWAY, _refused()),
        **_made(WAITING),
        **_deliveries(WAITING, _AWAY, None),
        **_made(HELD),
        **_deliveries(HELD, {"result": "held", "code": "AWAITS_RELEASE", "message": "The objects wait for a person."}),
        **_made(DRY),
        **_deliveries(DRY, _planned()),
        **_refusal(),
        f"{CANCELLED}:1:read:1": {"result": "done"},
        f"{CANCELLED}:1:segment:1": {"result": "cancelled"},
        f"{HALF_DONE}:1:read:1": {"result": "done"},
        f"{HALF_DONE}:1:segment:1": None,
        **_made(CHECK_FAILED),
        f"{CHECK_FAILED}:1:check:1": {
            "result": "failed",
            "code": "CHECK_FAILED",
            "message": "SET_EMPTY in structure-set.dcm, 1 in all: there is no ROI.",
        },
    }


def _made(case_id: str) -> dict[str, Output | None]:
    return {f"{case_id}:1:{name}:1": {"result": "done", "destinations": ["pacs"], "more": True} for name in MADE}


def _deliveries(case_id: str, *outputs: Output | None) -> dict[str, Output | None]:
    return {f"{case_id}:1:deliver.pacs:{number}": output for number, output in enumerate(outputs, start=1)}


def _refused() -> Output:
    instances = [
        {"object": "structure-set", "sop_instance_uid": "1.2.3.1", "status": 0, "stored": True},
        {"object": "parametric-map", "sop_instance_uid": "1.2.3.2", "status": 0xA900, "stored": False},
    ]
    return {
        "result": "failed",
        "code": "STORE_REFUSED",
        "message": "PACS@127.0.0.1:104 refused an object with status 0xA900.",
        "permanent": True,
        "instances": instances,
    }


def _planned() -> Output:
    return {
        "result": "done",
        "code": "DRY_RUN",
        "message": "Dry run: nothing was sent.",
        "would_send": {"to": {}, "objects": [{"object": "parametric-map"}, {"object": "structure-set"}]},
    }


def _refusal() -> dict[str, Output | None]:
    why = {"code": "TOO_FEW_SLICES", "message": "There are 4 slices; at least 16 are needed."}
    sent = [{"object": "refusal-notice", "sop_instance_uid": "1.2.3.9", "status": 0, "stored": True}]
    return {
        f"{REJECTED}:1:read:1": {"result": "rejected", "notice": True, **why},
        f"{REJECTED}:1:notice:1": {"result": "done", "destinations": ["pacs"]},
        f"{REJECTED}:1:tell.pacs:1": {"result": "done", "instances": sent},
    }
