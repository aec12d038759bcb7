"""The real binding, pynvml, against a library that does what real ones do on good and bad days."""

from typing import Any

from tests.gpu.machine import Machine

GIB = 1 << 30
FIRST = f"gpu|GPU-1111|NVIDIA RTX 4090|{24 * GIB}|{4 * GIB}|ok|off"
SECOND = f"gpu|GPU-2222|NVIDIA RTX 3060|{12 * GIB}|0|ok|none"
A100 = f"gpu|GPU-aaaa|NVIDIA A100|{80 * GIB}|0|ok|on"


def ids(machine: Machine) -> list[str]:
    return [device["id"] for device in machine.survey()["reading"]["devices"]]


def problems(answer: dict[str, Any]) -> list[str]:
    return [problem["code"] for problem in answer["reading"]["problems"]]


def test_two_gpus_with_their_names_and_memory(machine: Machine) -> None:
    machine.script(FIRST, SECOND)
    answer = machine.survey()
    assert answer["reading"]["devices"] == [
        {
            "id": "GPU-1111",
            "environment": 2,
            "name": "NVIDIA RTX 4090",
            "memory_total": 24 * GIB,
            "memory_used": 4 * GIB,
            "nodes": [],
        },
        {
            "id": "GPU-2222",
            "environment": 2,
            "name": "NVIDIA RTX 3060",
            "memory_total": 12 * GIB,
            "memory_used": 0,
            "nodes": [],
        },
    ]
    assert problems(answer) == []
    assert answer["survey"]["driver"] == "580.65.06"


def test_processes_are_listed_also_where_the_driver_does_not_tell_their_memory(machine: Machine) -> None:
    machine.script(FIRST, f"proc|4242|{GIB}", "proc|4343|-", SECOND)
    first, second = machine.survey()["survey"]["cards"]
    assert first["processes"] == [{"pid": 4242, "memory": GIB}, {"pid": 4343, "memory": None}]
    assert second["processes"] == []


def test_the_instances_of_a_split_gpu_are_the_devices_and_the_gpu_is_not(machine: Machine) -> None:
    machine.script(
        A100,
        f"mig|MIG-1|NVIDIA A100 MIG 3g.40gb|{40 * GIB}|{GIB}",
        "mig|-",
        f"mig|MIG-2|NVIDIA A100 MIG 2g.20gb|{20 * GIB}|0",
        FIRST,
    )
    answer = machine.survey()
    found = [(device["id"], device["memory_total"] // GIB) for device in answer["reading"]["devices"]]
    assert found == [("MIG-1", 40), ("MIG-2", 20), ("GPU-1111", 24)]
    assert problems(answer) == []


def test_a_split_gpu_without_instances_is_no_device_and_says_so(machine: Machine) -> None:
    machine.script(A100)
    answer = machine.survey()
    assert answer["reading"]["devices"] == []
    assert problems(answer) == ["gpu.no_instances"]


def test_a_lost_gpu_is_left_out_and_the_others_stay(machine: Machine) -> None:
    machine.script(FIRST.replace("|ok|", "|lost|"), SECOND)
    answer = machine.survey()
    assert [device["id"] for device in answer["reading"]["devices"]] == ["GPU-2222"]
    assert answer["reading"]["problems"] == [{"code": "gpu.lost", "text": "NVIDIA GPU 0 is left out: GPU is lost"}]


def test_a_gpu_lost_between_two_questions_is_left_out_whole(machine: Machine) -> None:
    machine.script(FIRST.replace("|ok|", "|dying|"), SECOND)
    answer = machine.survey()
    assert [device["id"] for device in answer["reading"]["devices"]] == ["GPU-2222"]
    assert problems(answer) == ["gpu.lost"]


def test_an_instance_that_is_lost_takes_its_gpu_out(machine: Machine) -> None:
    machine.script(A100, "mig|MIG-1|NVIDIA A100 MIG|1|0", "mig|MIG-2|NVIDIA A100 MIG|1|0|dying", SECOND)
    answer = machine.survey()
    assert [device["id"] for device in answer["reading"]["devices"]] == ["GPU-2222"]
    assert problems(answer) == ["gpu.lost"]


def test_a_gpu_that_we_may_not_touch_is_left_out(machine: Machine) -> None:
    machine.script(FIRST.replace("|ok|", "|sealed|"), SECOND)
    answer = machine.survey()
    assert [device["id"] for device in answer["reading"]["devices"]] == ["GPU-2222"]
    assert problems(answer) == ["gpu.unreadable"]


def test_a_gpu_that_tells_neither_name_nor_memory_is_still_one(machine: Machine) -> None:
    machine.script(SECOND.replace("|ok|", "|bare|"))
    (device,) = machine.survey()["reading"]["devices"]
    assert (device["id"], device["name"], device["memory_total"]) == ("GPU-2222", "NVIDIA GPU", 0)


def test_a_host_without_the_library_has_no_gpus_and_nothing_to_complain_about(bare_machine: Machine) -> None:
    bare_machine.script(FIRST)
    answer = bare_machine.survey()
    assert answer["reading"] == {"devices": [], "problems": []}


def test_a_library_without_its_driver_says_so(machine: Machine) -> None:
    machine.script("driver|missing")
    answer = machine.survey()
    assert answer["reading"]["devices"] == []
    assert problems(answer) == ["gpu.no_driver"]


def test_a_driver_updated_under_the_library_says_so(machine: Machine) -> None:
    machine.script("driver|mismatch", FIRST)
    answer = machine.survey()
    assert answer["reading"]["devices"] == []
    assert problems(answer) == ["gpu.driver_unusable"]
    assert "mismatch" in answer["reading"]["problems"][0]["text"]


def test_library_driver_and_gpus_are_noticed_as_they_come_and_go(bare_machine: Machine) -> None:
    """One process all along: nothing is remembered from the time without."""
    machine = bare_machine
    machine.script("driver|missing")
    assert ids(machine) == []
    machine.install_library()
    assert ids(machine) == []
    machine.script()
    assert ids(machine) == []
    machine.script(SECOND)
    assert ids(machine) == ["GPU-2222"]
    machine.script(FIRST, SECOND)
    assert ids(machine) == ["GPU-1111", "GPU-2222"]
    machine.script(FIRST.replace("|ok|", "|lost|"), SECOND)
    assert ids(machine) == ["GPU-2222"]
    machine.script(FIRST)
    assert ids(machine) == ["GPU-1111"]
