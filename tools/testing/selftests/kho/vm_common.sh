# SPDX-License-Identifier: GPL-2.0
#
# Shared by the scripts of this directory that run kernels in QEMU. A script has
# a function skip() for what it cannot do, and not_prepared() for an option that
# the kernel does not get. Both take a message.

CROSS_COMPILE="${CROSS_COMPILE:-""}"

test_dir=$(realpath "$(dirname "$0")")
kernel_dir=$(realpath "$test_dir/../../../..")

tmp_dir=$(mktemp -d /tmp/kho-test.XXXXXXXX)
headers_dir="$tmp_dir/usr"
initrd="$tmp_dir/initrd.cpio"

source "$test_dir/../kselftest/ktap_helpers.sh"

function build_kernel() {
	local build_dir=$1
	local make_cmd=$2
	local test_kconfig=$3
	local kimage=$4

	local kho_config="$tmp_dir/kho.config"
	local kconfig="$build_dir/.config"

	# enable initrd, KHO and what the test needs in kernel configuration
	tee "$kconfig" > "$kho_config" <<EOF
CONFIG_BLK_DEV_INITRD=y
CONFIG_KEXEC_HANDOVER=y
CONFIG_KEXEC_HANDOVER_DEBUG=y
CONFIG_KEXEC_HANDOVER_DEBUGFS=y
CONFIG_DEBUG_KERNEL=y
CONFIG_DEBUG_VM=y
CONFIG_DEBUG_VM_PGFLAGS=y
CONFIG_SMP=y
CONFIG_DEFERRED_STRUCT_PAGE_INIT=y
$test_kconfig
EOF

	$make_cmd olddefconfig

	# verify that kernel configuration has all necessary options
	while read -r opt ; do
		grep "$opt" "$kconfig" &>/dev/null || not_prepared "$opt is missing"
	done < "$kho_config"

	$make_cmd "$kimage"
	install_headers "$make_cmd"
}

function install_headers() {
	local make_cmd=$1

	$make_cmd headers_install INSTALL_HDR_PATH="$headers_dir"
}

# lines for gen_init_cpio that only one of the tests needs come from stdin
function mkinitrd() {
	local build_dir=$1
	local kernel=$2
	local init=$3

	"$CROSS_COMPILE"gcc -s -static -Os -nostdinc -nostdlib \
			-fno-asynchronous-unwind-tables -fno-ident \
			-I "$headers_dir/include" \
			-I "$kernel_dir/tools/include/nolibc" \
			-o "$tmp_dir/init" "$init"

	cat > "$tmp_dir/cpio_list" <<EOF
dir /dev 0755 0 0
dir /proc 0755 0 0
dir /debugfs 0755 0 0
nod /dev/console 0600 0 0 c 5 1
file /init $tmp_dir/init 0755 0 0
file /kernel $kernel 0644 0 0
EOF
	cat >> "$tmp_dir/cpio_list"

	"$build_dir/usr/gen_init_cpio" "$tmp_dir/cpio_list" > "$initrd"
}

function target_to_arch() {
	local target=$1

	case $target in
	     aarch64) echo "arm64" ;;
	     x86_64) echo "x86" ;;
	     *) skip "architecture $target is not supported"
	esac
}
