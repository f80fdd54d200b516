"""How every process opens the durable engine."""

from dbos import DBOSConfig

from dicom_node.jobs import APPLICATION_VERSION, SERIALIZER


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
        # Pinned: otherwise an upgrade would leave the jobs of the old code alone for ever.
        "application_version": APPLICATION_VERSION,
        "serializer": SERIALIZER,
        "log_level": "ERROR",
    }
