#!/bin/bash
# tools/lab: hosts on one machine. They are shaped, MPI sees them as nodes, and nothing of them is left behind.
. tests/environment.sh
. tests/common/tap.sh

lab=tools/lab
state=/run/moe-a2a-lab
subnet=198.18.77.0/24 # of RFC 2544's range for benchmarks: no machine has it
json=$work/lab.jsonl

lab() { keep_run "$lab" "$@"; }
up() { lab up --subnet $subnet "$@"; }
refused_lab() { # [REGULAR EXPRESSION]: one line, exit 2, nothing on stdout
    ended_with 2 && [ "$(wc -l <"$work/err")" = 1 ] && [ ! -s "$work/out" ] && said "^tools/lab: .*${1:-.}"
}
refuse() { # EXPRESSION ARGUMENT...
    local expression=$1; shift
    lab "$@"
    check "'lab $*' is refused" refused_lab "$expression" and same_as_before
}
network() { # of the machine itself
    ip -o link show | awk -F': ' '{ print $2 }'
    ip -4 route show table all
}
# All that a lab could leave: namespaces, links, routes, mounts, files, the machine's name
traces() {
    ip netns list | sort
    network
    awk '{ print $2, $3 }' /proc/mounts
    ls -A /run | grep -vx mount # which is libmount's, from the first umount on
    hostname
    cat /etc/hosts
}
same_as_before() { traces | diff "$work/before" -; }

# ---- Without root ----
if [ "$(id -u)" = 0 ]; then
    if command -v setpriv >/dev/null; then
        chmod 755 "$work" && cp tools/lab "$work/lab" # where anybody may read it
        keep_run setpriv --reuid 65534 --regid 65534 --clear-groups bash "$work/lab" up
    fi
else
    lab up
fi
if [ -f "$work/command" ]; then
    check "without root it says so" refused_lab "needs root"
else
    skip "no setpriv" "without root it says so"
fi
lab --help
check "--help works for all" done_well and printed '^Usage: tools/lab up' and printed '--ranks-per-host'

# ---- Where it cannot be ----
reason=
if [ "$(id -u)" != 0 ]; then reason="not root"
elif ! command -v ip >/dev/null || ! command -v tc >/dev/null; then reason="no ip or no tc"
elif ! unshare --net --uts --mount true 2>/dev/null; then reason="network namespaces are not permitted"
elif [ -e $state ]; then reason="a lab is up"
fi
if [ -n "$reason" ]; then
    skip "$reason" "a lab is made, used and removed"
    finish
    exit
fi
leave() { [ ! -e $state ] || $lab down >/dev/null; rm -rf "$work"; }
traces >"$work/before"
network >"$work/network"

# ---- Bad input ----
refuse 'needs a command' # nothing at all
refuse 'unknown command' upp
refuse '--frob' up --frob 1
for hosts in 1 65 0 -1 x ''; do refuse '--hosts.*2 to 64' up --hosts "$hosts"; done
for rate in 200 fast 1e3mbit -5mbit ''; do refuse '--rate.*no rate' up --rate "$rate"; done
for rate in 0mbit 200gbit; do refuse '--rate.*must be' up --rate "$rate"; done
refuse 'no host4' up --hosts 4 --slow host4=10mbit
refuse 'write HOST=RATE' up --slow 10mbit
refuse '--slow x: no rate' up --slow host1=x
refuse '--ranks-per-host' up --ranks-per-host 0
refuse '--queue' up --queue 0
refuse 'needs a value' up --hosts
for network in 10.237.0.1 10.237.0.0/33 300.0.0.0/8 x; do refuse 'no network' up --subnet $network; done
refuse 'did you mean 10.237.0.0/16' up --subnet 10.237.1.0/16
refuse 'too small' up --subnet 198.18.77.0/30
refuse 'this machine uses 127' up --subnet 127.0.0.0/16
refuse 'no lab is up' run -- true
refuse 'needs -- and a program' run
mkdir "$work/few" && for tool in bash id readlink ip unshare; do ln -s "$(command -v $tool)" "$work/few/"; done
keep_run env PATH="$work/few" "$(command -v bash)" $lab up
check "without tc it says so" refused_lab 'tc.*iproute2' and same_as_before
lab down
check "down without a lab does no harm" done_well and printed '^no lab is up' and same_as_before
lab status
check "status without a lab says so" ended_with 1 and printed '^no lab is up'

# ---- A lab ----
up --hosts 3 --rate 100mbit --slow host2=50mbit --ranks-per-host 2
check "a lab is made" done_well and printed '^3 hosts of 2 ranks, 100mbit'
check "the machine's own links and routes are as they were" eval 'network | diff "$work/network" -'
lab status
check "status tells each host's rate" done_well and printed '^host0 198.18.77.1 100 Mbit/s' and printed '^host2 .* 50 Mbit/s'
shaped() { tc -n "$1" qdisc show dev "$2" | grep -q "tbf.*rate $3"; }
check "links are shaped both ways" shaped moe-lab-host0 eth0 100Mbit and shaped moe-lab-switch port0 100Mbit \
    and shaped moe-lab-host2 eth0 50Mbit and shaped moe-lab-switch port2 50Mbit
up
check "there is one lab at a time" refused_lab 'a lab is up already'

# MPICH's ranks poll without yielding: on two cores a run across hosts may not come to its end.
if [ -n "$MPIRUN" ] && [[ $MPIRUN != *mpich* ]]; then
    lab run -- "$program" layer --experts 6 --top-k 1 --hidden 4096 --tokens 256 --skew balanced --style exact \
        --algorithm native,pairwise --check full --warmup 1 --min-reps 3 --max-reps 3 --max-seconds 10 --json "$json"
    check "ranks on 3 hosts exchange without an error" done_well and build_json_query and \
        every_record "$json" record=exchange -- errors :: '$1 == 0'
    check "MPI finds 6 ranks on 3 nodes" every_record "$json" record=run -- ranks nodes ranks_per_node :: \
        '$1 == 6 && $2 == 3 && ($3 == 2 || $3 == "-")'
    # Each rank sends a sixth to each: of the 30 pairs of ranks, 2 * 4 enter a host, that is 4/5 / 3 of the wire's bytes
    # (2.8 MB). More than the link's rate is only what its full bucket gives out at once (72 kB), and chance in the table.
    check "no exchange is faster than the slow host's link" every_record "$json" record=exchange phase=dispatch -- \
        bytes.wire median_us :: '$1 > 0 && ($1 * 4 / 5 / 3) * 8 / $2 < 50 * 1.2'
    check "and it uses a good part of it" every_record "$json" record=exchange phase=dispatch algorithm=pairwise -- \
        bytes.wire median_us :: '($1 * 4 / 5 / 3) * 8 / $2 > 50 * 0.1'
    lab status
    check "what they sent went through the links" printed '^host2 .*out [0-9]{2,}\.[0-9] MB'
    lab run -- false
    check "run fails as its program does" not done_well
else
    skip "$([ -n "$MPIRUN" ] && echo "MPICH polls: run with Open MPI" || echo "no MPI")" "ranks on 3 hosts exchange without an error" \
        "MPI finds 6 ranks on 3 nodes"
fi
ip netns exec moe-lab-host1 sleep 1000 &
sleeper=$!
lab down
check "down ends what ran in the lab" done_well and not kill -0 $sleeper
check "down leaves nothing" same_as_before
lab down
check "down may be repeated" done_well and same_as_before

# ---- Where it goes wrong ----
ip netns add moe-lab-host1
up --hosts 3
check "a namespace that is not ours is not taken" eval 'ended_with 2 && said "moe-lab-host1 exists"' and \
    test -e /run/netns/moe-lab-host1 and test ! -e $state
ip netns delete moe-lab-host1
grep -qx netns "$work/before" || { umount /run/netns; rmdir /run/netns; }

mkdir "$work/bad" && printf '#!/bin/sh\ncase "$*" in *port1*) echo "tc: broken" >&2; exit 1;; esac\nexec %s "$@"\n' \
    "$(command -v tc)" >"$work/bad/tc" && chmod +x "$work/bad/tc"
PATH=$work/bad:$PATH up --hosts 3
check "a failure half way leaves nothing" ended_with 1 and said 'tc: broken' and said 'what was made of it is gone' and \
    same_as_before

# A shell in the background would ignore the interrupt, hence the process group of its own.
interrupted() { # SIGNAL: up is stopped when it has made its third host
    local waited=0 pid
    set -m
    $lab up --hosts 64 --subnet $subnet >"$work/out" 2>"$work/err" & pid=$!
    set +m
    while [ ! -e /run/netns/moe-lab-host2 ] && [ $waited -lt 200 ]; do sleep 0.05; waited=$((waited + 1)); done
    kill -"$1" -- -$pid
    wait $pid 2>/dev/null; rc=$?
    rm -f "$work/command"
}
interrupted INT
check "Ctrl-C half way leaves nothing" ended_with 130 and said interrupted and same_as_before
interrupted KILL
check "killed half way, it is known to be unfinished" eval '[ $rc -gt 128 ] && $lab status | grep -q unfinished'
lab down
check "and down removes what there was" done_well and same_as_before
finish
