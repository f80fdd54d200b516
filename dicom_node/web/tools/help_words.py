"""What states, stages and codes mean and what to do about them, for the help page.

Codes and their meanings come from the tables and error trees of the code; what stands here is what people do. A test
holds that nothing is left out.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from dicom_node.jobs.attempts import CaseState
from dicom_node.jobs.stages import Stage
from dicom_node.reception.arrivals import ArrivalState

Meaning = tuple[str, str]
"""What it means, and what to do."""
NOTHING_TO_DO: Final = "Nothing."

# fmt: off
CASE_STATES: Final[Mapping[CaseState, Meaning]] = MappingProxyType({
    CaseState.PROCESSING: ("It is being read, computed or encoded, or waits for its turn.",
                           "Nothing; if it stays for long, see its stage and the log by case."),
    CaseState.DELIVERING: ("Objects are made; a destination does not have them yet, or has not confirmed them.",
                           "Nothing; if it stays, test the destination with an echo."),
    CaseState.DELIVERED: ("Every destination has stored every object and, where it can be asked, confirmed it.",
                          "Nothing. With the code UNVERIFIED look into the archive: it could not be asked."),
    CaseState.REJECTED: ("The input cannot be used, and nothing but a notice was sent.",
                         "Read code and sentence; send a series that can be used. A result of this one is not coming."),
    CaseState.FAILED: ("Attempts are used up, or a destination refused for good or does not keep what it is sent.",
                       "Remove the cause that the code names, then try again; other cases go on meanwhile."),
    CaseState.CANCELLED: ("A person stopped it.", "Nothing, or try again if that was a mistake."),
    CaseState.HELD: ("Objects are made and checked, and wait for a person.",
                     "Look at the map and the findings, then release or reject it."),
    CaseState.DISCARDED: ("Nothing is sent: a person did not want it, or the destination is switched off.",
                          NOTHING_TO_DO),
    CaseState.DRY_RUN: ("Everything was made and checked and nothing was sent, as the site wants it.",
                        "Nothing; set the destination to live when you trust it."),
})
ARRIVAL_STATES: Final[Mapping[ArrivalState, Meaning]] = MappingProxyType({
    ArrivalState.RECEIVING: ("Images arrive, or the quiet period after the last one is not over.", NOTHING_TO_DO),
    ArrivalState.INTERRUPTED: ("The transfer was cut off or partly refused.",
                               "Send the series again; or release it as it is."),
    ArrivalState.HELD: ("It waits for more slices or for a person; the code says why.",
                        "Send what is missing; or release it as it is, or discard it."),
    ArrivalState.RELEASED: ("A person wants it processed as it is; that is about to happen.", NOTHING_TO_DO),
    ArrivalState.IGNORED: ("A rule wants it ignored.", "Nothing, or change the rule and release it."),
    ArrivalState.UNMATCHED: ("No rule took it. It is kept for some days.",
                             "Try one of its files in the rule tester; change the rules, or release it."),
    ArrivalState.DISCARDED: ("A person threw it away. It is kept for some days.", "Nothing, or release it."),
})
STAGES: Final[Mapping[Stage, str]] = MappingProxyType({
    Stage.READ: "Received images become a CT volume.",
    Stage.SEGMENT: "Lungs and lobes are found.",
    Stage.PERFUSE: "Perfusion, function regions and the lobar table are found.",
    Stage.ENCODE: "DICOM objects are made.",
    Stage.CHECK: "The objects are read back and checked; one fault, and nothing is sent.",
    Stage.DELIVER: "Objects are sent, to each destination on its own.",
    Stage.VERIFY: "A destination is asked whether it has kept them.",
    Stage.NOTICE: "There is no result: a picture that says why is made.",
    Stage.TELL: "The picture is sent, to each destination that wants it.",
    Stage.SHADOW: "Objects are sent to a destination that does not count.",
    Stage.CANDIDATE: "A model in shadow maps the CT, too, and both maps are compared.",
    Stage.RESEARCH: "Objects of the model in shadow are sent to a research destination.",
    Stage.DISCARD: "A person wants held objects sent nowhere.",
})
OTHER_CODES: Final[Mapping[str, Meaning]] = MappingProxyType({
    "AWAITS_RELEASE": ("The destination holds results for a person.", "Look at the case, then release or reject it."),
    "ROUTE_OFF": ("The site switched the destination off.", NOTHING_TO_DO),
    "DRY_RUN": ("The site only wants to see what would be sent.", NOTHING_TO_DO),
    "SHADOWS_ONLY": ("Only destinations that do not count get it.", NOTHING_TO_DO),
    "UNVERIFIED": ("The destination stored everything and cannot be asked whether it kept it.",
                   "Look into the archive now and then; or let it offer Storage Commitment."),
    "NOT_CONFIRMED": ("The destination has not confirmed yet that it keeps the objects; it is asked again.",
                      "Nothing; if it stays, ask whoever runs the archive."),
    "NOT_STORED": ("The destination says that it does not have what it had accepted.",
                   "Ask whoever runs the archive why, then send it again."),
    "CHOSEN_BY_PERSON": ("A person had the case made with another model or function rule than the site's.",
                         "Read who and why among its decisions before the result is used."),
    "SLICES_MISSING": ("There is a hole in the stack of slices.", "Send the series again; or release it as it is."),
    "COUNT_DIFFERS": ("The archive has more images of the series than came.", "Send the rest; or release it."),
    "COUNT_UNKNOWN": ("The archive has not said how many images there are; it is asked again.",
                      "Test the archive with an echo; or release the series."),
    "RULE_HOLDS": ("A rule wants a person to look at it first.", "Release or discard the series."),
    "INTERRUPTED": ("The transfer was cut off.", "Send the series again; or release it as it is."),
    "CONFLICT": ("Other versions of its images came and were refused; the first ones are here.",
                 "Find out who sends two versions; release what is here, or discard it."),
    "ADDRESS_NOT_ALLOWED": ("A peer called from an address that the site does not list.",
                            "If it belongs to you, add its network to senders in the site file."),
    "UNKNOWN_CALLING_AE": ("A peer called under an AE title that the site does not list.",
                           "If it belongs to you, add it to senders in the site file."),
    "WRONG_CALLED_AE": ("A peer called us by another AE title than ours.", "Correct our AE title at the peer."),
    "TOO_MANY_CONNECTIONS": ("More peers called at once than the site allows; they try again.",
                             "If it stays, raise node.maximum_associations."),
    "TOO_MANY_FROM_ADDRESS": ("One address has more connections than the site allows.",
                              "Find out what that peer does; or raise node.maximum_connections_per_address."),
    "NOT_DICOM": ("A file is not DICOM as PS3.10 has it.", "Export it anew."),
    "SYNTAX_NOT_TAKEN": ("The receiver does not take the transfer syntax of a file, for instance a deflated one.",
                         "Let the sender use a lossless one of the conformance statement."),
    "CLASS_NOT_TAKEN": ("The receiver does not take the SOP class of a file.", "Send the CT series only."),
    "PEER_NOT_ASKED": ("A peer could not even be called; the fault is on our side.",
                       "Look at the files that the site file names for it, then at the log."),
})
"""Codes that no error and no check has."""
ADVICE: Final[Mapping[str, str]] = MappingProxyType({
    "SPOOL_FULL": "Make room on the disk; senders try again by themselves.",
    "PEER_UNREACHABLE": "Test it with an echo: address, port, AE titles on both sides, firewall, TLS. We try again.",
    "STORE_REFUSED": "Read the status in the case; often the archive does not accept the SOP class or our AE title.",
    "CHECK_FAILED": "Do not send it by hand. Keep the case and report it: this is a fault of the node or its model.",
    "GRID_MISMATCH": "Report it: this is a fault of the node.",
    "STAGE_OUT_OF_MEMORY": "It is tried again in a smaller way. If it stays, give work.stage_memory_mb more.",
    "STAGE_TOO_LONG": "If the computer is only slow, give work.stage_timeout_s more.",
    "STAGE_CRASHED": "It is tried again. If it stays, see the log by case and the stage's file in its folder.",
    "SELF_TEST_FAILED": "No patient is processed meanwhile. Compare models and settings with the last commissioning.",
    "NOT_CT": "Send the CT series; add a rule that ignores what else the planning system sends.",
    "LOCALIZER": "Add a rule that ignores scouts; the default rules do.",
    "LOSSY_COMPRESSED": "Send the original; HU after a lossy compression are not what was measured.",
    "MISSING_SLICES": "Send the series again, whole.",
    "TOO_FEW_SLICES": "Send a series that holds the whole lungs.",
    "LUNGS_NOT_FOUND": "Look whether the series shows a chest, and whether its HU are plausible.",
    "IMPLAUSIBLE_RESULT": "Read the findings of the case: the one that rejects says what was measured and its limit.",
    "OVERTAKEN": "Nothing: a newer result of the same series is out.",
    "INSTANCE_CONFLICT": "Find out who sends two versions of one image; the first one stays.",
    "MODEL_CHOICE_DAMAGED": "No map is made until it is clear which model is in force; see perfnode models history.",
})
# fmt: on
PERMANENT: Final = (
    "Trying the same again changes nothing: input or setting must change. The sentence beside it says what."
)
TRIED_AGAIN: Final = "It is tried again by itself. If it stays, look at the log by case."
