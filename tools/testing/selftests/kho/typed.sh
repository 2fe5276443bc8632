#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Hand memory of every type over from one kernel to the next, through several
# kernels, in QEMU. Needs a kernel tree, a compiler and QEMU.
#
# The script builds a kernel with test_kho_memdesc (lib/kho_test/), and an initrd
# with typed.c as init. Each kernel executes the next one by kexec. The result is a
# KTAP line for each type: whether each kernel has restored what the kernel before
# it has preserved, with its contents and its state, and whether the memory could
# be freed.
#
# That the kernel refuses to restore some memory is part of the test, and so are
# the messages "KHO: cannot restore" in the log of the kernels.

set -ue

source "$(dirname "$0")/vm_common.sh"

function usage() {
	cat <<EOF
$0 [-d build_dir] [-n] [-j jobs] [-t target_arch] [-k kernels] [-s seed] [-a accel] [-h]
Options:
	-d)	path to the kernel build directory
	-n)	neither configure nor build the kernel there, take it as it is
	-j)	number of jobs for compilation, similar to -j in make
	-t)	run test for target_arch, requires CROSS_COMPILE set
		supported targets: aarch64, x86_64
	-k)	number of kernels, 2 or more (default 3)
	-s)	seed of the contents of the memory (default 1)
	-a)	accelerator for QEMU (default: the first that is there of kvm,
		hvf and tcg)
	-h)	display this help

The environment variable TIMEOUT has the seconds that all kernels may take
together (default 600).
EOF
}

function cleanup() {
	local status=$?

	rm -fr "$tmp_dir"
	exit $status
}
trap cleanup EXIT

# The result of what ends the test before there is one for each type.
function skip() {
	ktap_skip_all "$1"
	exit "$KSFT_SKIP"
}

function fail() {
	ktap_set_plan 1
	ktap_test_fail "$1"
	ktap_print_totals
	exit "$KSFT_FAIL"
}

# The output of a build goes to a log, but for its last lines if it fails.
function not_prepared() {
	exec 1>&3 2>&4
	show_log 10 "$build_log"
	fail "cannot prepare the kernel: $1"
}

function show_log() {
	local lines=$1
	local log=$2

	tail -n "$lines" "$log" | tr -d '\r\000' | sed 's/^/# /'
	echo "# see $log"
}

function run_qemu() {
	local qemu_cmd=$1
	local cmdline=$2
	local kernel=$3
	local kernels=$4
	local seed=$5
	local accels=$6
	local serial=$7
	local status=0

	cmdline+=" kho=on panic=-1 retain_initrd printk.devkmsg=on"
	cmdline+=" kho_typed.last=$kernels kho_typed.seed=$seed"

	: > "$serial"
	timeout -k 5 "${TIMEOUT:-600}" $qemu_cmd -m 2G -smp 2 -no-reboot \
		  -nographic -nodefaults $accels \
		  -serial file:"$serial" \
		  -append "$cmdline" \
		  -kernel "$kernel" \
		  -initrd "$initrd" < /dev/null || status=$?

	if [[ $status -eq 124 || $status -eq 137 ]]; then
		show_log 3 "$serial"
		fail "the kernels did not end within ${TIMEOUT:-600} seconds"
	elif [[ $status -ne 0 ]]; then
		fail "QEMU failed with status $status"
	fi
}

function report() {
	local result=$1
	local verdict what

	ktap_set_plan "$(wc -l < "$result")"
	while read -r verdict what; do
		case $verdict in
		pass)	ktap_test_pass "$what" ;;
		*)	ktap_test_fail "$what" ;;
		esac
	done < "$result"
}

function main() {
	local build_dir="$kernel_dir/.kho"
	local jobs=$(($(nproc) * 2))
	local target="$(uname -m)"
	local build=y
	local kernels=3
	local seed=1
	local accels="-accel kvm -accel hvf -accel tcg"

	while getopts 'hnd:j:t:k:s:a:' opt; do
		case $opt in
		d)
			build_dir="$OPTARG"
			;;
		n)
			build=
			;;
		j)
			jobs="$OPTARG"
			;;
		t)
			target="$OPTARG"
			;;
		k)
			kernels="$OPTARG"
			;;
		s)
			seed="$OPTARG"
			;;
		a)
			accels="-accel $OPTARG"
			;;
		h)
			usage
			exit 0
			;;
		*)
			usage
			exit 1
			;;
		esac
	done

	ktap_print_header
	set -o errtrace
	trap 'fail "$BASH_COMMAND"' ERR

	if [[ "$target" != "$(uname -m)" ]] && [[ -z "$CROSS_COMPILE" ]]; then
		skip "Cross-platform testing needs to specify CROSS_COMPILE"
	fi

	local arch
	arch=$(target_to_arch "$target") ||
		skip "architecture $target is not supported"
	source "$test_dir/$arch.conf"
	if ! command -v ${QEMU_CMD%% *} > /dev/null; then
		skip "${QEMU_CMD%% *} is missing"
	fi

	mkdir -p "$build_dir"
	build_dir=$(realpath "$build_dir")
	build_log="$build_dir/typed.build"
	local serial="$build_dir/typed.serial"
	local kernel="$build_dir/arch/$arch/boot/$KERNEL_IMAGE"
	local make_cmd="make ARCH=$arch CROSS_COMPILE=$CROSS_COMPILE -j$jobs"
	make_cmd="$make_cmd -C $kernel_dir O=$build_dir"

	ktap_print_msg "preparing the kernel, see $build_log"
	exec 3>&1 4>&2 > "$build_log" 2>&1
	trap 'not_prepared "$BASH_COMMAND"' ERR
	if [[ -n "$build" ]]; then
		build_kernel "$build_dir" "$make_cmd" \
			$'CONFIG_TEST_KHO_MEMDESC=y\n'"$QEMU_KCONFIG" \
			"$KERNEL_IMAGE"
	else
		install_headers "$make_cmd"
	fi
	mkinitrd "$build_dir" "$kernel" "$test_dir/typed.c" <<-EOF
		dir /sys 0755 0 0
		nod /dev/kmsg 0600 0 0 c 1 11
	EOF
	exec 1>&3 2>&4
	trap 'fail "$BASH_COMMAND"' ERR

	# if the host is busy, the timer that the kernel tests may be late
	if [[ "$arch" = x86 ]]; then
		KERNEL_CMDLINE+=" no_timer_check"
	fi
	ktap_print_msg "running $kernels kernels, see $serial"
	run_qemu "$QEMU_CMD" "$KERNEL_CMDLINE" "$kernel" "$kernels" "$seed" \
		 "$accels" "$serial"
	tr -d '\r\000' < "$serial" |
		awk -v last="$kernels" -f "$test_dir/typed.awk" > "$tmp_dir/result"
	report "$tmp_dir/result"
	ktap_print_totals
	[[ $KTAP_CNT_FAIL -eq 0 ]] || exit "$KSFT_FAIL"
}

main "$@"
