"""How every process opens the durable engine."""

from dbos import DBOSConfig, DBOSPortableJSONSerializer

from dicom_node.jobs.queues import APPLICATION_VERSION

SERIALIZER = DBOSPortableJSONSerializer()
"""Text that a person and every later version can read; rows of earlier versions say themselves that they are not."""


def dbos_config(url: str, executor_id: str) -> DBOSConfig:
    """The settings of DBOS for one process.

    Args:
        url: of the database.
        executor_id: under which the process takes work.
    """
    return {
        "name": "perfnode",
        "system_database_url": url,
        "executor_id": executor_id,
        "application_version": APPLICATION_VERSION,
        "serializer": SERIALIZER,
        "log_level": "ERROR",
    }
