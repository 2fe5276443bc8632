# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For the tests of the scripts: a toy repository with this one's scripts, its
# own BASE, a "kernel" of a few files as the pinned tarball, and a series of
# two patches.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
toy=$(mktemp -d)
trap 'rm -rf "$toy"' EXIT
unset KDIR ARCH ACCEL JOBS V TREE STOCK FORCE SET FROM VERSION MAKEFLAGS MAKELEVEL
export O=$toy/build LC_ALL=C
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@localhost
export GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@localhost

passed=0 failed=0
# ok NAME COMMAND...: the command must succeed.
ok() {
	local name=$1
	shift
	if "$@" >"$toy/out" 2>&1; then
		echo "ok $name"
		passed=$((passed + 1))
	else
		echo "FAIL $name: $(head -n 1 "$toy/out")"
		failed=$((failed + 1))
	fi
}
# fails NAME PATTERN COMMAND...: the command must fail with one line, which matches.
fails() {
	local name=$1 pattern=$2 status=0
	shift 2
	"$@" >"$toy/out" 2>&1 || status=$?
	if [ $status -ne 0 ] && [ "$(wc -l <"$toy/out")" -eq 1 ] && grep -qE -- "$pattern" "$toy/out"; then
		echo "ok $name"
		passed=$((passed + 1))
	else
		echo "FAIL $name: status $status, $(wc -l <"$toy/out") lines: $(head -n 1 "$toy/out")"
		failed=$((failed + 1))
	fi
}
summary() {
	echo "$passed passed, $failed failed"
	[ $failed -eq 0 ]
}

git_toy() { git -C "$O/tree" "$@"; }

make_kernel() {	# DIR
	mkdir -p "$1/mm" "$1/include/linux" "$1/tools"
	printf 'VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\n' >"$1/Makefile"
	printf '/*\n' >"$1/.gitignore"
	echo '# Kbuild' >"$1/Kbuild"
	echo '# Kconfig' >"$1/Kconfig"
	echo 'Maintainers' >"$1/MAINTAINERS"
	echo 'int h;' >"$1/include/linux/a.h"
	seq 1 20 >"$1/mm/a.c"
	echo 'obj-y := a.o' >"$1/mm/Makefile"
}

make_base() {
	local id
	mkdir -p "$toy/repo"
	cp -r "$here/harness" "$here/Makefile" "$toy/repo/"
	make_kernel "$toy/linux-source-7.3"
	git init -q "$toy/id"
	id=$(git -C "$toy/id" --work-tree="$toy/linux-source-7.3" add -A -f . && git -C "$toy/id" write-tree)
	mkdir -p "$toy/deb/usr/src" "$toy/deb/DEBIAN"
	tar -C "$toy" -cJf "$toy/deb/usr/src/linux-source-7.3.tar.xz" linux-source-7.3
	printf 'Package: linux-source-7.3\nVersion: 1\nArchitecture: all\nMaintainer: a <a@localhost>\nDescription: toy\n' \
		>"$toy/deb/DEBIAN/control"
	dpkg-deb --root-owner-group -b "$toy/deb" "$toy/linux-source-7.3_1_all.deb" >/dev/null
	cat >"$toy/repo/BASE" <<-END
	BASE_VERSION=7.3.4
	BASE_SUITE=toy
	BASE_PACKAGE=linux-source-7.3
	BASE_PACKAGE_VERSION=1
	BASE_DEB_SHA256=$(sha256sum <"$toy/linux-source-7.3_1_all.deb" | cut -d ' ' -f 1)
	BASE_TARBALL=linux-source-7.3.tar.xz
	BASE_TARBALL_SHA256=$(sha256sum <"$toy/deb/usr/src/linux-source-7.3.tar.xz" | cut -d ' ' -f 1)
	BASE_TREE=$id
	END
	mkdir -p "$O/cache" "$toy/repo/patches"
	cp "$toy/deb/usr/src/linux-source-7.3.tar.xz" "$O/cache/"
	touch "$O/CACHEDIR.TAG"
	: >"$toy/repo/patches/series"
	cd "$toy/repo"
}

# Two commits: one that changes and adds, one that only adds.
make_series() {
	sed -i s/^10$/ten/ "$O/tree/mm/a.c"
	echo 'obj-y += b.o' >>"$O/tree/mm/Makefile"
	echo 'int b;' >"$O/tree/mm/b.c"
	git_toy add -f mm
	git_toy commit -qm 'mm: ten

Because.

Fixes: 123456789abc ("x")'
	mkdir -p "$O/tree/tools/x"
	echo '#!/bin/sh' >"$O/tree/tools/x/run.sh"
	chmod +x "$O/tree/tools/x/run.sh"
	git_toy add -f tools
	git_toy commit -qm 'tools: only new files'
	harness/refresh
}
