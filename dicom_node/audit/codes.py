"""Codes of audit messages, as PS3.16 gives them: CID 400 to 405 and the values that PS3.15 A.5 takes from RFC 3881."""

from typing import Final

from dicom_node.audit.message import Code

# CID 400, Audit Event ID.
APPLICATION_ACTIVITY: Final = Code("110100", "Application Activity")
AUDIT_LOG_USED: Final = Code("110101", "Audit Log Used")
INSTANCES_ACCESSED: Final = Code("110103", "DICOM Instances Accessed")
INSTANCES_TRANSFERRED: Final = Code("110104", "DICOM Instances Transferred")
QUERY: Final = Code("110112", "Query")
SECURITY_ALERT: Final = Code("110113", "Security Alert")
USER_AUTHENTICATION: Final = Code("110114", "User Authentication")

# CID 401, Audit Event Type Code.
APPLICATION_START: Final = Code("110120", "Application Start")
APPLICATION_STOP: Final = Code("110121", "Application Stop")
LOGIN: Final = Code("110122", "Login")
LOGOUT: Final = Code("110123", "Logout")

# CID 403, Security Alert Type Code.
NODE_AUTHENTICATION: Final = Code("110126", "Node Authentication")
USE_OF_RESTRICTED_FUNCTION: Final = Code("110132", "Use of Restricted Function")
AUDIT_RECORDING_STARTED: Final = Code("110134", "Audit Recording Started")
PEER_BEYOND_LIMITS: Final = Code("PEER_LIMIT", "Peer Beyond Limits", scheme="99PERFNODE")
"""Ours: too many connections, or bytes that are no association request."""

# CID 402, Audit Active Participant Role ID Code.
APPLICATION: Final = Code("110150", "Application")
APPLICATION_LAUNCHER: Final = Code("110151", "Application Launcher")
DESTINATION: Final = Code("110152", "Destination Role ID")
SOURCE: Final = Code("110153", "Source Role ID")

# CID 404 and PS3.15 A.5.1.2.4, Participant Object ID Type Code.
STUDY_INSTANCE_UID: Final = Code("110180", "Study Instance UID")
SOP_CLASS_UID: Final = Code("110181", "SOP Class UID")
NODE_ID: Final = Code("110182", "Node ID")
PATIENT_NUMBER: Final = Code("2", "Patient Number", scheme="RFC-3881")
URI: Final = Code("12", "URI", scheme="RFC-3881")
