"""AMD cards as the kernel shows them, the odd ones too."""

import shutil

from ogpu_provider.domain.source import Environment
from ogpu_provider.scheduler import amd
from ogpu_provider.scheduler.reading import Reading
from tests.gpu.machine import AmdTree

GIB = 1 << 30
FIRST, SECOND = "0000:03:00.0", "0000:83:00.0"
VRAM = {"mem_info_vram_total": str(24 * GIB), "mem_info_vram_used": str(GIB)}


def read(tree: AmdTree) -> Reading:
    return amd.read(tree.sys, tree.dev)


def problems(tree: AmdTree) -> list[str]:
    reading = read(tree)
    assert reading.devices == ()
    return [problem.code for problem in reading.problems]


def test_a_card_has_its_bus_address_as_id_and_its_device_files(amd_tree: AmdTree) -> None:
    amd_tree.add(0, FIRST, render=128, product_name="AMD Instinct MI210", unique_id="8fe1dd2d3c1a9b77", **VRAM)
    (device,) = read(amd_tree).devices
    assert device.id == FIRST
    assert device.environment is Environment.AMD
    assert device.name == "AMD Instinct MI210"
    assert (device.memory_total, device.memory_used) == (24 * GIB, GIB)
    assert device.nodes == ("/dev/kfd", "/dev/dri/renderD128")
    assert [card.unique_id for card in amd.cards(amd_tree.sys)] == ["8fe1dd2d3c1a9b77"]


def test_cards_come_in_the_order_of_the_bus_each_with_its_own_render_node(amd_tree: AmdTree) -> None:
    amd_tree.add(0, SECOND, render=129, **VRAM)
    amd_tree.add(1, FIRST, render=128, **VRAM)
    assert [(d.id, d.nodes[1]) for d in read(amd_tree).devices] == [
        (FIRST, "/dev/dri/renderD128"),
        (SECOND, "/dev/dri/renderD129"),
    ]


def test_a_consumer_card_without_product_name_and_unique_id(amd_tree: AmdTree) -> None:
    amd_tree.add(0, FIRST, render=128, product_name="", **VRAM)
    assert [device.name for device in read(amd_tree).devices] == ["AMD GPU 1002:744c"]
    assert [card.unique_id for card in amd.cards(amd_tree.sys)] == [""]


def test_cards_of_others_are_none_of_ours(amd_tree: AmdTree) -> None:
    amd_tree.add(0, FIRST, vendor="0x10de", render=128, **VRAM)
    amd_tree.add(1, SECOND, vendor="0x8086", render=129)
    assert read(amd_tree) == Reading()


def test_integrated_graphics_are_left_out_beside_a_real_card(amd_tree: AmdTree) -> None:
    amd_tree.add(0, "0000:0c:00.0", render=128, mem_info_vram_total=str(512 << 20), mem_info_vram_used="0")
    amd_tree.add(1, FIRST, render=129, **VRAM)
    reading = read(amd_tree)
    assert [device.id for device in reading.devices] == [FIRST]
    assert [problem.code for problem in reading.problems] == ["gpu.too_small"]
    assert "0000:0c:00.0" in reading.problems[0].text
    assert "512 MiB" in reading.problems[0].text


def test_a_card_whose_memory_cannot_be_read(amd_tree: AmdTree) -> None:
    amd_tree.add(0, FIRST, render=128, mem_info_vram_total="not a number")
    amd_tree.add(1, SECOND, render=129)
    assert problems(amd_tree) == ["gpu.unreadable", "gpu.unreadable"]


def test_memory_use_that_cannot_be_read_counts_as_all_of_it(amd_tree: AmdTree) -> None:
    amd_tree.add(0, FIRST, render=128, mem_info_vram_total=str(GIB * 8))
    (device,) = read(amd_tree).devices
    assert device.memory_used == device.memory_total


def test_a_card_without_a_render_node(amd_tree: AmdTree) -> None:
    amd_tree.add(0, FIRST, render=None, **VRAM)
    assert problems(amd_tree) == ["gpu.no_render_node"]


def test_a_render_node_that_is_not_in_dev(amd_tree: AmdTree) -> None:
    amd_tree.add(0, FIRST, render=128, **VRAM)
    (amd_tree.dev / "dri" / "renderD128").unlink()
    assert problems(amd_tree) == ["gpu.no_render_node"]


def test_a_host_without_the_compute_driver(amd_tree: AmdTree) -> None:
    amd_tree.add(0, FIRST, render=128, **VRAM)
    (amd_tree.dev / "kfd").unlink()
    assert problems(amd_tree) == ["gpu.no_compute_node"]


def test_a_partition_does_not_count_as_a_card_of_its_own(amd_tree: AmdTree) -> None:
    amd_tree.add(0, FIRST, render=128, **VRAM)
    amd_tree.add(1, "amdgpu_xcp_0", render=129, **VRAM)
    assert [device.id for device in read(amd_tree).devices] == [FIRST]


def test_a_card_that_went_away_between_two_readings(amd_tree: AmdTree) -> None:
    device = amd_tree.add(0, FIRST, render=128, **VRAM)
    assert len(read(amd_tree).devices) == 1
    shutil.rmtree(device)
    assert read(amd_tree) == Reading()


def test_a_host_without_a_display_driver_at_all(amd_tree: AmdTree) -> None:
    shutil.rmtree(amd_tree.sys)
    assert read(amd_tree) == Reading()
