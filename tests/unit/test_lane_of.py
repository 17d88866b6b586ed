"""Which operations wait for one another."""

from worker.model.operation import lane_of


def test_what_is_about_an_instance_is_in_its_lane_with_or_without_a_volume() -> None:
    assert lane_of({"instance_uuid": "i", "volume_id": "v"}) == "i"
    assert lane_of({"instance_uuid": "i"}) == "i"


def test_what_is_about_a_volume_alone_is_in_a_lane_that_no_instance_has() -> None:
    assert lane_of({"volume_id": "v"}) == "volume:v"
    assert lane_of({"instance_uuid": None, "volume_id": "v"}) == "volume:v"
