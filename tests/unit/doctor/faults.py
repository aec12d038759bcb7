"""Every fault that the doctor must find, planted in a host where everything else is in order."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ogpu_provider.chain.networks import TESTNET
from ogpu_provider.chain.wallet import Pairing
from ogpu_provider.doctor.finding import Severity
from ogpu_provider.doctor.ports import EndpointFacts, JournalFacts, Room
from ogpu_provider.domain.cordon import Cordon
from ogpu_provider.domain.errors import EngineError, KeyRefused, RpcUnavailable, StoreError
from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment, SourceStatus
from ogpu_provider.domain.units import COIN, Address
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.runtime.trial import Outcome
from ogpu_provider.scheduler.reading import DeviceReading, Gauges, Reading
from tests.fakes.host import DATA, GIB, HARDENED, PROVIDER, ROOT_DIR, SOURCE, UUID, FakeHost, directory, file, source

E, W, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
OTHER = Address("0x" + "0" * 39 + "6")
SECRET = "0x" + "5e" * 32


@dataclass(frozen=True, slots=True)
class Fault:
    """`says` must be in what was found. `mendable`: `--fix` brings the check to ok."""

    check: str
    name: str
    plant: Callable[[FakeHost], object]
    severity: Severity
    says: str = ""
    mendable: bool = False


FAULTS: list[Fault] = []


def fault(check: str, severity: Severity, says: str = "", *, mendable: bool = False) -> Callable[[Any], Any]:
    def note(plant: Callable[[FakeHost], object]) -> Callable[[FakeHost], object]:
        FAULTS.append(Fault(check, plant.__name__, plant, severity, says, mendable))
        return plant

    return note


# machine


@fault("kernel_version", W, "4.19.0")
def old_kernel(host: FakeHost) -> None:
    host.machine.kernel = "4.19.0-27-amd64"


@fault("kernel_version", E, "3.10.0")
def ancient_kernel(host: FakeHost) -> None:
    host.machine.kernel = "3.10.0-1160.el7.x86_64"


@fault("memory_total", W, "3.8 GiB")
def little_memory(host: FakeHost) -> None:
    host.files.texts["/proc/meminfo"] = "MemTotal: 4000000 kB\nMemAvailable: 3000000 kB\n"


@fault("memory_total", E)
def hardly_any_memory(host: FakeHost) -> None:
    host.files.texts["/proc/meminfo"] = "MemTotal: 1000000 kB\nMemAvailable: 900000 kB\n"


@fault("memory_available", W, "488.3 MiB")
def memory_in_use(host: FakeHost) -> None:
    host.files.texts["/proc/meminfo"] = "MemTotal: 65536000 kB\nMemAvailable: 500000 kB\n"


@fault("processors", W)
def one_processor(host: FakeHost) -> None:
    host.machine.cpus = 1


@fault("processors", W, "cpu_slots is 64")
def more_slots_than_processors(host: FakeHost) -> None:
    host.set(admission={"cpu_slots": 64})


@fault("cgroup_version", W, "v1")
def old_control_groups(host: FakeHost) -> None:
    del host.files.texts["/sys/fs/cgroup/cgroup.controllers"]
    host.files.folders["/sys/fs/cgroup"] = ("cpu,cpuacct", "memory", "pids")


@fault("cgroup_version", E, "pids")
def controller_missing(host: FakeHost) -> None:
    host.files.texts["/sys/fs/cgroup/cgroup.controllers"] = "cpu memory"


@fault("cgroup_version", E)
def no_control_groups(host: FakeHost) -> None:
    del host.files.texts["/sys/fs/cgroup/cgroup.controllers"]


@fault("user_namespaces", INFO)
def no_user_namespaces(host: FakeHost) -> None:
    host.files.texts["/proc/sys/user/max_user_namespaces"] = "0\n"


@fault("limit_open_files", W, "512")
def few_open_files(host: FakeHost) -> None:
    host.machine.limits["nofile"] = (512, 4096)


@fault("limit_open_files", E)
def hardly_any_open_files(host: FakeHost) -> None:
    host.machine.limits["nofile"] = (64, 64)


@fault("limit_processes", W)
def few_processes(host: FakeHost) -> None:
    host.machine.limits["nproc"] = (100, 100)


@fault("limit_core_dumps", INFO)
def core_dumps(host: FakeHost) -> None:
    host.machine.limits["core"] = (math.inf, math.inf)


@fault("clock_synchronised", W)
def free_running_clock(host: FakeHost) -> None:
    host.machine.synchronised = False


@fault("disk_data_dir", W, "1.0 GiB")
def little_space(host: FakeHost) -> None:
    host.files.rooms[str(DATA)] = Room(100 * GIB, GIB)


@fault("disk_data_dir", E)
def full_disk(host: FakeHost) -> None:
    host.files.rooms[str(DATA)] = Room(100 * GIB, 1 << 20)


# engine


@fault("engine_reachable", E, "does not answer")
def engine_down(host: FakeHost) -> None:
    host.engine.down = EngineError("the container engine does not answer", code="engine.unreachable")


@fault("engine_version", W, "CVE-2026-17106")
def debian_12_engine(host: FakeHost) -> None:
    host.engine_has(version="20.10.24+dfsg1")


@fault("engine_version", W, "HTTP/2")
def engine_before_the_newest_floor(host: FakeHost) -> None:
    host.engine_has(version="29.8.2")


@fault("engine_version", E, "19.03")
def engine_too_old_to_work(host: FakeHost) -> None:
    host.engine_has(version="19.03.15")


@fault("runc_version", W, "CVE-2025-31133")
def runc_with_known_ways_out(host: FakeHost) -> None:
    host.engine_has(components={"runc": "1.3.2-0ubuntu1~22.04.3"})


@fault("compose_version", W, "CVE-2025-62725")
def old_compose(host: FakeHost) -> None:
    host.engine.command = ("docker compose", "2.26.1")


@fault("compose_version", E, "no compose")
def no_compose(host: FakeHost) -> None:
    host.engine.no_compose = EngineError("no compose of version 2.20.0 or newer", code="engine.no_compose")


@fault("engine_socket", E, "0666")
def open_socket(host: FakeHost) -> None:
    host.files.facts["/var/run/docker.sock"] = replace(host.files.facts["/var/run/docker.sock"], mode=0o666)


@fault("engine_socket", W, "tcp")
def engine_over_the_network(host: FakeHost) -> None:
    host.set(runtime={"docker_host": "tcp://10.0.0.5:2375"})


@fault("engine_limits", E, "pids")
def no_pid_limit(host: FakeHost) -> None:
    host.engine_has(pids_limit=False)


@fault("engine_seccomp", E)
def unconfined(host: FakeHost) -> None:
    host.engine_has(security=("name=apparmor", "name=seccomp,profile=unconfined"))


@fault("engine_confinement", W)
def no_second_wall(host: FakeHost) -> None:
    host.engine_has(security=("name=seccomp,profile=default",))


@fault("engine_userns", INFO)
def root_is_root(host: FakeHost) -> None:
    host.engine_has(security=("name=apparmor", "name=seccomp,profile=default"))


@fault("engine_swarm", W)
def in_a_swarm(host: FakeHost) -> None:
    host.engine_has(swarm=True)


@fault("engine_storage", W, "vfs")
def copying_storage(host: FakeHost) -> None:
    host.engine_has(storage_driver="vfs")


@fault("engine_live_restore", INFO)
def no_live_restore(host: FakeHost) -> None:
    host.engine_has(live_restore=False)


@fault("engine_forwarding", E)
def no_forwarding(host: FakeHost) -> None:
    host.engine_has(forwarding=False)


@fault("engine_bridge", E)
def no_bridge(host: FakeHost) -> None:
    host.engine.bridge = None


@fault("disk_images", W, "20.0 GiB")
def little_space_for_images(host: FakeHost) -> None:
    host.files.rooms[ROOT_DIR] = Room(100 * GIB, 20 * GIB, 0.5)


@fault("disk_images", E)
def no_space_for_images(host: FakeHost) -> None:
    host.files.rooms[ROOT_DIR] = Room(100 * GIB, GIB, 0.5)


@fault("disk_images", E, "inodes")
def no_inodes_for_images(host: FakeHost) -> None:
    host.files.rooms[ROOT_DIR] = Room(500 * GIB, 300 * GIB, 0.01)


@fault("disk_images_apart", INFO)
def images_on_the_system_disk(host: FakeHost) -> None:
    host.files.facts[ROOT_DIR] = directory(0o710, disk=1)


# GPUs


@fault("gpu_present", INFO)
def no_gpu(host: FakeHost) -> None:
    host.gpus.survey, host.gpus.reading = Reading(), Reading()


@fault("gpu_usable", W, "fallen off")
def lost_gpu(host: FakeHost) -> None:
    lost = Reason("gpu.lost", "NVIDIA GPU 1 is left out: it has fallen off the bus")
    host.gpus.survey = replace(host.gpus.survey, problems=(lost,))


@fault("gpu_idle", W, "40.0 GiB of 80.0 GiB")
def gpu_in_use(host: FakeHost) -> None:
    device = Device(UUID, Environment.NVIDIA, "NVIDIA H100", 80 * GIB, 40 * GIB)
    host.gpus.survey = Reading((DeviceReading(device),), driver=host.gpus.survey.driver)


@fault("gpu_cordoned", W, "NVIDIA H100 GPU-1: gpu.xid: Xid 79")
def cordoned_card(host: FakeHost) -> None:
    cordon = Cordon("GPU-1", "NVIDIA H100", Reason("gpu.xid", "Xid 79"), 0.0)
    host.books.kept = JournalFacts(host.network.chain_id, PROVIDER, 5, cordons=(cordon,))


@fault("gpu_health", W, "GPU-0: 4 of 16 PCIe lanes")
def ill_cards(host: FakeHost) -> None:
    narrow, failing = Gauges(pcie_width=4, pcie_width_max=16), Gauges(ecc_uncorrected=2)
    devices = [Device(f"GPU-{n}", Environment.NVIDIA, "NVIDIA H100", 80 * GIB) for n in range(2)]
    found = tuple(DeviceReading(device, gauges) for device, gauges in zip(devices, (narrow, failing), strict=True))
    host.gpus.survey = Reading(found, driver=host.gpus.survey.driver)


@fault("nvidia_driver", E, "no driver is installed")
def no_driver(host: FakeHost) -> None:
    host.gpus.survey = Reading()


@fault("nvidia_driver", E, "not loaded")
def driver_not_loaded(host: FakeHost) -> None:
    host.gpus.survey = Reading(problems=(Reason("gpu.no_driver", "its driver is not loaded"),))


@fault("nvidia_driver_version", W, "CVE-2026-24187")
def driver_without_fixes(host: FakeHost) -> None:
    host.gpus.survey = replace(host.gpus.survey, driver="570.211.01")


@fault("nvidia_nouveau", E)
def nouveau(host: FakeHost) -> None:
    host.files.texts["/proc/modules"] += "nouveau 3 0 - Live\n"


@fault("nvidia_nodes", E, "/dev/nvidia-uvm")
def no_uvm(host: FakeHost) -> None:
    del host.files.facts["/dev/nvidia-uvm"]


@fault("nvidia_toolkit", E, "not installed")
def no_toolkit(host: FakeHost) -> None:
    del host.machine.programs["nvidia-ctk"]


@fault("nvidia_toolkit", W, "CVE-2025-23266")
def toolkit_with_nvidiascape(host: FakeHost) -> None:
    host.machine.programs["nvidia-ctk"] = (0, "NVIDIA Container Toolkit CLI version 1.17.7-1\n")


@fault("nvidia_runtime", E, "neither")
def no_nvidia_runtime(host: FakeHost) -> None:
    host.engine_has(runtimes=("runc",))


@fault("nvidia_runtime", E, "does not use CDI")
def cdi_on_an_engine_without(host: FakeHost) -> None:
    host.engine_has(runtimes=("runc",), cdi_dirs=())
    host.files.folders["/etc/cdi"] = ("nvidia.yaml",)


@fault("nvidia_default_runtime", W)
def nvidia_by_default(host: FakeHost) -> None:
    host.engine_has(default_runtime="nvidia")


@fault("nvidia_image_variable", W)
def images_choose_gpus(host: FakeHost) -> None:
    host.files.texts["/etc/nvidia-container-runtime/config.toml"] = "disable-require = false\n"


@fault("nvidia_in_container", E, "nvml error")
def gpu_not_in_containers(host: FakeHost) -> None:
    host.engine.gpu_outcome = Outcome(125, "nvidia-container-cli: initialization error: nvml error")


@fault("nvidia_in_container", E, UUID)
def another_gpu_in_containers(host: FakeHost) -> None:
    host.engine.gpu_outcome = Outcome(0, "GPU 0: NVIDIA H100 (UUID: GPU-other)")


@fault("amd_driver", W, "/dev/kfd")
def no_compute_driver(host: FakeHost) -> None:
    del host.files.facts["/dev/kfd"]


@fault("amd_render_nodes", W)
def no_render_node(host: FakeHost) -> None:
    host.files.folders["/dev/dri"] = ("card0",)


@fault("amd_groups", W, "group 109")
def not_in_the_render_group(host: FakeHost) -> None:
    host.machine.uid, host.machine.groups = 1000, frozenset({1000, 998})


# chain


@fault("rpc_reachable", E, "refused")
def node_down(host: FakeHost) -> None:
    host.chain.down = RpcUnavailable("eth_chainId: connection refused")


@fault("rpc_chain_id", E, "chain 1")
def another_chain(host: FakeHost) -> None:
    host.chain.id = 1


@fault("rpc_contracts", E, "Fc14a5")
def no_contracts(host: FakeHost) -> None:
    host.chain.empty = (host.network.terminal,)


@fault("rpc_head_moves", E)
def chain_stands_still(host: FakeHost) -> None:
    host.chain.stands = True


@fault("rpc_latency", W, "900 ms")
def slow_node(host: FakeHost) -> None:
    host.chain.slow = 0.9


@fault("rpc_endpoints", W, "second.example.org: eth_chainId: refused")
def second_node_down(host: FakeHost) -> None:
    host.chain.others["second.example.org"] = EndpointFacts("second.example.org", problem="eth_chainId: refused")


@fault("rpc_endpoints", W, "second.example.org is on chain 1")
def second_node_of_another_chain(host: FakeHost) -> None:
    host.chain.others["second.example.org"] = EndpointFacts("second.example.org", 1, 20_000_000)


@fault("rpc_endpoints", W, "second.example.org is 80 blocks behind")
def second_node_behind(host: FakeHost) -> None:
    host.chain.others["second.example.org"] = EndpointFacts("second.example.org", host.chain.id, 920)


@fault("rpc_endpoints", E, "testnet.example.org: no answer")
def no_node_at_all(host: FakeHost) -> None:
    for name in ("testnet.example.org", "second.example.org"):
        host.chain.others[name] = EndpointFacts(name, problem="no answer")


@fault("rpc_websocket", W, "no websocket endpoint")
def no_websocket(host: FakeHost) -> None:
    host.network = replace(host.network, ws_url="")


@fault("rpc_websocket", W, "no connection")
def websocket_down(host: FakeHost) -> None:
    host.chain.socket = RpcUnavailable("there is no connection to the node")


@fault("rpc_encrypted", W, "rpc.example.org")
def plain_rpc(host: FakeHost) -> None:
    host.network = replace(host.network, http_url="http://rpc.example.org:8545")


@fault("rpc_encrypted", W, "second.example.org")
def plain_second_rpc(host: FakeHost) -> None:
    host.set(network={"name": "testnet", "rpc_urls": ["http://second.example.org"]})


@fault("clock_chain", W, "40 s old")
def clock_ahead(host: FakeHost) -> None:
    host.chain.behind = 40.0


@fault("clock_chain", E, "in the future")
def clock_far_behind(host: FakeHost) -> None:
    host.chain.behind = -3600.0


# services


@fault("ipfs_publish", E, "refused")
def pinning_down(host: FakeHost) -> None:
    host.web.answers[host.network.pin_url] = (0, "no answer: connection refused")


@fault("ipfs_gateway", W, "502")
def gateway_broken(host: FakeHost) -> None:
    host.web.answers[host.network.gateway_url] = (502, "")


@fault("callback_host", E, "assign")
def foreign_callback_address(host: FakeHost) -> None:
    host.set(callback={"host": "10.1.2.3"})
    host.machine.taken["10.1.2.3", 0] = "Cannot assign requested address"


@fault("callback_host", E, "bridge")
def no_bridge_for_the_callback(host: FakeHost) -> None:
    host.engine.bridge = None


@fault("callback_port", E, "40111")
def port_taken(host: FakeHost) -> None:
    host.machine.taken["172.17.0.1", 40111] = "Address already in use"


@fault("callback_exposed", W, "0.0.0.0")
def callback_for_everybody(host: FakeHost) -> None:
    host.set(callback={"host": "0.0.0.0"})


@fault("callback_from_container", E, "firewall")
def firewall(host: FakeHost) -> None:
    host.engine.callback_outcome = EngineError("did not end in 20 s", code="engine.trial_timeout")


@fault("callback_from_container", E, "refused")
def connection_refused(host: FakeHost) -> None:
    host.engine.callback_outcome = Outcome(1, "bash: connect: Connection refused")


@fault("isolation_levels", E, "no runtime runsc")
def gvisor_that_nobody_installed(host: FakeHost) -> None:
    host.set(runtime={"isolation": "gvisor"})


@fault("isolation_levels", E, "its kernel is Linux version 6.18.0")
def gvisor_that_is_none(host: FakeHost) -> None:
    host.set(sources={"serve": "all", "isolation": {SOURCE: "gvisor"}})
    host.engine.about = replace(host.engine.about, runtimes=(*host.engine.about.runtimes, "runsc"))
    host.engine.levels["runsc"] = Outcome(0, HARDENED)


@fault("isolation_levels", E, "root in it is root here")
def remapped_by_its_own_word_only(host: FakeHost) -> None:
    host.set(runtime={"isolation": "user-namespace"})
    host.engine.about = replace(host.engine.about, security=("name=userns",))


@fault("isolation_levels", E, "capabilities 00000000a80425fb")
def capabilities_in_spite_of_all(host: FakeHost) -> None:
    host.engine.levels[""] = Outcome(0, HARDENED.replace("0000000000000000", "00000000a80425fb"))


@fault("isolation_levels", E, "NoNewPrivs 0")
def new_privileges_in_spite_of_all(host: FakeHost) -> None:
    host.engine.levels[""] = Outcome(0, HARDENED.replace("Privs:\t1", "Privs:\t0"))


@fault("isolation_levels", E, "ended with 125")
def a_container_that_does_not_start(host: FakeHost) -> None:
    host.engine.levels[""] = Outcome(125, "no space left on device")


@fault("egress_rules", E, "no rules for")
def running_without_rules(host: FakeHost) -> None:
    host.engine.open = f"IPv4: no rules for {SOURCE}"


@fault("egress_rules", W, "exit code 1")
def firewall_that_nobody_may_change_and_a_waiver(host: FakeHost) -> None:
    host.set(runtime={"unfiltered_egress": True})
    host.engine.open = "the firewall cannot be read or changed: exit code 1"


@fault("egress_rules", E, "exit code 1")
def a_waiver_that_does_not_reach_far_enough(host: FakeHost) -> None:
    host.set(runtime={"unfiltered_egress": True, "egress": "callback-only"})
    host.engine.open = "the firewall cannot be read or changed: exit code 1"


@fault("egress_rules", W, "Permission denied")
def a_user_who_may_not_look(host: FakeHost) -> None:
    host.files.texts["/proc/self/status"] = "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
    host.engine.open = "the firewall cannot be read or changed: Permission denied"


# files


@fault("data_dir_private", W, "everybody", mendable=True)
def data_for_everybody(host: FakeHost) -> None:
    host.files.facts[str(DATA)] = directory(0o755)


@fault("data_dir_private", E, "not a directory")
def data_dir_is_a_file(host: FakeHost) -> None:
    host.files.facts[str(DATA)] = file()


@fault("data_dir_writable", E)
def data_dir_read_only(host: FakeHost) -> None:
    host.files.read_only.add(str(DATA))


@fault("data_dir_writable", INFO, "not there yet", mendable=True)
def no_data_dir(host: FakeHost) -> None:
    del host.files.facts[str(DATA)]


@fault("journal_private", W, "its group", mendable=True)
def journal_for_the_group(host: FakeHost) -> None:
    host.files.facts[f"{DATA}/provider.db"] = file(0o640)


@fault("journal_private", E, "user 1000")
def journal_of_another_user(host: FakeHost) -> None:
    host.files.facts[f"{DATA}/provider.db"] = file(uid=1000)


@fault("journal_sound", E, "row 3 missing")
def damaged_journal(host: FakeHost) -> None:
    assert isinstance(host.books.kept, JournalFacts)
    host.books.kept = replace(host.books.kept, damage=("row 3 missing from index",))


@fault("journal_sound", E, "schema 9")
def journal_of_a_newer_release(host: FakeHost) -> None:
    host.books.kept = StoreError("provider.db has schema 9, this release knows 1", code="store.newer_schema")


@fault("journal_owner", E, OTHER)
def journal_of_another_key(host: FakeHost) -> None:
    host.books.kept = JournalFacts(host.network.chain_id, OTHER, 5)


@fault("journal_owner", E, "chain 1071")
def journal_of_another_chain(host: FakeHost) -> None:
    host.books.kept = JournalFacts(1071, PROVIDER, 5)


@fault("callback_secret_private", E, "everybody", mendable=True)
def callback_secret_for_everybody(host: FakeHost) -> None:
    host.files.facts[f"{DATA}/callback.secret"] = file(0o604)


# account


@fault("key_present", E, "no keystore")
def no_key(host: FakeHost) -> None:
    host.books.key = KeyRefused("there is no keystore at /var/lib/ogpu/keystore.json", code="key.missing")


@fault("key_private", E, "its group and everybody", mendable=True)
def keystore_for_everybody(host: FakeHost) -> None:
    host.files.facts[f"{DATA}/keystore.json"] = file(0o644)


@fault("key_private", E, "user 1000")
def keystore_of_another_user(host: FakeHost) -> None:
    host.files.facts[f"{DATA}/keystore.json"] = file(uid=1000)


@fault("key_private", E, "others can write")
def keystore_can_be_replaced(host: FakeHost) -> None:
    host.files.facts[str(DATA)] = directory(0o777)


@fault("key_password", E, "do not say")
def no_password(host: FakeHost) -> None:
    host.set(wallet={})


@fault("key_password", E, "not there")
def password_file_missing(host: FakeHost) -> None:
    del host.files.facts["/etc/ogpu/password"]


@fault("key_password", E, "its group", mendable=True)
def password_for_the_group(host: FakeHost) -> None:
    host.files.facts["/etc/ogpu/password"] = file(0o640)


@fault("key_environment", W, "PROVIDER_PRIVATE_KEY")
def key_in_the_environment(host: FakeHost) -> None:
    host.files.texts["/proc/self/environ"] = f"PATH=/bin\0PROVIDER_PRIVATE_KEY={SECRET}\0"


@fault("gas_balance", E, "not gas for one task")
def no_coin(host: FakeHost) -> None:
    host.chain.coin = 0


@fault("gas_balance", W, "about 10 tasks")
def little_coin(host: FakeHost) -> None:
    host.chain.coin = 10 * 10**15


@fault("hot_balance", W, "5000")
def stake_on_the_hot_key(host: FakeHost) -> None:
    host.chain.coin = 5000 * COIN


@fault("paired", E, "no master")
def not_paired(host: FakeHost) -> None:
    host.chain.pair = Pairing(None, False, "", "")


@fault("paired", E, "has not announced")
def half_paired(host: FakeHost) -> None:
    host.chain.pair = Pairing(None, True, "", "")


@fault("master_apart", E, PROVIDER)
def own_master(host: FakeHost) -> None:
    host.chain.pair = Pairing(PROVIDER, True, "", "")


@fault("sanction", E, "3 ToGPU")
def sanctioned(host: FakeHost) -> None:
    host.chain.account = replace(host.chain.account, sanctioned=3 * COIN)


@fault("eligible", E, "1 ToGPU locked; 100 ToGPU")
def not_eligible(host: FakeHost) -> None:
    host.chain.account = replace(host.chain.account, lockup=COIN, eligible=False)


@fault("lockup_sources", W, "wants 900 ToGPU")
def source_wants_more(host: FakeHost) -> None:
    host.chain.offered[SOURCE] = source(lockup=900 * COIN)


@fault("sources_chosen", W)
def nothing_to_serve(host: FakeHost) -> None:
    host.set(sources={})


@fault("sources_chosen", W)
def only_denied_sources(host: FakeHost) -> None:
    host.set(sources={"serve": [SOURCE], "deny": [SOURCE]})


@fault("sources_servable", W, "inactive")
def inactive_source(host: FakeHost) -> None:
    host.chain.offered[SOURCE] = source(status=SourceStatus.INACTIVE)


@fault("sources_servable", W, "for amd only")
def source_for_other_devices(host: FakeHost) -> None:
    host.chain.offered[SOURCE] = source(environments=frozenset({Environment.AMD}))
    host.gpus.reading = Reading()


@fault("foreign_nonce", W, "3 transaction(s)")
def key_used_elsewhere(host: FakeHost) -> None:
    host.chain.transactions = 9


@fault("foreign_nonce", E, "ended the last daemon")
def a_daemon_that_found_somebody_elses_transaction(host: FakeHost) -> None:
    ended = "chain.foreign_nonce: the chain has a transaction with nonce 6 that this daemon never signed"
    host.books.kept = JournalFacts(TESTNET.chain_id, PROVIDER, 5, ended=ended)


@fault("other_daemon", W, "process 99")
def second_daemon(host: FakeHost) -> None:
    host.files.folders["/proc"] = ("1", "77", "99")
    host.files.texts["/proc/99/cmdline"] = "/opt/venv/bin/python\0/opt/venv/bin/ogpu-provider\0run\0"


@fault("other_daemon", W, "process 99")
def second_daemon_as_a_module(host: FakeHost) -> None:
    host.files.folders["/proc"] = ("99",)
    host.files.texts["/proc/99/cmdline"] = "python3\0-m\0ogpu_provider.cli.main\0run\0--config\0x\0"
