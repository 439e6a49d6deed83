#!/bin/bash
# `info`: the host as text. Hosts that this machine is not come from hwloc's synthetic descriptions, and from a file.
. tests/environment.sh
. tests/common/tap.sh

run info
check "info says what this build can do" done_well and printed '^transports loopback' and printed '^styles +padded'
if printed 'built without hwloc'; then
    skip "built without hwloc" "the host is drawn"
    finish
    exit
fi
check "this host is drawn, with its memory" printed '^           (package|NUMA node) [0-9]+' and printed '^memory .* available'

# draws VARIABLE=VALUE: the lines of the host are those on stdin, to the letter
draws() {
    cat >"$work/expected"
    env "$1" "$program" info | sed -n '/^topology/,/^memory/p' | sed '$d' >"$work/drawn"
    diff "$work/expected" "$work/drawn"
}
check "a package that is one NUMA node takes two lines" draws \
    "HWLOC_SYNTHETIC=pack:2 [numa(memory=68719476736)] l3:1(size=33554432) l2:4(size=1048576) l1d:1(size=32768) core:1 pu:2" <<'HOST'
topology   2 packages, 2 NUMA nodes, 8 cores, 16 hardware threads (16 for this process)
           package 0
             NUMA node 0: 4 cores, cpus 0-7; 64.0 GiB; L3 1 x 32.0 MiB, L2 4 x 1.00 MiB, L1d 4 x 32.0 KiB
           package 1
             NUMA node 1: 4 cores, cpus 8-15; 64.0 GiB; L3 1 x 32.0 MiB, L2 4 x 1.00 MiB, L1d 4 x 32.0 KiB
HOST
# Threads numbered as most servers do: the second of each core behind all the first ones.
check "64 cores in 8 NUMA nodes take eleven lines" draws \
    "HWLOC_SYNTHETIC=pack:2 group:4 [numa(memory=34359738368)] l3:2(size=16777216) core:4 pu:2(indexes=2*64:64*1)" <<'HOST'
topology   2 packages, 8 NUMA nodes, 64 cores, 128 hardware threads (128 for this process)
           package 0: 32 cores, cpus 0-31,64-95
             NUMA node 0: 8 cores, cpus 0-7,64-71; 32.0 GiB; L3 2 x 16.0 MiB
             NUMA node 1: 8 cores, cpus 8-15,72-79; 32.0 GiB; L3 2 x 16.0 MiB
             NUMA node 2: 8 cores, cpus 16-23,80-87; 32.0 GiB; L3 2 x 16.0 MiB
             NUMA node 3: 8 cores, cpus 24-31,88-95; 32.0 GiB; L3 2 x 16.0 MiB
           package 1: 32 cores, cpus 32-63,96-127
             NUMA node 4: 8 cores, cpus 32-39,96-103; 32.0 GiB; L3 2 x 16.0 MiB
             NUMA node 5: 8 cores, cpus 40-47,104-111; 32.0 GiB; L3 2 x 16.0 MiB
             NUMA node 6: 8 cores, cpus 48-55,112-119; 32.0 GiB; L3 2 x 16.0 MiB
             NUMA node 7: 8 cores, cpus 56-63,120-127; 32.0 GiB; L3 2 x 16.0 MiB
HOST
check "memory around several packages stands by itself" draws \
    "HWLOC_SYNTHETIC=[numa(memory=8589934592)] pack:2 core:4 pu:1" <<'HOST'
topology   2 packages, 1 NUMA nodes, 8 cores, 8 hardware threads (8 for this process)
           package 0: 4 cores, cpus 0-3
           package 1: 4 cores, cpus 4-7
           NUMA node 0: 8 cores, cpus 0-7; 8.00 GiB
HOST
check "a host that tells of no packages" draws "HWLOC_SYNTHETIC=numa:1(memory=8589934592) core:1 pu:1" <<'HOST'
topology   0 packages, 1 NUMA nodes, 1 cores, 1 hardware threads (1 for this process)
           NUMA node 0: 1 core, cpu 0; 8.00 GiB
HOST
cat >"$work/host.xml" <<'XML'
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE topology SYSTEM "hwloc2.dtd">
<topology version="2.0">
  <object type="Machine" os_index="0" cpuset="0xf" complete_cpuset="0xf" allowed_cpuset="0xf" nodeset="0x7" complete_nodeset="0x7" allowed_nodeset="0x7" gp_index="1">
    <object type="NUMANode" os_index="2" cpuset="0x0" complete_cpuset="0x0" nodeset="0x4" complete_nodeset="0x4" gp_index="90" local_memory="103079215104"/>
    <object type="Package" os_index="0" cpuset="0x3" complete_cpuset="0x3" nodeset="0x1" complete_nodeset="0x1" gp_index="2">
      <info name="CPUModel" value="Example CPU 9000   "/>
      <object type="NUMANode" os_index="0" cpuset="0x3" complete_cpuset="0x3" nodeset="0x1" complete_nodeset="0x1" gp_index="3" local_memory="68719476736"/>
      <object type="Core" os_index="0" cpuset="0x1" complete_cpuset="0x1" nodeset="0x1" complete_nodeset="0x1" gp_index="4">
        <object type="PU" os_index="0" cpuset="0x1" complete_cpuset="0x1" nodeset="0x1" complete_nodeset="0x1" gp_index="5"/>
      </object>
      <object type="Core" os_index="1" cpuset="0x2" complete_cpuset="0x2" nodeset="0x1" complete_nodeset="0x1" gp_index="6">
        <object type="PU" os_index="1" cpuset="0x2" complete_cpuset="0x2" nodeset="0x1" complete_nodeset="0x1" gp_index="7"/>
      </object>
      <object type="Bridge" gp_index="20" bridge_type="0-1" depth="0" bridge_pci="0000:[10-1f]">
        <object type="PCIDev" gp_index="21" pci_busid="0000:1b:00.0" pci_type="0302 [10de:2330] [10de:16c1] a1" pci_link_speed="0"/>
        <object type="PCIDev" gp_index="22" pci_busid="0000:1c:00.0" pci_type="0207 [15b3:1021] [15b3:0023] 00" pci_link_speed="0">
          <object type="OSDev" gp_index="23" name="ib0" osdev_type="2"/>
          <object type="OSDev" gp_index="24" name="mlx5_0" osdev_type="3"/>
        </object>
      </object>
    </object>
    <object type="Package" os_index="1" cpuset="0xc" complete_cpuset="0xc" nodeset="0x2" complete_nodeset="0x2" gp_index="8">
      <object type="NUMANode" os_index="1" cpuset="0xc" complete_cpuset="0xc" nodeset="0x2" complete_nodeset="0x2" gp_index="9" local_memory="68719476736"/>
      <object type="Core" os_index="2" cpuset="0x4" complete_cpuset="0x4" nodeset="0x2" complete_nodeset="0x2" gp_index="10">
        <object type="PU" os_index="2" cpuset="0x4" complete_cpuset="0x4" nodeset="0x2" complete_nodeset="0x2" gp_index="11"/>
      </object>
      <object type="Core" os_index="3" cpuset="0x8" complete_cpuset="0x8" nodeset="0x2" complete_nodeset="0x2" gp_index="12">
        <object type="PU" os_index="3" cpuset="0x8" complete_cpuset="0x8" nodeset="0x2" complete_nodeset="0x2" gp_index="13"/>
      </object>
    </object>
    <object type="Bridge" gp_index="30" bridge_type="0-1" depth="0" bridge_pci="0001:[00-0f]">
      <object type="PCIDev" gp_index="31" pci_busid="0001:03:00.0" pci_type="0200 [8086:1521] [8086:1521] 00" pci_link_speed="0">
        <object type="OSDev" gp_index="32" name="eth0" osdev_type="2"/>
      </object>
    </object>
  </object>
</topology>
XML
check "GPUs and network devices stand where they hang, memory of all by itself" draws "HWLOC_XMLFILE=$work/host.xml" <<'HOST'
topology   2 packages, 3 NUMA nodes, 4 cores, 4 hardware threads (4 for this process)
           package 0: Example CPU 9000
             NUMA node 0: 2 cores, cpus 0-1; 64.0 GiB
               GPU 0000:1b:00.0, ib0 (0000:1c:00.0), mlx5_0 (0000:1c:00.0)
           package 1
             NUMA node 1: 2 cores, cpus 2-3; 64.0 GiB
           NUMA node 2: 4 cores, cpus 0-3; 96.0 GiB
           of no NUMA node: eth0 (0001:03:00.0)
HOST

# The same in the record.
build_json_query || exit 1
HWLOC_XMLFILE=$work/host.xml keep_run "$program" layer --transport loopback --ranks 2 --tokens 8 --hidden 64 --max-reps 1 \
    --json "$work/info.jsonl"
check "the record holds the processor and the devices" done_well and every_record "$work/info.jsonl" record=run -- \
    topology.packages topology.numa_nodes topology.nics topology.cpu :: '$1 == 2 && $2 == 3 && $3 == 3 && $4 == "Example"' and \
    grep -qF '"nics":[{"name":"ib0","kind":"network","numa_node":0},{"name":"mlx5_0","kind":"openfabrics","numa_node":0},{"name":"eth0","kind":"network"}]' "$work/info.jsonl"
finish
