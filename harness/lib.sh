# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Shared by the scripts, which set $top first: the variables that a user may
# set, with their defaults and checks, and one way to report.

# Progress goes to stderr, and only to somebody who watches; V=1 insists.
say() { if [ -t 2 ] || [ "${V:-0}" = 1 ]; then echo "$*" >&2; fi; }
die() { echo "${0##*/}: $*" >&2; exit 1; }

# What must not leak in from the caller: the state of an outer make (whose O=,
# V= and ARCH= would become the kernel's) or git, personal git settings, and a
# locale that sorts differently. Ownership of what lies in O and KDIR is the
# user's business, not git's.
shopt -s inherit_errexit
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES GNUMAKEFLAGS KBUILD_OUTPUT
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_COMMON_DIR \
	GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_NAMESPACE GIT_PREFIX CDPATH
export LC_ALL=C GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'

V=${V:-0}
case $V in
0 | 1) ;;
*) die "V=$V: give 0 or 1" ;;
esac

ARCH=${ARCH:-x86_64}
case $ARCH in
x86_64) machine=x86_64 cross=x86_64-linux-gnu- ;;
arm64)  machine=aarch64 cross=aarch64-linux-gnu- ;;
*)      die "ARCH=$ARCH is not supported: give x86_64 or arm64" ;;
esac
[ "$machine" != "$(uname -m)" ] || cross=
cross=${CROSS_COMPILE:-$cross}

ACCEL=${ACCEL:-auto}
case $ACCEL in
auto | kvm | tcg) ;;
*) die "ACCEL=$ACCEL is not known: give auto, kvm or tcg" ;;
esac

JOBS=${JOBS:-$(nproc)}
case $JOBS in
'' | *[!0-9]* | 0*) die "JOBS=$JOBS: give a number of parallel jobs, 1 or more" ;;
esac

DEBUG=${DEBUG:-}
case $DEBUG in
'' | gdb) ;;
*) die "DEBUG=$DEBUG: give gdb" ;;
esac

# Which rows of harness/kernels/matrix "make test" takes.
DAY=${DAY:-$(($(date +%s) / 86400))}
case $DAY in
*[!0-9]* | 0?*) die "DAY=$DAY: give the number of a day" ;;
esac

O=${O:-$top/build}
case $O in
*[[:space:]:]*) die "O=$O: kbuild takes no path with a blank or a colon" ;;
esac
O=$(realpath -m "$O")
case $O:$top/ in
/:* | *:"$O"/*) die "O=$O would build over the repository: give a folder of its own" ;;
esac
[ ! -e "$O" ] || [ -d "$O" ] || die "O=$O is not a folder"

# A kernel tree of the user's own has a build folder of its own, so that one
# can go to and fro.
KDIR=${KDIR:-}
if [ -n "$KDIR" ]; then
	[ -d "$KDIR" ] || die "KDIR=$KDIR is not a folder"
	KDIR=$(realpath "$KDIR")
	for f in Makefile Kbuild Kconfig MAINTAINERS include/linux mm; do
		[ -e "$KDIR/$f" ] || die "KDIR=$KDIR is not a kernel source tree: $f is missing"
	done
	sub=kdir-$(printf %s "$KDIR" | sha256sum | cut -c 1-8)
	case $O in
	*/"$sub") ;;
	"$KDIR" | "$KDIR"/*) die "O=$O lies in KDIR, where nothing is written: give another folder" ;;
	*) O=$O/$sub ;;
	esac
fi

# For "make shell".
MODULE=${MODULE:-} WORDS=${WORDS:-}
if [ -n "$MODULE" ]; then
	[ -f "$MODULE/Makefile" ] || [ -f "$MODULE/Kbuild" ] ||
		die "MODULE=$MODULE: give a folder with a Makefile or Kbuild for a kernel module"
	MODULE=$(realpath "$MODULE")
fi

# For the mails: one set of patches/, who mails it, and as which version.
SET=${SET:-} FROM=${FROM:-} VERSION=${VERSION:-1}
case $SET in
*[!a-z0-9-]*) die "SET=$SET: give the name of a folder in patches/" ;;
esac
[[ -z $FROM || $FROM =~ ^[^'<>']+' <'[^'<> ']+@[^'<> ']+'>'$ ]] ||
	die "FROM=$FROM: give 'Name <address>'"
case $VERSION in
[1-9] | [1-9][0-9]) ;;
*) die "VERSION=$VERSION: give a number from 1 to 99" ;;
esac

export V ARCH ACCEL JOBS DEBUG O KDIR SET FROM VERSION

# TREE=path: a scratch tree that the user looks after (branches base, series).
# shellcheck disable=SC2034
tree=${TREE:-$O/tree} stock=${STOCK:-$O/stock}

# The build folder, marked: backups skip it, and "make clean" trusts only the mark.
make_build_folder() {
	if [ ! -e "$O" ] || [ -z "$(ls -A "$O")" ]; then
		mkdir -p "$O" || die "cannot make the build folder $O"
		echo "Signature: 8a477f597d28d172789f06886806bc55" >"$O/CACHEDIR.TAG"
	fi
}

# What a kernel complains with, for harness/qemu and harness/errors.
# shellcheck disable=SC2034
splats='BUG:|kernel BUG at|WARNING:|Oops|KASAN:|KFENCE:|UBSAN:|KMSAN:|KCSAN:'
splats+='|Call [Tt]race:|general protection fault|Unable to handle kernel'
splats+='|unable to handle|Kernel panic|Internal error:|Bad page|bad: scheduling'
splats+='|INFO: (possible|suspicious|inconsistent|trying to register|task )'
splats+='|possible (circular|recursive|irq lock|deadlock)|[Ss]uspicious RCU'
splats+='|rcu: .*stall|stalls on CPU|soft lockup|hard LOCKUP|blocked for more than'
splats+='|page allocation failure|Out of memory|refcount_t:|list_(add|del) corruption'
splats+='|nobody cared|sleeping function called|held lock freed'
splats+='|new suspected memory leaks|Object (already free|padding overwritten)|[Pp]oison overwritten'
splats+='|BUG [a-z]|FIX [a-z]|memory corruption|lockdep is turned off'
# What an option is about, as it says when it is asked for.
# shellcheck disable=SC2034
harmless='Scanning .*for low memory corruption'

# run_qemu SECONDS FILE QEMU...: run QEMU for so long at most, what it says in FILE.
# Returns as timeout does. Where KVM cannot go on with a guest, QEMU would wait for
# ever: it is ended.
run_qemu() {
	local status=0 pid
	timeout -k 5 "$1" "${@:3}" >"$2" 2>&1 </dev/null &
	pid=$!
	if [[ " $* " == *" -accel kvm "* ]]; then
		while kill -0 $pid 2>/dev/null; do
			sleep 0.5
			! grep -qs '^KVM internal error' "$2" || kill $pid 2>/dev/null || true
		done
	fi
	wait $pid || status=$?
	return $status
}

# The series as lines: "S set", "P set/patch", and after their patch "F file" for
# a file that this patch brings whole, "G file" for one that has grown over several
# patches and is with this one as it stands here.
read_series() {
	local set line
	[ -f "$top/patches/series" ] || return 0
	while IFS= read -r set || [ -n "$set" ]; do
		case $set in '' | '#'*) continue ;; esac
		echo "S $set"
		[ -f "$top/patches/$set/series" ] || continue
		while IFS= read -r line || [ -n "$line" ]; do
			case $line in
			'' | '#'*) ;;
			[[:blank:]]*)
				line=${line#"${line%%[![:blank:]]*}"}
				case $line in
				'') ;;
				'= '*) echo "G ${line#= }" ;;
				*)     echo "F $line" ;;
				esac ;;
			*)	echo "P $set/$line" ;;
			esac
		done <"$top/patches/$set/series"
	done <"$top/patches/series"
}

# The sets that SET needs, in their order, and SET itself.
sets_for() {
	local all set need wanted=" $1 " again=1
	all=$(read_series | sed -n 's/^S //p')
	grep -qxF -- "$1" <<<"$all" ||
		die "SET=$1: no set is called so, but $(paste -sd ' ' <<<"$all")"
	while [ -n "$again" ]; do
		again=
		for set in $wanted; do
			for need in $(set_header "$set" Needs); do
				grep -qxF -- "$need" <<<"$all" ||
					die "patches/$set/cover-letter needs '$need', which is no set"
				case $wanted in *" $need "*) continue ;; esac
				wanted+="$need "
				again=1
			done
		done
	done
	while read -r set; do
		case $wanted in *" $set "*) echo "$set" ;; esac
	done <<<"$all"
}

# A header line (Subject, Needs) of a set's cover letter.
set_header() {	# SET HEADER
	[ ! -f "$top/patches/$1/cover-letter" ] ||
		sed -n -e '/^$/q' -e "s/^$2: *//p" "$top/patches/$1/cover-letter"
}

# kmake SOURCE BUILD ARGS...: the kernel's make for ARCH, without a "+" in the release.
kmake() {
	local src=$1 dir=$2
	shift 2
	make -C "$src" O="$dir" ARCH="$ARCH" CROSS_COMPILE="$cross" ${llvm:+"LLVM=$llvm"} LOCALVERSION= "$@"
}

# build_module SOURCE BUILD FOLDER OUT [VARIABLE=VALUE...]: the modules of FOLDER, for the
# kernel in BUILD. They go to OUT, and what make says to OUT.log. The kernel was built
# without modules: it has no Module.symvers.
build_module() {
	local src=$1 dir=$2 folder=$3 out=$4
	shift 4
	mkdir -p "$out"
	{ kmake "$src" "$dir" modules_prepare &&
	  kmake "$src" "$dir" M="$folder" MO="$out" \
		KBUILD_EXTRA_SYMBOLS="$dir/vmlinux.symvers" "$@" modules; } >"$out.log" 2>&1 ||
		die "cannot build ${folder#"$top/"}: see $out.log"
}

# matrix_row NAME: is there such a row in harness/kernels/matrix? Sets row_arch,
# row_compiler, row_done, row_memory, row_minutes, row_fragments, row_options and
# row_words.
# shellcheck disable=SC2034
matrix_row() {
	local name rest word
	while read -r name row_arch row_compiler row_done row_memory row_minutes rest; do
		[ "$name" = "$1" ] || continue
		row_fragments=() row_options=() row_words=()
		case $rest in *" -- "*) read -ra row_words <<<"${rest#* -- }" ;; esac
		for word in ${rest%% -- *}; do
			case $word in
			*=*)	row_options+=("CONFIG_$word") ;;
			*)	row_fragments+=("$word") ;;
			esac
		done
		return 0
	done < <(grep -v '^#' "$top/harness/kernels/matrix")
	return 1
}

# What the names of LLVM's tools end with ("-" and a version, or nothing: then "1"),
# as make wants it for LLVM=: the newest that the kernel accepts. Fails without one.
llvm_suffix() {
	local suffix
	for suffix in 1 $(compgen -c clang- | sed -n 's/^clang\(-[0-9]*\)$/\1/p' | sort -t - -k 2 -rnu); do
		llvm_fits "${suffix#1}" || continue
		echo "$suffix"
		return 0
	done
	return 1
}
llvm_fits() {
	local version
	version=$("clang$1" -dumpversion 2>/dev/null) && [ "${version%%.*}" -ge "$llvm_min" ] &&
		command -v "ld.lld$1" >/dev/null && command -v "llvm-ar$1" >/dev/null
}
# As scripts/min-tool-version.sh of the kernel has it (17.0.1).
llvm_min=17

# guest_for NAME: what a guest with that kernel, which is built, needs: sets memory
# (MiB), timeout (s) and args. The early memory of a KASAN kernel comes from scratch as
# well. It takes any address for a wild one while it reads the CPU's features again
# and an interrupt comes: no5lvl.
# shellcheck disable=SC2034
guest_for() {
	local scratch=64M,64M,64M
	memory=2048 timeout=150 args=()
	if matrix_row "$1"; then
		[ "$row_arch" = "$ARCH" ] || die "$1 is a kernel for ARCH=$row_arch"
		memory=$row_memory args=("${row_words[@]+"${row_words[@]}"}")
	fi
	if grep -qs '^CONFIG_K[AM]SAN=y' "$O/kernel/$ARCH-$1/.config"; then
		timeout=1200 scratch=128M,640M,128M args+=(no5lvl)
		[ "$memory" -ge 3072 ] || memory=3072
	fi
	# The watchdogs must not bark because a host is slow.
	args+=(watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=100)
	# A guest that is told kho=on insists that KHO is on.
	if grep -qs '^CONFIG_KEXEC_HANDOVER=y' "$O/kernel/$ARCH-$1/.config"; then
		args+=(kho=on liveupdate=on "kho_scratch=$scratch")
	fi
}

# One number for BASE-COMMIT and everything that the series is made of.
series_hash() {
	local line lines files=()
	mapfile -t lines < <(read_series)
	for line in ${lines[0]+"${lines[@]}"}; do
		case $line in
		S*) continue ;;
		P*) line=patches/${line#* } ;;
		*)  line=${line#* } ;;
		esac
		[ -f "$top/$line" ] || die "patches/series has $line, which does not exist"
		files+=("$line")
	done
	{
		echo "$1" "${lines[@]+"${lines[@]}"}"
		hashed "${files[@]+"${files[@]}"}"
	} | sha256sum | cut -d ' ' -f 1
}
# Modes, sizes and contents. One process each for all files: there are hundreds.
hashed() {	# FILE...
	(cd "$top" && { [ $# -eq 0 ] || { stat -c "%A %s" "$@" && cat "$@"; }; })
}
