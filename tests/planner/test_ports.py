"""Engine ports follow from names alone, and stay where they are while a stack grows at its end."""

from berth.planner.ports import WIDTH, assign


def test_a_port_depends_on_the_stack_and_the_replica_alone():
    alone = assign("dev", ["a-main-0"], 20000)
    among = assign("dev", ["a-main-0", *(f"m{number}-main-0" for number in range(200))], 20000)
    assert among["a-main-0"] == alone["a-main-0"]
    assert assign("dev", ["a-main-0"], 20000) == alone
    assert assign("other", ["a-main-0"], 20000) != alone


def test_no_two_share_a_port_and_taken_ones_are_left_alone():
    names = [f"m{number}-main-0" for number in range(WIDTH - 10)]
    ports = assign("s", names, 20000, taken=range(20000, 20010))
    assert len(set(ports.values())) == len(names)
    assert min(port for port in ports.values() if port is not None) >= 20010


def test_a_full_range_gives_no_port():
    ports = assign("s", [f"m{number}" for number in range(WIDTH + 1)], 20000)
    assert list(ports.values()).count(None) == 1
