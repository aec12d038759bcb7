"""AMD cards as the kernel shows them, the odd ones too."""

import shutil

from ogpu_provider.domain.source import Environment
from ogpu_provider.scheduler import amd
from ogpu_provider.scheduler.reading import Gauges, GpuProcess, Reading
from tests.gpu.machine import AmdTree

GIB = 1 << 30
FIRST, SECOND = "0000:03:00.0", "0000:83:00.0"
VRAM = {"mem_info_vram_total": str(24 * GIB), "mem_info_vram_used": str(GIB)}


def read(tree: AmdTree) -> Reading:
    return amd.read(tree.sys, tree.dev, proc_root=tree.proc)


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


INSTRUMENTS = {
    "gpu_busy_percent": "97",
    "mem_busy_percent": "41",
    "hwmon__temp1_input": "71000",
    "hwmon__temp1_crit": "100000",
    "hwmon__power1_average": "212500000",
    "hwmon__power1_cap": "300000000",
    "hwmon__energy1_input": "987654321",
    "pp_dpm_sclk": "0: 500Mhz\n1: 1500Mhz *\n2: 2500Mhz",
    "pp_dpm_mclk": "0: 96Mhz\n1: 1249Mhz *",
    "current_link_width": "8",
    "max_link_width": "16",
    "current_link_speed": "16.0 GT/s PCIe",
    "ras__umc_err_count": "ue: 2\nce: 5",
    "ras__gfx_err_count": "ue: 1\nce: 0",
    "ras__features": "feature mask: 0x7",
    "ras__gpu_vram_bad_pages": "0x00000001 : 0x00001000 : R\n0x00000002 : 0x00001000 : P",
}


def test_every_instrument_is_read_in_its_unit(amd_tree: AmdTree) -> None:
    amd_tree.instruments(amd_tree.add(0, FIRST, render=128, **VRAM), **INSTRUMENTS)
    (found,) = read(amd_tree).found
    assert found.gauges == Gauges(
        utilisation=97,
        memory_utilisation=41,
        temperature=71,
        temperature_slowdown=100,
        power=212.5,
        power_limit=300,
        energy=987.654321,
        clock=1500,
        clock_max=2500,
        clock_memory=1249,
        clock_memory_max=1249,
        pcie_width=8,
        pcie_width_max=16,
        pcie_generation=4,
        ecc_corrected=5,
        ecc_uncorrected=3,
        rows_failed=False,
    )


def test_a_page_that_could_not_be_reserved_and_power_of_newer_cards(amd_tree: AmdTree) -> None:
    device = amd_tree.add(0, FIRST, render=128, **VRAM)
    amd_tree.instruments(device, ras__gpu_vram_bad_pages="0x00000001 : 0x00001000 : F", hwmon__power1_input="90000000")
    (found,) = read(amd_tree).found
    assert (found.gauges.rows_failed, found.gauges.power) == (True, 90)


def test_a_card_that_tells_nothing_of_itself_and_one_that_tells_nonsense(amd_tree: AmdTree) -> None:
    amd_tree.add(0, FIRST, render=128, **VRAM)
    amd_tree.instruments(amd_tree.add(1, SECOND, render=129, **VRAM), **dict.fromkeys(INSTRUMENTS, "?"))
    silent, confused = read(amd_tree).found
    assert silent.gauges == Gauges()
    assert confused.gauges == Gauges(rows_failed=False)


def test_who_computes_is_told_by_the_compute_driver_and_who_draws_by_the_kernel(amd_tree: AmdTree) -> None:
    for index, (address, location) in enumerate(((FIRST, 0x300), (SECOND, 0x8300))):
        amd_tree.add(index, address, render=128 + index, **VRAM)
        amd_tree.computes(index + 1, 100 + index, location, **({"pid77": GIB, "pid78": 0} if index else {}))
    amd_tree.computes(0, 0, 0)  # the processor is a node, too
    amd_tree.draws(900, FIRST, (1, 1024), (1, 1024), (2, 512))
    amd_tree.draws(77, SECOND, (9, 1024))
    amd_tree.draws(901, "0000:ff:00.0", (3, 1))
    first, second = read(amd_tree).found
    assert first.processes == (GpuProcess(900, 1536 << 10, graphics=True),)
    assert second.processes == (GpuProcess(77, GIB),)


def test_the_driver_is_named_where_it_says_its_version(amd_tree: AmdTree) -> None:
    assert read(amd_tree).driver == ""
    (amd_tree.sys / "module" / "amdgpu").mkdir(parents=True)
    (amd_tree.sys / "module" / "amdgpu" / "version").write_text("6.10.5\n")
    assert read(amd_tree).driver == "6.10.5"
