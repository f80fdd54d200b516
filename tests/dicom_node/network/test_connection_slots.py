"""The table of connections: limits hold over threads and processes, and nothing stays taken by the dead."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dicom_node.network.connection_slots import TOO_MANY_CONNECTIONS, TOO_MANY_FROM_ADDRESS, ConnectionSlots


@pytest.fixture
def slots() -> Iterator[ConnectionSlots]:
    table = ConnectionSlots.create(4, processes=2)
    yield table
    table.close()


def test_connections_are_limited_in_total_and_per_address(slots: ConnectionSlots) -> None:
    assert [slots.take("10.0.0.1", 2) for _ in range(3)] == [0, 1, TOO_MANY_FROM_ADDRESS]
    assert slots.take("::ffff:10.0.0.1", 2) == TOO_MANY_FROM_ADDRESS
    assert [slots.take("fe80::1%eth0", 2), slots.take("10.0.0.2", 2)] == [2, 3]
    assert slots.take("10.0.0.3", 2) == TOO_MANY_CONNECTIONS
    slots.free(0)
    assert slots.take("10.0.0.1", 2) == 0


def test_associations_are_limited_apart_from_connections(slots: ConnectionSlots) -> None:
    places = [slots.take(f"10.0.0.{n}", 1) for n in range(3)]
    assert [slots.associate(int(place), 2) for place in places] == [True, True, False]
    assert slots.associations() == 2
    slots.free(int(places[0]))
    assert slots.associate(int(places[2]), 2)


OTHER = """
import sys
from dicom_node.network.connection_slots import ConnectionSlots
slots = ConnectionSlots(int(sys.argv[1]), process=1)
slots.show_life()
print([slots.take("10.0.0.9", 2) for _ in range(3)])
"""


def test_the_places_of_a_process_that_died_are_free_again(slots: ConnectionSlots) -> None:
    slots.take("10.0.0.1", 2)
    command = [sys.executable, "-c", OTHER, str(slots.descriptor)]
    said = subprocess.run(command, pass_fds=[slots.descriptor], capture_output=True, text=True, check=True).stdout
    assert said.strip() == f"[1, 2, '{TOO_MANY_FROM_ADDRESS}']"
    assert slots.load() == [1, 2]
    assert slots.last_life(1) > 0
    assert slots.take("10.0.0.9", 2) == TOO_MANY_FROM_ADDRESS
    slots.free_process(1)
    assert slots.load() == [1, 0]
    assert slots.last_life(1) == 0
    assert slots.take("10.0.0.9", 2) == 1


def test_a_busier_process_leaves_new_connections_to_one_that_lives(slots: ConnectionSlots) -> None:
    slots.take("10.0.0.1", 2)
    assert not slots.is_busier_than_others()
    other = ConnectionSlots(os.dup(slots.descriptor), process=1)
    other.show_life()
    assert slots.is_busier_than_others()
    assert not other.is_busier_than_others()
    other.close()
